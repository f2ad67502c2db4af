// A Colyseus game of two processes, each at another node: what players and rooms must be able to do.
// Owns: the steps and their count. `cluster-tests with` says where the nodes are; on a cluster all is done once
// more while the leader is killed. Invariant: every wait has a deadline, and a failed step is printed as such.
import assert from "node:assert/strict";
import { echo, finish, heard, https, isCluster, nodes, pids, quiet, start, step, until, within } from "./harness.mjs";

/** All that must work between two processes, in rooms of the given mode. */
async function play(one, two, mode) {
  const lobby = quiet(await two.client.joinOrCreate("lobby"));
  const news = [];
  lobby.onMessage("rooms", (rooms) => news.push(["rooms", rooms]));
  lobby.onMessage("+", ([id, room]) => news.push(["+", id, room]));
  lobby.onMessage("-", (id) => news.push(["-", id]));
  let room, guest;
  await step(`${mode}: create a room`, async () => {
    room = quiet(await one.client.create("game", { mode }));
    await echo(room, "hello");
  });
  await step(`${mode}: join it by id through the other process`, async () => {
    guest = quiet(await two.client.joinById(room.roomId));
    assert.equal(guest.roomId, room.roomId);
    const said = heard(room, "said");
    guest.send("say", "I am here");
    assert.equal(await said, "I am here");
  });
  await step(`${mode}: both processes list it`, async () => {
    for (const side of [one, two]) {
      const rooms = await side.ask("query", { roomId: room.roomId });
      assert.equal(rooms.length, 1);
      assert.equal(rooms[0].clients, 2);
    }
  });
  await step(`${mode}: the lobby of the other process hears of it`, async () => {
    const entry = await until(() => news.findLast((item) => item[1] === room.roomId && item[2]?.clients === 2));
    assert.equal(entry[2].metadata.mode, mode);
  });
  await step(`${mode}: call a room of the other process`, async () => {
    const owner = (await one.ask("query", { roomId: room.roomId }))[0].processId;
    const before = await one.ask("call", room.roomId, "addScore", [0]);
    const [a, b] = [await two.ask("call", room.roomId, "addScore", [5]), await one.ask("call", room.roomId, "addScore", [2])];
    assert.deepEqual([a.score, b.score], [before.score + 5, before.score + 7]);
    assert.deepEqual([a.processId, b.processId], [owner, owner]);
  });
  await step(`${mode}: joinOrCreate at both at once leads into one room`, async () => {
    for (let i = 0; i < 10; i++) {
      const options = { mode: `${mode}-${i}` };
      const players = [one, two, one, two].map((side) => side.client.joinOrCreate("game", options));
      const rooms = (await Promise.all(players)).map(quiet);
      assert.equal(new Set(rooms.map((joined) => joined.roomId)).size, 1, `round ${i}`);
      await Promise.all(rooms.map((joined) => joined.leave()));
    }
  });
  await step(`${mode}: come back after the connection was lost`, async () => {
    guest.reconnection.enabled = false;
    const token = guest.reconnectionToken;
    const sessionId = guest.sessionId;
    guest.leave(false);
    guest = quiet(await until(() => two.client.reconnect(token).catch(() => null)));
    assert.equal(guest.sessionId, sessionId);
    await echo(guest, "back again");
  });
  return { room, guest, lobby, news };
}

/** The end of a game: the room goes, and every listing with it. */
async function end(one, two, mode, { room, guest, lobby, news }) {
  await step(`${mode}: the room is gone when all have left`, async () => {
    await Promise.all([room.leave(), guest.leave()]);
    for (const side of [one, two]) {
      await until(async () => (await side.ask("query", { roomId: room.roomId })).length === 0);
    }
    await until(() => news.some((item) => item[0] === "-" && item[1] === room.roomId));
    await assert.rejects(two.client.joinById(room.roomId));
    await lobby.leave();
  });
}

async function leader() {
  return within(20_000, until(async () => {
    for (const [index, address] of https.entries()) {
      const status = await fetch(`http://${address}/status`).then((answer) => answer.json()).catch(() => null);
      if (status?.raft?.role === "leader") return { index };
    }
    return null;
  })).then(({ index }) => index);
}

async function killTheLeader() {
  const index = await leader();
  const others = nodes.filter((_, n) => n !== index);
  const [one, two] = [await start(others[0]), await start(others[1])];
  const game = await play(one, two, "before");
  const talking = { stop: false, count: 0 };
  const talk = (async () => {
    while (!talking.stop) {
      await echo(game.room, `r${talking.count}`);
      await echo(game.guest, `g${talking.count++}`);
    }
  })();
  await step("kill: the leader is still the same one", async () => assert.equal(await leader(), index));
  process.kill(pids[index], "SIGKILL");
  const killed = performance.now();
  await step("kill: new rooms can be made at both", async () => {
    const makers = [one, two].map(async (side) => {
      const made = await until(() => side.client.create("game", { mode: "after-kill" }).catch(() => null));
      const time = Math.round(performance.now() - killed);
      await quiet(made).leave();
      return `${time} ms after the kill`;
    });
    return (await Promise.all(makers)).join(", ");
  });
  await step("kill: the game went on", async () => {
    talking.stop = true;
    await talk;
    assert.ok(talking.count > 10);
    for (const side of [one, two]) {
      const rooms = await side.ask("query", { roomId: game.room.roomId });
      assert.deepEqual(rooms.map((room) => room.clients), [2]);
    }
    return `${talking.count} messages each`;
  });
  await end(one, two, "before", game);
  await end(one, two, "after", await play(one, two, "after"));
  await step("kill: no listing is left behind", async () => {
    await until(async () => (await one.ask("query", { name: "game" })).length === 0);
  });
  await Promise.all([one.stop(), two.stop()]);
}

const [one, two] = [await start(nodes[0]), await start(nodes[1 % nodes.length])];
await end(one, two, "calm", await play(one, two, "calm"));
await step("calm: a process that leaves takes its rooms along", async () => {
  const room = quiet(await one.client.create("game", { mode: "leaving" }));
  room.reconnection.enabled = false;
  await one.stop();
  await until(async () => (await two.ask("query", {})).every((listed) => listed.processId !== one.processId));
});
await Promise.all([one.stop(), two.stop()]);
if (isCluster) await killTheLeader();
finish();
