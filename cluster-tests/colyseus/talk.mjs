// What a Colyseus presence is asked in the comparison where messages, order or time between calls matter.
// Owns: these cases. Does not own: running and comparing them. Invariant: a case gives what is to be equal, and ends by itself;
// topics and keys begin with the prefix that it is given.
import { until } from "./harness.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Subscribes to a topic; gives what is heard. */
async function ears(presence, topic) {
  const heard = [];
  const callback = (message) => heard.push(message);
  const result = await presence.subscribe(topic, callback);
  return { heard, callback, result };
}

/** Waits until everything published so far has been heard: what follows it on a topic of its own has. */
async function settled(presence, at) {
  let done = false;
  const callback = () => (done = true);
  await presence.subscribe(`${at}settled`, callback);
  await presence.publish(`${at}settled`, 1);
  await until(() => done);
  await presence.unsubscribe(`${at}settled`, callback);
  await pause(20);
}

/** The order in which promises settle. */
async function order(promises) {
  const names = [];
  await Promise.allSettled(Object.entries(promises).map(([name, p]) => p.finally(() => names.push(name))));
  return names;
}

async function heardOf(presence, at, values) {
  const { heard } = await ears(presence, `${at}t`);
  for (const value of values) await presence.publish(`${at}t`, value);
  await until(() => heard.length >= values.length);
  return heard;
}

class Point {
  x = 1;
  toJSON() {
    return { point: this.x };
  }
}

