// Game processes that die, stall and are replaced, with players connected: `node death.mjs [redis]`.
// Owns: the kills and stops, what must hold afterwards, and how long it took. Does not own: what happens in quiet times
// (`presence.mjs`). Invariant: the same is done to the published RedisPresence and RedisDriver, whose times are told beside; what
// those cannot do is not asked of them.
import assert from "node:assert/strict";
import { finish, quiet, start, startAll, step, until, within } from "./harness.mjs";
import { talk, Visitors } from "./load.mjs";
import { embedded, redisServer } from "./place.mjs";

const COUNT = 4;
const KILLS = Number(process.env.QUORATE_TEST_KILLS ?? 4);
const STALL_MS = Number(process.env.QUORATE_TEST_STALL_MS ?? 10_000);
/** How long the rooms of a dead process are waited for to leave the listing of Redis, where nobody takes them off. */
const NEVER_MS = 3_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ms = (since) => performance.now() - since;
const isNew = process.env.QUORATE_TEST_COLYSEUS !== "0.16" && process.env.QUORATE_TEST_COLYSEUS !== "0.17";

const figures = new Map();
function figure(name, backend, value) {
  const key = `${name}\t${backend}`;
  figures.set(key, [...(figures.get(key) ?? []), value]);
}
const text = (value) => (typeof value === "number" ? `${value < 10 ? value.toFixed(1) : Math.round(value)} ms` : value);
function tell() {
  const names = [...new Set([...figures.keys()].map((key) => key.split("\t")[0]))];
  for (const name of names) {
    const parts = [];
    for (const [key, values] of figures) {
      const [of, backend] = key.split("\t");
      if (of !== name) continue;
      const numbers = values.filter((value) => typeof value === "number").sort((a, b) => a - b);
      const words = values.filter((value) => typeof value !== "number");
      const told = numbers.length ? `median ${text(numbers[numbers.length >> 1])}, worst ${text(numbers.at(-1))} of ${numbers.length}` : "";
      parts.push(`${backend} ${[told, ...new Set(words)].filter(Boolean).join(", ")}`);
    }
    console.log(`figure: ${name}: ${parts.join("; ")}`);
  }
}

/** Rooms with a talking player in each, two at least on every process. New rooms go where there are fewer. */
async function fill(sides, mode) {
  const talkers = [];
  await until(async () => {
    const maker = sides[talkers.length % sides.length];
    talkers.push(talk(await maker.client.create("game", { mode: `${mode}-${talkers.length}` })));
    const listed = await sides[0].ask("query", { name: "game" });
    return sides.every((side) => listed.filter((room) => room.processId === side.processId).length >= 2);
  });
  return talkers;
}

const roomsOf = async (at, side) => (await at.ask("query", {})).filter((room) => room.processId === side.processId);

/** How long a join of a room takes to be refused, and what it is refused with. */
async function refused(side, roomId) {
  const begin = performance.now();
  const reason = await within(15_000, side.client.joinById(roomId)).then(
    () => assert.fail("a room of a dead process was entered"),
    (error) => error.message,
  );
  return [ms(begin), reason];
}

