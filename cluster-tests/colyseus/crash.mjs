// A Colyseus game whose process dies: with `[[bind]]` for its two keys, the nodes take its rooms away by themselves.
// Owns: the kills and what must be gone and what must stay. The game is that of `game.mjs`, unmodified packages. Invariant:
// between a kill and the look at the listing no player and no process touches the dead rooms.
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { echo, finish, fragile, nodes, quiet, start, step, until, within } from "./harness.mjs";

const KILLS = 5;
const [host, port] = nodes[2].split(":");
const watcher = new Redis({ host, port: Number(port) });
const ms = (since) => Math.round(performance.now() - since);

/** The listed rooms of each process, as another node has them. */
async function listing() {
  const rooms = Object.values(await watcher.hgetall("roomcaches")).map((row) => JSON.parse(row));
  return (processId) => rooms.filter((room) => room.processId === processId).map((room) => room.roomId).sort();
}

/** Rooms with a player in each, until both processes have two at least; new ones go where there are fewer. */
async function fill(one, two, mode) {
  const rooms = [];
  await until(async () => {
    rooms.push(quiet(await one.client.create("game", { mode: `${mode}-${rooms.length}` })));
    const of = await listing();
    return of(one.processId).length >= 2 && of(two.processId).length >= 2;
  });
  return rooms.map(fragile);
}

const times = [];
const two = await start({ redis: nodes[1] });
for (let kill = 1; kill <= KILLS; kill++) {
  const one = await start({ redis: nodes[kill % 2 === 0 ? 0 : 2] });
  let rooms, staying;
  await step(`kill ${kill}: both processes have rooms and are counted`, async () => {
    rooms = await fill(one, two, `kill${kill}`);
    staying = (await listing())(two.processId);
    await until(async () => (await watcher.hmget("roomcount", one.processId, two.processId)).every(Boolean));
  });
  await step(`kill ${kill}: its rooms leave the listing, and its count goes`, async () => {
    one.kill();
    const killed = performance.now();
    await until(async () => (await listing())(one.processId).length === 0);
    const rooms = ms(killed);
    await until(async () => (await watcher.hexists("roomcount", one.processId)) === 0);
    times.push(ms(killed));
    return `rooms after ${rooms} ms, count after ${ms(killed)} ms`;
  });
  await step(`kill ${kill}: the other process finds none of them`, async () => {
    const found = await two.ask("query", {});
    assert.deepEqual(found.filter((room) => room.processId === one.processId), []);
  });
  await step(`kill ${kill}: the rooms of the living process stay`, async () => {
    assert.ok(staying.length >= 2);
    assert.deepEqual((await listing())(two.processId), staying);
    assert.ok(await watcher.hexists("roomcount", two.processId));
    for (const room of rooms.filter((room) => staying.includes(room.roomId))) await echo(room, "still here");
  });
  await step(`kill ${kill}: a new room is made without a wait for the dead`, async () => {
    const begin = performance.now();
    const room = quiet(await two.client.create("game", { mode: `after-kill${kill}` }));
    const time = ms(begin);
    assert.ok(time < 1000, `${time} ms`);
    rooms.push(room);
  });
  // The rooms of the dead process have lost their players already, who get no answer.
  await Promise.all(rooms.map((room) => within(1_000, room.leave()).catch(() => {})));
}
await two.stop();
watcher.disconnect();
times.sort((a, b) => a - b);
console.log(`figure: from the kill of a game process until its rooms and its count are gone: median ${times[times.length >> 1]} ms, worst ${times.at(-1)} ms, of ${times.length}`);
finish();
