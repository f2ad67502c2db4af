// What players and rooms must be able to do in a Colyseus game of several processes, whatever carries its presence.
// Owns: the steps. Does not own: starting processes, and what happens to them meanwhile. Invariant: nothing here knows which
// presence, which driver or which Colyseus it plays on.
import assert from "node:assert/strict";
import { echo, fragile, heard, quiet, step, until } from "./harness.mjs";

/** All that must work between the processes, in rooms of the given mode. The first two carry the game. */
export async function play(sides, mode) {
  const [one, two] = sides;
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
  await step(`${mode}: join it by id through another process`, async () => {
    guest = quiet(await two.client.joinById(room.roomId));
    assert.equal(guest.roomId, room.roomId);
    const said = heard(room, "said");
    guest.send("say", "I am here");
    assert.equal(await said, "I am here");
  });
  await step(`${mode}: every process lists it`, async () => {
    for (const side of sides) {
      const rooms = await side.ask("query", { roomId: room.roomId });
      assert.equal(rooms.length, 1);
      assert.equal(rooms[0].clients, 2);
    }
  });
  await step(`${mode}: the lobby of another process hears of it`, async () => {
    const entry = await until(() => news.findLast((item) => item[1] === room.roomId && item[2]?.clients === 2));
    assert.equal(entry[2].metadata.mode, mode);
  });
  await step(`${mode}: call a room of another process`, async () => {
    const owner = (await one.ask("query", { roomId: room.roomId }))[0].processId;
    let { score } = await one.ask("call", room.roomId, "addScore", [0]);
    for (const [index, side] of sides.entries()) {
      const answer = await side.ask("call", room.roomId, "addScore", [index + 1]);
      assert.deepEqual(answer, { score: (score += index + 1), processId: owner });
    }
  });
  await step(`${mode}: joinOrCreate at all at once leads into one room`, async () => {
    for (let i = 0; i < 10; i++) {
      const options = { mode: `${mode}-${i}` };
      const players = [...sides, ...sides].map((side) => side.client.joinOrCreate("game", options));
      const rooms = (await Promise.all(players)).map(quiet);
      assert.equal(new Set(rooms.map((joined) => joined.roomId)).size, 1, `round ${i}`);
      await Promise.all(rooms.map((joined) => joined.leave()));
    }
  });
  await step(`${mode}: come back after the connection was lost`, async () => {
    fragile(guest);
    const token = guest.reconnectionToken;
    const sessionId = guest.sessionId;
    guest.leave(false);
    guest = quiet(await until(() => two.client.reconnect(token).catch(() => null)));
    assert.equal(guest.sessionId, sessionId);
    await echo(guest, "back again");
  });
  return { room, guest, lobby, news };
}

/** What else the processes share: listings by condition and order, locks, topics, counters. */
export async function share(sides, mode) {
  const rooms = [];
  await step(`${mode}: rooms are made on every process`, async () => {
    // The number of rooms of a process is told to the others once a second; new rooms go where there are fewer.
    await until(async () => {
      const level = rooms.length;
      rooms.push(quiet(await sides[level % sides.length].client.create("game", { mode: `${mode}-shared`, level })));
      const listed = await sides[0].ask("query", { name: "game" });
      return sides.every((side) => listed.some((room) => room.processId === side.processId));
    });
    return `${rooms.length} rooms`;
  }, 40_000);
  await step(`${mode}: every process finds them by name, place and id`, async () => {
    for (const side of sides) {
      const all = await side.ask("query", { name: "game" });
      assert.deepEqual(all.map((room) => room.roomId).sort(), rooms.map((room) => room.roomId).sort());
      for (const { processId } of sides) {
        const found = await side.ask("query", { name: "game", processId });
        assert.ok(found.length > 0 && found.every((room) => room.processId === processId));
      }
      assert.deepEqual(await side.ask("query", { name: "game", clients: 7 }), []);
      for (const room of rooms) assert.equal((await side.ask("query", { roomId: room.roomId })).length, 1);
    }
  });
  await step(`${mode}: a locked room is entered by nobody, at no process`, async () => {
    const [room] = rooms;
    await sides[1].ask("lock", room.roomId, true);
    for (const side of sides) await assert.rejects(side.client.joinById(room.roomId), /locked/);
    await sides[1].ask("lock", room.roomId, false);
    for (const side of sides) await quiet(await side.client.joinById(room.roomId)).leave();
  });
  await step(`${mode}: every process hears every topic, each publisher in its order`, async () => {
    const topics = ["a", "b"].map((name) => `test:${mode}:${name}`);
    for (const side of sides) for (const topic of topics) await side.ask("listen", topic);
    const count = 50;
    await Promise.all(
      sides.map(async (side, from) => {
        for (let n = 0; n < count; n++) await side.ask("publish", topics[n % 2], { from, n });
      }),
    );
    for (const side of sides) {
      for (const [parity, topic] of topics.entries()) {
        const all = await until(async () => {
          const messages = await side.ask("heard", topic);
          return messages.length >= (count * sides.length) / 2 && messages;
        });
        for (const from of sides.keys()) {
          const numbers = all.filter((message) => message.from === from).map((message) => message.n);
          assert.deepEqual(numbers, Array.from({ length: count / 2 }, (_, n) => 2 * n + parity));
        }
      }
    }
  });
  await step(`${mode}: a counter counts every process`, async () => {
    const calls = sides.flatMap((side) => Array.from({ length: 25 }, () => side.ask("presence", "incr", [`test:${mode}:n`])));
    const numbers = (await Promise.all(calls)).sort((a, b) => a - b);
    assert.deepEqual(numbers, Array.from({ length: 25 * sides.length }, (_, n) => n + 1));
    for (const side of sides) assert.equal(await side.ask("presence", "get", [`test:${mode}:n`]), `${numbers.length}`);
  });
  await Promise.all(rooms.map((room) => room.leave()));
}

/** The end of a game: the room goes, and every listing with it. */
export async function end(sides, mode, { room, guest, lobby, news }) {
  await step(`${mode}: the room is gone when all have left`, async () => {
    await Promise.all([room.leave(), guest.leave()]);
    for (const side of sides) {
      await until(async () => (await side.ask("query", { roomId: room.roomId })).length === 0);
    }
    await until(() => news.some((item) => item[0] === "-" && item[1] === room.roomId));
    for (const side of sides) await assert.rejects(side.client.joinById(room.roomId));
    await lobby.leave();
  });
}
