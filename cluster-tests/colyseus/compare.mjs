// The 33 methods of a Colyseus presence, case by case: the published RedisPresence on a real redis-server beside ClusterPresence.
// Owns: running both, and telling where they differ. Does not own: the cases (`cases.mjs`, `talk.mjs`). Invariant: a difference
// is either listed here with its reason or fails; a listed one that is none any more fails too.
import { inspect, isDeepStrictEqual } from "node:util";
import { start, within } from "./harness.mjs";
import { embedded, redisServer, services } from "./place.mjs";
import { cases } from "./cases.mjs";
import { talks } from "./talk.mjs";

/** Differences that are meant, by the name of the case. */
const INTENDED = new Map([]);
/** Answers that Redis gives in no order of their own. */
const UNORDERED = new Set(["smembers", "sinter"]);

const isError = (value) => value instanceof Error;
/** What of an error programs go by: its text, which begins with the code word. The class is that of the library. */
const told = (error) => error.message;

function plain(method, value) {
  if (isError(value)) return { error: told(value) };
  // Sets of numbers have an order.
  if (UNORDERED.has(method) && value.some?.((text) => !/^-?\d+$/.test(text))) return value.toSorted();
  return value;
}

/** What a call came to: resolved or rejected, and with what. */
async function outcome(presence, [method, ...args]) {
  let promise;
  try {
    promise = presence[method](...args);
  } catch (error) {
    return { thrown: error.constructor.name };
  }
  try {
    return { resolved: plain(method, await within(10_000, promise)) };
  } catch (error) {
    // What JavaScript itself throws is known by its class; its words are those of the engine.
    return { rejected: error instanceof TypeError ? "TypeError" : told(error) };
  }
}

const placed = (args, prefix) =>
  args.map((arg) => (typeof arg === "string" && arg.startsWith("@") ? prefix + arg.slice(1) : arg));

async function runCalls(presence, calls, prefix) {
  const outcomes = [];
  for (const call of calls) {
    if (typeof call === "number") await new Promise((resolve) => setTimeout(resolve, call));
    else outcomes.push(await outcome(presence, placed(call, prefix)));
  }
  return outcomes;
}

async function runTalk(presence, another, talk, prefix) {
  try {
    return { resolved: await within(15_000, talk(presence, prefix, another)) };
  } catch (error) {
    return { rejected: error?.message ?? `${error}` };
  }
}

/** All outcomes of one kind of presence, by case. */
async function runAll(place) {
  const [one, two] = [(await services(place)).presence, (await services(place)).presence];
  const prefix = (index) => `compare-${process.pid}-${index}:`;
  const found = new Map();
  // The cases use no key of each other: those that wait may wait together.
  await Promise.all(
    cases.map(async ([title, calls], index) => found.set(title, await runCalls(one, calls, prefix(index)))),
  );
  for (const [index, [title, talk]] of talks.entries()) {
    found.set(title, await runTalk(one, two, talk, prefix(`talk${index}`)));
  }
  found.set("what a callback throws is not swallowed", await throwing(place, prefix("throw")));
  return found;
}

/** In a presence of its own: what a callback throws must reach the process, and the next message the next callback. */
async function throwing(place, topic) {
  const { presence } = await services(place);
  const caught = [];
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => caught.push(error.message));
  await presence.subscribe(topic, () => {
    throw new Error("thrown on purpose");
  });
  await presence.publish(topic, 1);
  await within(5_000, (async () => {
    while (caught.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  })()).catch(() => {});
  process.removeAllListeners("uncaughtException");
  for (const listener of others) process.on("uncaughtException", listener);
  return caught;
}

const redis = await redisServer();
const cluster = embedded();
// This process is one of three, so that answers come from a cluster and not from one node.
const others = [await start(cluster.place(0)), await start(cluster.place(1))];
const [expected, actual] = [await runAll(redis.place()), await runAll(cluster.place(2))];

let [equal, different, methods] = [0, 0, new Set()];
for (const [, calls] of cases) for (const call of calls) if (Array.isArray(call)) methods.add(call[0]);
for (const [title, right] of expected) {
  const same = isDeepStrictEqual(actual.get(title), right);
  const reason = INTENDED.get(title);
  if (same && !reason) {
    equal++;
  } else if (!same && reason) {
    console.log(`meant   ${title}: ${reason}`);
  } else {
    different++;
    const show = (value) => inspect(value, { depth: 6, breakLength: 160, maxArrayLength: 30 });
    console.log(`FAILED  ${title}:${same ? " is equal, but listed as different" : `\n  Redis   ${show(right)}\n  Cluster ${show(actual.get(title))}`}`);
  }
}
console.log(`figure: ${expected.size} cases compared with RedisPresence on redis-server: ${equal} equal, ${different} different, ${INTENDED.size} meant to differ`);
await Promise.all(others.map((side) => side.stop()));
await redis.close();
console.log(`${equal} passed, ${different} failed`);
process.exit(different === 0 ? 0 : 1);