async function kill(backend, sides, round) {
  const isRedis = backend.name === "RedisPresence";
  const name = `${backend.name}, kill ${round}`;
  const victim = sides[(round - 1) % sides.length];
  const living = sides.filter((side) => side !== victim);
  let talkers, doomed, visitors;
  await step(`${name}: rooms with players on all processes`, async () => {
    talkers = await fill(sides, `kill${round}`);
    doomed = (await roomsOf(living[0], victim)).map((room) => room.roomId);
    assert.ok(doomed.length >= 2);
    visitors = new Visitors(() => living).begin(4);
    await until(() => visitors.visits > 20);
    return `${talkers.length} players who stay`;
  }, 40_000);
  const others = talkers.filter((talker) => !doomed.includes(talker.room.roomId));
  for (const talker of others) talker.reset();
  const killed = performance.now();
  victim.kill();
  // Who joins such a room makes Colyseus look whether the process lives. In every other round nobody does at first.
  const isTouched = round % 2 === 1;
  const touch = () => [refused(living[0], doomed[0]), living[1].ask("timedCall", doomed[1])];
  if (isTouched) await step(`${name}: joins to its rooms and calls of them are refused`, async () => {
    const [[time], [callTime, error]] = await Promise.all(touch());
    assert.ok(error, "a room of a dead process was called");
    figure("join of a room whose process was killed just before, until it is refused", backend.name, time);
    figure("call of a room whose process was killed just before, until it is refused", backend.name, callTime);
    return `join ${text(time)}, call ${text(callTime)}`;
  });
  await step(`${name}: its rooms and its count leave every listing`, async () => {
    const gone = async () => {
      for (const side of living) {
        if ((await roomsOf(side, victim)).length > 0) return false;
        if ((await side.ask("presence", "hget", ["roomcount", victim.processId])) !== null) return false;
      }
      return true;
    };
    const note = await within(isRedis ? NEVER_MS : 15_000, until(gone)).then(
      () => ms(killed),
      (error) => (isRedis ? `still there ${NEVER_MS} ms later` : Promise.reject(error)),
    );
    if (!isTouched) figure("from the kill until rooms and count of the process are gone everywhere, untouched", backend.name, note);
    return text(note);
  });
  await step(`${name}: a join to one of its rooms later is refused`, async () => {
    const [time, reason] = await refused(living[1], doomed[1]);
    figure("join of such a room later", backend.name, time);
    return `${text(time)}, ${reason}`;
  });
  await step(`${name}: new rooms are made`, async () => {
    const begin = performance.now();
    const rooms = await Promise.all(living.map((side) => side.client.create("game", { mode: `after-kill${round}` })));
    figure("three rooms made after that", backend.name, ms(begin));
    await Promise.all(rooms.map((room) => quiet(room).leave()));
  });
  await step(`${name}: no other player was disturbed`, async () => {
    const before = visitors.visits;
    const isDone = (talker) => talker.left !== null || talker.count > 10;
    await until(() => visitors.visits > before + 20 && others.every(isDone));
    await visitors.end();
    assert.deepEqual(visitors.failed, []);
    for (const talker of others) assert.equal(talker.left, null, `a player of another process left with ${talker.left}`);
    const listed = (await living[0].ask("query", { name: "game" })).map((room) => room.roomId);
    for (const talker of others) assert.ok(listed.includes(talker.room.roomId), "a living room is not listed");
    figure("longest wait of a player in another process for an answer", backend.name, Math.max(...others.map((talker) => talker.longest)));
    figure("longest visit (joinOrCreate, talk, leave) meanwhile, with retries", backend.name, visitors.longest);
    return `${visitors.visits} visits, ${visitors.again} tried again`;
  });
  await Promise.all(talkers.map((talker) => talker.end()));
  sides[sides.indexOf(victim)] = await start(backend.place(round));
}

async function stall(backend, sides) {
  const name = `${backend.name}, stall`;
  const victim = sides[1];
  const living = sides.filter((side) => side !== victim);
  let talkers, held;
  await step(`${name}: rooms with players on all processes, the fewest on one`, async () => {
    talkers = await fill(sides, "stall");
    held = (await roomsOf(living[0], victim)).map((room) => room.roomId).sort();
    // The next room is then to be made on the process that stalls. Its number of rooms is told once a second.
    await until(async () => {
      const counts = await living[0].ask("presence", "hgetall", ["roomcount"]);
      const rooms = (side) => Number(counts[side.processId]?.split(",")[0]);
      if (living.every((side) => rooms(side) > rooms(victim))) return true;
      const doomed = talkers.find((talker) => held.includes(talker.room.roomId));
      if (held.length > 1 && rooms(victim) >= held.length && doomed) {
        await doomed.end();
        talkers.splice(talkers.indexOf(doomed), 1);
        held = (await roomsOf(living[0], victim)).map((room) => room.roomId).sort();
      }
      return false;
    });
  }, 40_000);
  const others = talkers.filter((talker) => !held.includes(talker.room.roomId));
  for (const talker of others) talker.reset();
  victim.signal("SIGSTOP");
  const stopped = performance.now();
  const made = [living[0].client.create("game", { mode: "once" })];
  await step(`${name}: a room asked of the stalled process is made elsewhere`, async () => {
    const [room] = await Promise.all(made);
    quiet(room);
    figure("a room asked of a stalled process", backend.name, ms(stopped));
  });
  await step(`${name}: its rooms are not listed while it stands still`, async () => {
    await until(async () => (await roomsOf(living[0], victim)).length === 0);
    figure("from SIGSTOP until the rooms of the process are gone", backend.name, ms(stopped));
    return text(ms(stopped));
  });
  await pause(Math.max(0, STALL_MS - ms(stopped)));
  const woken = performance.now();
  victim.signal("SIGCONT");
  await step(`${name}: its rooms come back, the same`, async () => {
    for (const side of sides) {
      await until(async () => {
        const rooms = (await roomsOf(side, victim)).map((room) => room.roomId);
        return held.every((roomId) => rooms.includes(roomId));
      });
    }
    figure("from SIGCONT until its rooms are listed everywhere again", backend.name, ms(woken));
    return text(ms(woken));
  });
  await step(`${name}: they are entered, and their players talk`, async () => {
    for (const roomId of held) await quiet(await living[0].client.joinById(roomId)).leave();
    for (const talker of talkers) {
      assert.equal(talker.left, null, `a player left with ${talker.left}`);
      talker.reset();
    }
    await until(() => talkers.every((talker) => talker.count > 3));
  });
  await step(`${name}: no room is there twice`, async () => {
    await pause(3_000);
    const listed = (await living[0].ask("query", {})).filter((room) => room.metadata?.mode === "once");
    if (isNew) assert.equal(listed.length, 1, `${listed.length} rooms for one request`);
    for (const { roomId } of await living[0].ask("query", { name: "game" })) {
      const owners = [];
      for (const side of sides) if (await side.ask("owns", roomId)) owners.push(side.processId);
      assert.equal(owners.length, 1, `room ${roomId} runs in ${owners.length} processes`);
    }
    return `${listed.length} for one request`;
  });
  await Promise.all(talkers.map((talker) => talker.end()));
}

