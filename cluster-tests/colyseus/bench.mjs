// What a presence and a driver cost, beside RedisPresence and RedisDriver on redis-server: `node bench.mjs query|matchmaking|idle`.
// Owns: the loads and the figures. Does not own: any check but that answers are right. Invariant: what is compared alternates in
// one run, and every process that serves is counted, redis-server too.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LocalDriver } from "@colyseus/core";
import { finish, quiet, startAll, step, within } from "./harness.mjs";
import { embedded, redisServer, services } from "./place.mjs";
import { cpu, memory } from "./usage.mjs";

const number = (name, value) => Number(process.env[`QUORATE_TEST_${name}`] ?? value);
const ROUNDS = number("ROUNDS", 7);
const ROOMS = number("ROOMS", 5_000);
const PLAYERS = number("PLAYERS", 16);
const SECONDS = number("SECONDS", 6);
const sorted = (values) => values.toSorted((a, b) => a - b);
const median = (values) => sorted(values)[values.length >> 1];
const short = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `median (least to most)`. */
const spread = (values) => `${short(median(values))} (${short(sorted(values)[0])} to ${short(sorted(values).at(-1))})`;
const ratios = (ours, theirs) => spread(theirs.map((value, round) => value / ours[round]));

/** A room as Colyseus 0.18 lists it. */
const room = (n) => ({
  clients: n % 8,
  maxClients: 8,
  locked: n % 10 === 0,
  private: false,
  metadata: { mode: `m${n % 100}`, level: n % 50, title: `A room of number ${n}` },
  createdAt: new Date(1_760_000_000_000 + n).toISOString(),
  unlisted: false,
  name: `game${n % 5}`,
  processId: `process-${n % 16}`,
  publicAddress: "127.0.0.1:2567",
  roomId: `room-${String(n).padStart(5, "0")}`,
});

const QUESTIONS = {
  "findOne by id": { times: 50, ask: (driver, n) => driver.findOne({ roomId: `room-${String((n * 37) % ROOMS).padStart(5, "0")}` }) },
  "findOne by name and mode, as joinOrCreate asks": {
    times: 20,
    ask: (driver, n) => driver.findOne({ locked: false, name: `game${n % 5}`, private: false, mode: `m${(n % 5) + 5}` }),
  },
  "findOne by name, the fullest first": { times: 20, ask: (driver) => driver.findOne({ locked: false, name: "game1", private: false }, { clients: -1 }) },
  "query by name and mode": { times: 20, ask: (driver, n) => driver.query({ name: `game${n % 5}`, mode: `m${n % 100}` }) },
  "query of one process": { times: 20, ask: (driver, n) => driver.query({ processId: `process-${n % 16}` }) },
  "query of all": { times: 5, ask: (driver) => driver.query({}) },
};

async function drivers() {
  const [cluster, redis] = [embedded(), await redisServer()];
  // One process more in the cluster, which then has to agree; its game does not matter.
  const [side] = await startAll(1, cluster);
  const ours = (await services(cluster.place(1))).driver;
  await ours.boot();
  const all = { ClusterDriver: ours, RedisDriver: (await services(redis.place())).driver, LocalDriver: new LocalDriver() };
  for (const driver of Object.values(all)) {
    for (let n = 0; n < ROOMS; n += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, k) => driver.persist(room(n + k), true)));
    }
  }
  return { all, end: async () => (await side.stop(), await redis.close()) };
}

async function query() {
  const { all, end } = await drivers();
  for (const [name, { times, ask }] of Object.entries(QUESTIONS)) {
    await step(name, async () => {
      const found = Object.fromEntries(Object.keys(all).map((driver) => [driver, []]));
      const ids = (answer) => (Array.isArray(answer) ? answer.map((row) => row.roomId).sort() : answer?.roomId !== undefined);
      for (let n = 0; n < 5; n++) {
        const answers = [];
        for (const driver of Object.values(all)) answers.push(ids(await ask(driver, n)));
        for (const answer of answers) assert.deepEqual(answer, answers[0]);
      }
      for (let round = 0; round < ROUNDS; round++) {
        for (const [driver, of] of Object.entries(all)) {
          const begin = performance.now();
          for (let n = 0; n < times; n++) await ask(of, n);
          found[driver].push((performance.now() - begin) / times);
        }
      }
      const told = Object.entries(found).map(([driver, values]) => `${driver} ${spread(values)} ms`);
      console.log(`figure: ${ROOMS} rooms, ${name}: ${told.join(", ")}; RedisDriver takes ${ratios(found.ClusterDriver, found.RedisDriver)} times as long, LocalDriver ${ratios(found.ClusterDriver, found.LocalDriver)}`);
    }, 120_000);
  }
  await end();
}

