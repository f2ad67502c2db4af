// Where a game process keeps what it shares with the others: a Redis address, or the cluster that it is a part of itself.
// Owns: making presence and driver of a place, and the places of a test: its own redis-server, and an embedded cluster. Does
// not own: game processes. Invariant: a server that is started here ends with the test.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, connect } from "node:net";
import { randomBytes } from "node:crypto";

/** Where the processes of embedded clusters meet; gone with the test. */
let folder;

const addon = () => import(process.env.QUORATE_TEST_ADDON ?? "quorate");

/** `{ presence, driver }` for a Server of Colyseus. */
export async function services(place) {
  if (place.redis) {
    const [host, port] = place.redis.split(":");
    const options = () => ({ host, port: Number(port) });
    const [{ RedisPresence }, { RedisDriver }] = await Promise.all([
      import("@colyseus/redis-presence"),
      import("@colyseus/redis-driver"),
    ]);
    return { presence: new RedisPresence(options()), driver: new RedisDriver(options()) };
  }
  if (place.cluster) {
    const { ClusterPresence, ClusterDriver } = await addon();
    const presence = new ClusterPresence(place.cluster);
    return { presence, driver: new ClusterDriver(presence) };
  }
  return {};
}

/** The place of each game process: those of given Redis addresses, one after the other. */
export const addresses = (list) => ({
  name: "RESP",
  place: (index) => ({ redis: list[index % list.length] }),
  pids: [],
  close: async () => {},
});

/** An embedded cluster that no other test and no other user of this machine is in. */
export function embedded() {
  if (!folder) {
    folder = mkdtempSync(join(tmpdir(), "quorate-test-"));
    // The game processes inherit it.
    process.env.QUORATE_RENDEZVOUS = folder;
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  }
  const name = `test-${randomBytes(6).toString("hex")}`;
  return { name: "ClusterPresence", place: () => ({ cluster: { cluster: name } }), pids: [], close: async () => {} };
}

export const freePort = () =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });

/** A redis-server of this test's own, without persistence. */
export async function redisServer() {
  const port = await freePort();
  const words = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const child = spawn("redis-server", words, { stdio: "ignore" });
  const failed = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}`)));
  });
  failed.catch(() => {});
  process.once("exit", () => child.kill("SIGKILL"));
  const open = async () => {
    for (;;) {
      const socket = connect(port, "127.0.0.1");
      const up = await new Promise((done) => socket.once("connect", () => done(true)).once("error", () => done(false)));
      socket.destroy();
      if (up) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await Promise.race([open(), failed]);
  return {
    name: "RedisPresence",
    place: () => ({ redis: `127.0.0.1:${port}` }),
    address: `127.0.0.1:${port}`,
    pids: [child.pid],
    close: async () => void child.kill("SIGKILL"),
  };
}