async function rolling(backend, sides) {
  const name = `${backend.name}, rolling restart`;
  const alive = [...sides];
  const visitors = new Visitors(() => alive).begin(6);
  const codes = [];
  await step(`${name}: players come and go`, async () => void (await until(() => visitors.visits > 30)));
  for (const [index, side] of sides.entries()) {
    await step(`${name}: process ${index + 1} leaves, another takes its place`, async () => {
      const talkers = await Promise.all([1, 2].map(async (n) => talk(await side.client.create("game", { mode: `roll-${index}-${n}` }))));
      alive.splice(alive.indexOf(side), 1);
      const begin = performance.now();
      side.signal("SIGTERM");
      const { code, signal } = await within(15_000, side.ended);
      const time = ms(begin);
      codes.push(code ?? signal);
      figure("from SIGTERM until the process has ended", backend.name, time);
      const began = performance.now();
      alive.push((sides[index] = await start(backend.place(index))));
      figure("from the start of a process until players may come", backend.name, ms(began));
      await Promise.all(talkers.map((talker) => talker.end()));
      return `exit code ${code ?? signal} after ${text(time)}`;
    });
  }
  await step(`${name}: every process ended with 0, and no join failed`, async () => {
    const before = visitors.visits;
    await until(() => visitors.visits > before + 30);
    await visitors.end();
    assert.deepEqual(codes, sides.map(() => 0));
    assert.deepEqual(visitors.failed, []);
    figure("longest visit meanwhile, with retries", backend.name, visitors.longest);
    return `${visitors.visits} visits, ${visitors.again} tried again`;
  });
  await step(`${name}: only those who live are listed and counted`, async () => {
    const ids = sides.map((side) => side.processId);
    for (const side of sides) {
      const listed = await side.ask("query", {});
      assert.deepEqual(listed.filter((room) => !ids.includes(room.processId)), []);
    }
    const counted = Object.keys(await sides[0].ask("presence", "hgetall", ["roomcount"]));
    assert.deepEqual(counted.sort(), ids.sort());
  });
}

const backends = process.argv[2] === "redis" ? [await redisServer()] : [embedded(), await redisServer()];
for (const backend of backends) {
  const isRedis = backend.name === "RedisPresence";
  const sides = await startAll(COUNT, backend);
  for (let round = 1; round <= (isRedis ? 2 : KILLS); round++) await kill(backend, sides, round);
  // The published RedisDriver makes the same room twice here, and takes seconds for most of this.
  if (!isRedis) await stall(backend, sides);
  await rolling(backend, sides);
  await Promise.all(sides.map((side) => side.stop()));
  await backend.close();
}
tell();
finish();