/** Players who join or create and leave again, through both processes in turn; gives the time of each join, and the count. */
async function load(sides, players, seconds) {
  const times = [];
  let [operations, failures, turn] = [0, 0, 0];
  const deadline = performance.now() + seconds * 1000;
  const loop = async (index) => {
    while (performance.now() < deadline) {
      const side = sides[turn++ % sides.length];
      const begin = performance.now();
      try {
        const joined = quiet(await within(10_000, side.client.joinOrCreate("game", { mode: `m${index % 8}` })));
        times.push(performance.now() - begin);
        await within(5_000, joined.leave());
        operations += 2;
      } catch {
        failures++;
      }
    }
  };
  await Promise.all(Array.from({ length: players }, (_, index) => loop(index)));
  return { times, operations, failures };
}

async function matchmaking() {
  const backends = [embedded(), await redisServer()];
  const served = [];
  for (const backend of backends) served.push({ backend, sides: await startAll(2, backend), rounds: [] });
  for (const { sides } of served) await load(sides, PLAYERS, 2);
  await step(`matchmaking of ${PLAYERS} players over two processes`, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      for (const { backend, sides, rounds } of served) {
        const pids = [...sides.map((side) => side.pid), ...backend.pids];
        const [before, begin, own] = [cpu(pids), performance.now(), process.cpuUsage()];
        const { times, operations, failures } = await load(sides, PLAYERS, SECONDS);
        const elapsed = (performance.now() - begin) / 1000;
        const { user, system } = process.cpuUsage(own);
        rounds.push({
          rate: operations / elapsed,
          p50: median(times),
          p99: sorted(times)[Math.floor(times.length * 0.99)],
          cost: ((cpu(pids) - before) * 1000) / operations,
          players: (user + system) / 1e6 / elapsed,
          failures,
        });
      }
    }
    const of = (at, name) => served[at].rounds.map((round) => round[name]);
    for (const [at, { backend }] of served.entries()) {
      console.log(
        `figure: matchmaking, ${PLAYERS} players at two processes on ${backend.name}: ${spread(of(at, "rate"))} joins and leaves a second, ` +
          `join p50 ${spread(of(at, "p50"))} ms, p99 ${spread(of(at, "p99"))} ms, CPU of all who serve ${spread(of(at, "cost"))} ms each, ` +
          `players ${spread(of(at, "players"))} cores, ${of(at, "failures").reduce((a, b) => a + b)} failures`,
      );
    }
    const ratio = (name) => spread(of(0, name).map((value, round) => value / of(1, name)[round]));
    console.log(`figure: matchmaking, ClusterPresence to RedisPresence: rate ${ratio("rate")}, p50 ${ratio("p50")}, p99 ${ratio("p99")}, CPU ${ratio("cost")}`);
    // Those of the other side stand beside its figures.
    assert.deepEqual(of(0, "failures"), of(0, "failures").map(() => 0));
  }, 600_000);
  for (const { backend, sides } of served) {
    await Promise.all(sides.map((side) => side.stop()));
    await backend.close();
  }
}

/** A Node.js process that does nothing but hold a presence and a driver, or not even these. */
async function idler(place) {
  const child = fork(fileURLToPath(new URL("idler.mjs", import.meta.url)), [JSON.stringify(place)]);
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  child.once("exit", () => process.off("exit", end));
  await within(30_000, new Promise((resolve) => child.once("message", resolve)));
  return child;
}

async function idle() {
  const redis = await redisServer();
  const [two, four] = [embedded(), embedded()];
  const kinds = [
    ["nothing", () => ({}), 1],
    ["RedisPresence and RedisDriver", () => redis.place(), 2],
    ["ClusterPresence and ClusterDriver, one process", () => ({ cluster: { alone: true } }), 1],
    ["ClusterPresence and ClusterDriver, two processes", (index) => two.place(index), 2],
    ["ClusterPresence and ClusterDriver, four processes", (index) => four.place(index), 4],
  ];
  let bare;
  for (const [name, place, count] of kinds) {
    await step(`idle: ${name}`, async () => {
      const children = [];
      for (let index = 0; index < count; index++) children.push(await idler(place(index)));
      await pause(3_000);
      const pids = children.map((child) => child.pid);
      const used = pids.map((pid) => cpu([pid]));
      await pause(SECONDS * 1000);
      const shares = pids.map((pid, index) => ((cpu([pid]) - used[index]) / SECONDS) * 100);
      const sizes = pids.map(memory);
      bare ??= [median(sizes), median(shares)];
      console.log(
        `figure: a Node.js process with ${name}: ${spread(sizes)} MiB of its own (${short(median(sizes) - bare[0])} more), ` +
          `${spread(shares)} % of a core when idle`,
      );
      for (const child of children) child.kill("SIGKILL");
    }, 120_000);
  }
  console.log(`figure: redis-server: ${short(memory(redis.pids[0]))} MiB of its own`);
  await redis.close();
}

await { query, matchmaking, idle }[process.argv[2]]();
finish();
