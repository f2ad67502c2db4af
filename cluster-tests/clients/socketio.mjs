// socket.io servers on different nodes, joined by @socket.io/redis-adapter: `node socketio.mjs plain|sharded`.
// Owns: broadcast, rooms, counting across servers, answers from the other server.
// Invariant: each server talks to a node of its own.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis5";
import { Server } from "socket.io";
import { io } from "socket.io-client";
import { node, run, same, trying, until } from "./nodes.mjs";

const sharded = process.argv[2] === "sharded";

async function server(n) {
  const { host, port } = node(n);
  const pub = createClient({ url: `redis://${host}:${port}` });
  const sub = pub.duplicate();
  await Promise.all([pub.connect(), sub.connect()]);
  const adapter = sharded ? createShardedAdapter(pub, sub) : createAdapter(pub, sub);
  const http = createServer();
  const server = new Server(http, { adapter });
  server.on("connection", (socket) => socket.on("join", (room, done) => (socket.join(room), done())));
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${http.address().port}` };
}

async function player(url, got) {
  const socket = io(url, { transports: ["websocket"] });
  socket.onAny((event, ...args) => got.push([event, ...args]));
  await new Promise((resolve) => socket.on("connect", resolve));
  return socket;
}

run(async () => {
  trying("starting the servers");
  const [one, two] = [await server(0), await server(1)];
  const got = [[], [], []];
  const players = [await player(one.url, got[0]), await player(two.url, got[1]), await player(two.url, got[2])];

  trying("broadcasting to all");
  one.server.emit("all", 1);
  await until(() => got.every((list) => list.length === 1));
  two.server.emit("all", 2);
  await until(() => got.every((list) => list.length === 2));
  same(got[0], [["all", 1], ["all", 2]]);
  same(got[1], got[0]);

  trying("a room with members on both servers");
  for (const n of [0, 2]) await new Promise((resolve) => players[n].emit("join", "room", resolve));
  one.server.to("room").emit("inside", { bytes: Buffer.from([0, 255]) });
  await until(() => got[0].length === 3 && got[2].length === 3);
  same(got[1].length, 2);
  same([...got[2][2][1].bytes], [0, 255]);

  trying("counting everywhere");
  same((await one.server.fetchSockets()).length, 3);
  same((await two.server.fetchSockets()).length, 3);
  same((await two.server.in("room").fetchSockets()).length, 2);
  same((await one.server.in("nobody").fetchSockets()).length, 0);

  trying("an answer from the other server");
  two.server.on("question", (text, answer) => answer(`${text}?`));
  same(await one.server.serverSideEmitWithAck("question", "how many"), ["how many?"]);

  trying("acknowledgements from players on both servers");
  players.forEach((socket, n) => socket.on("vote", (answer) => answer(n)));
  same((await one.server.timeout(5000).emitWithAck("vote")).sort(), [0, 1, 2]);

  trying("moving the players of the other server");
  one.server.in("room").socketsJoin("team");
  await until(async () => (await one.server.in("team").fetchSockets()).length === 2);
  one.server.in("team").disconnectSockets();
  await until(() => players[0].disconnected && players[2].disconnected);
  await until(async () => (await one.server.fetchSockets()).length === 1);
});
