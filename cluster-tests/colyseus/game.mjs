// One game process on the published Colyseus packages: `node game.mjs <place>`, where `place` is JSON.
// Owns: a game room, a lobby, and answers to the test that started it. Does not own: checks, and which presence it is given
// (`place.mjs`). Invariant: the packages of Colyseus are unmodified, and presence and driver get nothing but their options.
import { createServer } from "node:net";
import { LobbyRoom, matchMaker, Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { services } from "./place.mjs";

class GameRoom extends Room {
  maxClients = 8;
  score = 0;

  onCreate(options) {
    this.setMetadata({ mode: options.mode ?? "none", level: options.level ?? 0 });
    this.onMessage("echo", (client, message) => client.send("echo", message));
    this.onMessage("say", (_client, message) => this.broadcast("said", message));
  }

  onDrop(client) {
    this.allowReconnection(client, 20);
  }

  // Colyseus 0.16 knows no `onDrop`; it tells `false` here when the player has not asked to leave.
  async onLeave(client, consented) {
    if (consented === false) await this.allowReconnection(client, 20).catch(() => {});
  }

  // Called from other processes.
  addScore(points) {
    this.score += points;
    return { score: this.score, processId: matchMaker.processId };
  }
}

/** Topics that this process listens to for the test, with what was heard. */
const heard = new Map();

/** What the test may ask of this process. */
const answers = {
  processId: () => matchMaker.processId,
  ownRooms: () => matchMaker.stats.local.roomCount,
  query: (conditions, sort) => matchMaker.query(conditions, sort),
  create: (name, options) => matchMaker.createRoom(name, options),
  call: (roomId, method, args) => matchMaker.remoteRoomCall(roomId, method, args),
  owns: (roomId) => matchMaker.getLocalRoomById(roomId) !== undefined,
  lock: (roomId, locked) => matchMaker.remoteRoomCall(roomId, locked ? "lock" : "unlock"),
  publish: (topic, data) => matchMaker.presence.publish(topic, data),
  presence: (method, args) => matchMaker.presence[method](...args),
  listen: async (topic) => {
    heard.set(topic, []);
    await matchMaker.presence.subscribe(topic, (message) => heard.get(topic).push(message));
  },
  heard: (topic) => heard.get(topic),
  // Calls of another process' room, and what became of each: `[ms, error or null]`.
  timedCall: async (roomId) => {
    const begin = performance.now();
    const error = await matchMaker.remoteRoomCall(roomId, "addScore", [0]).then(() => null, (error) => String(error.message));
    return [performance.now() - begin, error];
  },
  usage: () => ({ memory: process.memoryUsage(), cpu: process.cpuUsage() }),
  exit: () => leave(),
};

async function leave() {
  await server.gracefullyShutdown(false);
  process.exit(0);
}

const free = await new Promise((resolve) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});
const server = new Server({
  greet: false,
  transport: new WebSocketTransport(),
  ...(await services(JSON.parse(process.argv[2]))),
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
