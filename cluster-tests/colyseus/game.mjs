// One game process on the published Colyseus packages: `node game.mjs <redis host:port>`.
// Owns: a game room, a lobby, and answers to the test that started it. Does not own: checks.
// Invariant: presence and driver are the unmodified packages with nothing but an address given to them.
import { createServer } from "node:net";
import { LobbyRoom, matchMaker, Room, Server } from "@colyseus/core";
import { RedisDriver } from "@colyseus/redis-driver";
import { RedisPresence } from "@colyseus/redis-presence";
import { WebSocketTransport } from "@colyseus/ws-transport";

class GameRoom extends Room {
  maxClients = 8;
  score = 0;

  onCreate(options) {
    this.setMetadata({ mode: options.mode ?? "none" });
    this.onMessage("echo", (client, message) => client.send("echo", message));
    this.onMessage("say", (_client, message) => this.broadcast("said", message));
  }

  onDrop(client) {
    this.allowReconnection(client, 20);
  }

  // Called from other processes.
  addScore(points) {
    this.score += points;
    return { score: this.score, processId: matchMaker.processId };
  }
}

/** What the test may ask of this process. */
const answers = {
  processId: () => matchMaker.processId,
  ownRooms: () => matchMaker.stats.local.roomCount,
  query: (conditions) => matchMaker.query(conditions),
  create: (name, options) => matchMaker.createRoom(name, options),
  call: (roomId, method, args) => matchMaker.remoteRoomCall(roomId, method, args),
  publish: (topic, data) => matchMaker.presence.publish(topic, data),
  exit: async () => {
    await server.gracefullyShutdown(false);
    process.exit(0);
  },
};

const [host, port] = process.argv[2].split(":");
const redis = () => ({ host, port: Number(port) });
const free = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const server = new Server({
  greet: false,
  transport: new WebSocketTransport(),
  presence: new RedisPresence(redis()),
  driver: new RedisDriver(redis()),
  publicAddress: `127.0.0.1:${free}`,
});
server.define("game", GameRoom).filterBy(["mode"]).enableRealtimeListing();
server.define("lobby", LobbyRoom);
await server.listen(free, "127.0.0.1");

process.on("message", async ({ id, method, args }) => {
  try {
    const result = await answers[method](...args);
    process.send({ id, result: JSON.parse(JSON.stringify(result ?? null)) });
  } catch (error) {
    process.send({ id, error: String(error?.message ?? error) });
  }
});
process.on("disconnect", () => process.exit(0));
process.send({ ready: `ws://127.0.0.1:${free}`, processId: matchMaker.processId });