/** `[name, async (presence, prefix, another) => what is compared]`; `another` is one more presence of this process. */
export const talks = [
  ["subscribe and unsubscribe give the presence", async (p, at) => {
    const { result, callback } = await ears(p, `${at}t`);
    return [result === p, (await p.unsubscribe(`${at}t`, callback)) === p, (await p.unsubscribe(`${at}t`)) === p];
  }],
  ["publish: plain values", (p, at) => heardOf(p, at, ["text", 1, 0.5, true, false, null, "", [], {}, [1, [2]], { a: { b: 1 } }])],
  ["publish: undefined is false", (p, at) => heardOf(p, at, [undefined])],
  ["publish: what JSON makes of the rest", (p, at) =>
    heardOf(p, at, [NaN, Infinity, new Date(0), Buffer.from("ab"), { a: undefined, b: 1 }, [undefined], new Point(), new Map([[1, 2]]), new Uint8Array([1, 2])])],
  ["publish: text beyond ASCII", (p, at) => heardOf(p, at, ["ä🎲\u0000\n\"", { "ä": "🎲" }])],
  ["publish: a function or a symbol", async (p, at) => {
    const calls = [p.publish(`${at}t`, () => {}), p.publish(`${at}t`, Symbol("x"))];
    return (await Promise.allSettled(calls)).map((call) => call.status);
  }],
  ["publish: 200,000 characters", async (p, at) => (await heardOf(p, at, ["x".repeat(200_000)]))[0].length],
  ["publish: a copy, on a later tick", async (p, at) => {
    const { heard } = await ears(p, `${at}t`);
    const value = { n: 1 };
    const promise = p.publish(`${at}t`, value);
    const atOnce = heard.length;
    value.n = 2;
    await promise;
    await until(() => heard.length === 1);
    return [atOnce, heard[0], heard[0] === value];
  }],
  ["publish: to nobody", async (p, at) => p.publish(`${at}nobody`, 1)],
  ["publish: before anyone listens", async (p, at) => {
    await p.publish(`${at}t`, "early");
    const { heard } = await ears(p, `${at}t`);
    await p.publish(`${at}t`, "late");
    await until(() => heard.length > 0);
    return heard;
  }],
  ["topics do not collide, in one order", async (p, at) => {
    const heard = [];
    const callback = (message) => heard.push(message);
    for (const topic of ["a", "b"]) await p.subscribe(`${at}${topic}`, callback);
    for (let n = 1; n <= 4; n++) for (const topic of ["a", "b"]) p.publish(`${at}${topic}`, n);
    await until(() => heard.length === 8);
    return heard;
  }],
  ["1,000 messages in order", async (p, at) => {
    const { heard } = await ears(p, `${at}t`);
    for (let n = 0; n < 1000; n++) p.publish(`${at}t`, n);
    await until(() => heard.length >= 1000);
    return [heard.length, heard.every((message, n) => message === n)];
  }],
  ["two callbacks, in the order of subscribing", async (p, at) => {
    const heard = [];
    await p.subscribe(`${at}t`, (message) => heard.push(["first", message]));
    await p.subscribe(`${at}t`, (message) => heard.push(["second", message]));
    await p.publish(`${at}t`, 1);
    await until(() => heard.length === 2);
    return heard;
  }],
  ["the callbacks of one message share it", async (p, at) => {
    const heard = [];
    for (let n = 0; n < 2; n++) await p.subscribe(`${at}t`, (message) => heard.push(message));
    await p.publish(`${at}t`, { a: 1 });
    await until(() => heard.length === 2);
    return heard[0] === heard[1];
  }],
  ["one callback twice, and once less", async (p, at) => {
    const { heard, callback } = await ears(p, `${at}t`);
    await p.subscribe(`${at}t`, callback);
    await p.publish(`${at}t`, 1);
    await settled(p, at);
    await p.unsubscribe(`${at}t`, callback);
    await p.publish(`${at}t`, 2);
    await settled(p, at);
    await p.unsubscribe(`${at}t`, callback);
    await p.publish(`${at}t`, 3);
    await settled(p, at);
    return heard;
  }],
  ["unsubscribe: without a callback all are gone", async (p, at) => {
    const [one, two] = [await ears(p, `${at}t`), await ears(p, `${at}t`)];
    await p.unsubscribe(`${at}t`);
    await p.publish(`${at}t`, 1);
    await settled(p, at);
    return [one.heard, two.heard, p.subscriptions.listenerCount(`${at}t`)];
  }],
  ["unsubscribe: of what was never subscribed", async (p, at) => {
    const { heard } = await ears(p, `${at}t`);
    await p.unsubscribe(`${at}t`, () => {});
    await p.unsubscribe(`${at}never`);
    await p.publish(`${at}t`, 1);
    await settled(p, at);
    return heard;
  }],
  ["unsubscribe: of a later callback inside an earlier one", async (p, at) => {
    const heard = [];
    const later = (message) => heard.push(["later", message]);
    await p.subscribe(`${at}t`, (message) => {
      heard.push(["earlier", message]);
      p.unsubscribe(`${at}t`, later);
    });
    await p.subscribe(`${at}t`, later);
    await p.publish(`${at}t`, 1);
    await p.publish(`${at}t`, 2);
    await settled(p, at);
    return heard;
  }],
  ["subscribe: inside a callback", async (p, at) => {
    const heard = [];
    await p.subscribe(`${at}t`, async (message) => {
      await p.subscribe(`${at}u`, (inner) => heard.push(["inner", inner]));
      p.publish(`${at}u`, message);
    });
    await p.publish(`${at}t`, 1);
    await until(() => heard.length > 0);
    return heard;
  }],
  ["subscribe, unsubscribe, publish without waiting", async (p, at) => {
    const heard = [];
    const callback = (message) => heard.push(message);
    p.subscribe(`${at}t`, callback);
    p.unsubscribe(`${at}t`, callback);
    p.publish(`${at}t`, 1);
    await settled(p, at);
    return heard;
  }],
  ["unsubscribe, subscribe again, publish", async (p, at) => {
    const { heard, callback } = await ears(p, `${at}t`);
    p.unsubscribe(`${at}t`, callback);
    await p.subscribe(`${at}t`, callback);
    await p.publish(`${at}t`, 1);
    await settled(p, at);
    return heard;
  }],
  ["subscribe: in effect when it resolves, 100 times", async (p, at, other) => {
    let late = 0;
    for (let n = 0; n < 100; n++) {
      const { heard, callback } = await ears(p, `${at}${n}`);
      await other.publish(`${at}${n}`, n);
      await Promise.race([until(() => heard.length > 0), pause(1000)]);
      if (heard.length !== 1) late++;
      await p.unsubscribe(`${at}${n}`, callback);
    }
    return late;
  }],
  ["messages between two presences of one process", async (p, at, other) => {
    const [mine, its] = [await ears(p, `${at}t`), await ears(other, `${at}t`)];
    await p.publish(`${at}t`, "from one");
    await other.publish(`${at}t`, "from the other");
    await until(() => mine.heard.length === 2 && its.heard.length === 2);
    await other.unsubscribe(`${at}t`);
    await p.publish(`${at}t`, "again");
    await settled(p, at);
    return [mine.heard.toSorted(), its.heard.toSorted()];
  }],
  ["state between two presences of one process", async (p, at, other) => {
    await p.hset(`${at}h`, "f", "v");
    return [await other.hget(`${at}h`, "f"), await other.hset(`${at}h`, "f", "w"), await p.hgetall(`${at}h`)];
  }],
  ["channels: of both, by pattern", async (p, at, other) => {
    for (const name of ["p:one", "p:two", "P:three", "q:four"]) await ears(p, `${at}${name}`);
    await ears(other, `${at}p:five`);
    const patterns = ["*", "p:*", "p:t*", "?:*", "[pq]:*", "[^p]:*", "p:two", "none:*", "P:*"];
    const found = [];
    for (const pattern of patterns) {
      const names = await p.channels(`${at}${pattern}`);
      found.push([pattern, names.map((name) => name.slice(at.length)).sort()]);
    }
    return found;
  }],
  ["channels: without a pattern, and after unsubscribing", async (p, at) => {
    const { callback } = await ears(p, `${at}t`);
    const before = (await p.channels()).includes(`${at}t`);
    await p.unsubscribe(`${at}t`, callback);
    return [before, (await p.channels()).includes(`${at}t`)];
  }],
  ["subscriptions: an event emitter with names and counts", async (p, at) => {
    await ears(p, `${at}t`);
    await ears(p, `${at}t`);
    p.setMaxListeners(123);
    const names = p.subscriptions.eventNames().filter((name) => name.startsWith(at)).length;
    return [names, p.subscriptions.listenerCount(`${at}t`), p.subscriptions.getMaxListeners()];
  }],
  ["setMaxListeners gives nothing", async (p) => [p.setMaxListeners(50)]],
  ["an object that inherits, as each room has", async (p, at) => {
    const scoped = Object.create(p);
    const { heard, result } = await ears(scoped, `${at}t`);
    await scoped.publish(`${at}t`, 1);
    await until(() => heard.length > 0);
    const values = [await scoped.set(`${at}a`, "1"), await scoped.incr(`${at}a`), await scoped.get(`${at}a`), await p.get(`${at}a`)];
    return [heard, result === scoped, values, Object.keys(scoped)];
  }],
  ["calls that are not awaited keep their order", async (p, at) => {
    return Promise.all([p.set(`${at}a`, "1"), p.incr(`${at}a`), p.get(`${at}a`), p.del(`${at}a`), p.get(`${at}a`)]);
  }],
  ["answers to calls of one kind come in their order", async (p, at) => {
    return order(Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`call ${n}`, p.incr(`${at}${n % 3}`)])));
  }],
  ["500 calls that are not awaited keep their order", async (p, at) => {
    const calls = Array.from({ length: 500 }, (_, n) => (n % 5 === 4 ? p.get(`${at}n`) : p.incr(`${at}n`)));
    return Promise.all(calls);
  }],
  ["a publish behind writes is behind their effect", async (p, at) => {
    const seen = [];
    await p.subscribe(`${at}t`, (n) => seen.push(p.get(`${at}a`).then((value) => Number(value) >= n)));
    for (let n = 1; n <= 50; n++) {
      p.set(`${at}a`, n);
      p.publish(`${at}t`, n);
    }
    await until(() => seen.length === 50);
    return (await Promise.all(seen)).every(Boolean);
  }],
  ["brpop: waits, and holds up nothing", async (p, at) => {
    const popped = p.brpop(`${at}l`, 5);
    const meanwhile = [await p.set(`${at}a`, "1"), await p.get(`${at}a`)];
    await pause(50);
    const length = await p.rpush(`${at}l`, "x");
    return [meanwhile, length, await popped, await p.llen(`${at}l`)];
  }],
  ["brpop: the first who waits is served first", async (p, at, other) => {
    const first = p.brpop(`${at}l`, 5);
    await pause(100);
    const second = other.brpop(`${at}l`, 5);
    await pause(100);
    await p.rpush(`${at}l`, "x");
    await p.rpush(`${at}l`, "y");
    return [await first, await second];
  }],
  ["brpop: several keys, one is pushed later", async (p, at) => {
    const popped = p.brpop(`${at}k`, `${at}l`, 5);
    await pause(50);
    await p.lpush(`${at}l`, "x");
    return popped;
  }],
  ["brpop: half a second is not a whole one", async (p, at) => {
    const begin = performance.now();
    const popped = await p.brpop(`${at}l`, 0.5);
    const time = performance.now() - begin;
    return [popped, time > 400, time < 1000];
  }],
  ["a lock as Colyseus takes it, by 20 at once", async (p, at) => {
    const counts = await Promise.all(Array.from({ length: 20 }, () => p.hincrbyex(`${at}ch`, "key", 1, 5)));
    await Promise.all(counts.map(() => p.hincrbyex(`${at}ch`, "key", -1, 5)));
    return [counts.toSorted((a, b) => a - b), await p.hget(`${at}ch`, "key")];
  }],
  ["what a method is: a function that gives a promise", async (p, at) => {
    const calls = {
      subscribe: () => p.subscribe(`${at}t`, () => {}), unsubscribe: () => p.unsubscribe(`${at}t`), channels: () => p.channels(),
      publish: () => p.publish(`${at}t`, 1), exists: () => p.exists(`${at}a`), set: () => p.set(`${at}a`, "1"),
      setex: () => p.setex(`${at}a`, "1", 5), expire: () => p.expire(`${at}a`, 5), get: () => p.get(`${at}a`), del: () => p.del(`${at}a`),
      sadd: () => p.sadd(`${at}s`, "1"), smembers: () => p.smembers(`${at}s`), sismember: () => p.sismember(`${at}s`, "1"),
      srem: () => p.srem(`${at}s`, "1"), scard: () => p.scard(`${at}s`), sinter: () => p.sinter(`${at}s`, `${at}s`),
      hset: () => p.hset(`${at}h`, "f", "1"), hincrby: () => p.hincrby(`${at}h`, "f", 1), hincrbyex: () => p.hincrbyex(`${at}h`, "f", 1, 5),
      hget: () => p.hget(`${at}h`, "f"), hgetall: () => p.hgetall(`${at}h`), hdel: () => p.hdel(`${at}h`, "f"), hlen: () => p.hlen(`${at}h`),
      incr: () => p.incr(`${at}n`), decr: () => p.decr(`${at}n`), llen: () => p.llen(`${at}l`), rpush: () => p.rpush(`${at}l`, "1"),
      lpush: () => p.lpush(`${at}l`, "1"), rpop: () => p.rpop(`${at}l`), lpop: () => p.lpop(`${at}l`), brpop: () => p.brpop(`${at}l`, 0.1),
    };
    const kinds = [];
    for (const [name, call] of Object.entries(calls)) {
      const result = call();
      kinds.push([name, result instanceof Promise]);
      await result;
    }
    return [kinds, kinds.length + ["setMaxListeners", "shutdown"].filter((name) => typeof p[name] === "function").length];
  }],
];
