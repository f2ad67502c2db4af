// One presence on a cluster of one: what each call resolves with, in which order calls take effect, how callbacks are called.
// Owns: the table of RedisPresence' values. Does not own: the comparison with a real Redis. Invariant: each value was read from
// RedisPresence 0.18.5.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ClusterPresence } from "quorate";

let presence;
/** A presence does not keep the event loop alive; what waits for a message alone does not either. */
let alive;
before(() => {
  presence = new ClusterPresence({ alone: true });
  alive = setInterval(() => {}, 1_000);
});
after(async () => {
  await presence.handle.leave();
  clearInterval(alive);
});

const tick = () => new Promise((resolve) => setImmediate(resolve));

/** Subscribes and gives what comes, and a wait for a count of it. */
async function listen(topic, by = presence) {
  const seen = [];
  await by.subscribe(topic, (data) => seen.push(data));
  return { seen, count: (count) => eventually(() => seen.length >= count) };
}

async function eventually(holds) {
  const deadline = Date.now() + 5_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, "not within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a constructor returns at once and calls wait for the node", async (t) => {
  const early = new ClusterPresence({ alone: true, name: "early" });
  t.after(() => early.handle.leave());
  const writes = [early.set("k", "v"), early.get("k")];
  assert.deepEqual(await Promise.all(writes), [null, "v"]);
});

test("strings", async () => {
  assert.equal(await presence.get("s"), null);
  assert.equal(await presence.exists("s"), false);
  assert.equal(await presence.set("s", "1"), null);
  assert.equal(await presence.get("s"), "1");
  assert.equal(await presence.exists("s"), true);
  assert.equal(await presence.incr("s"), 2);
  assert.equal(await presence.decr("s"), 1);
  assert.equal(await presence.del("s"), null);
  assert.equal(await presence.get("s"), null);
  assert.equal(await presence.set("s", 5), null);
  assert.equal(await presence.get("s"), "5");
  assert.equal(await presence.set("s", undefined), null);
  assert.equal(await presence.get("s"), "");
});

test("setex and expire take whole seconds and resolve with what Redis refuses", async () => {
  assert.equal(await presence.setex("e", "v", 100), null);
  assert.equal(await presence.get("e"), "v");
  assert.match((await presence.setex("e0", "v", 0)).message, /invalid expire time/);
  assert.match((await presence.setex("e0", "v", 0.5)).message, /not an integer/);
  assert.equal(await presence.exists("e0"), false);
  assert.equal(await presence.expire("e", 100), null);
  assert.ok((await presence.expire("e", 0.5)) instanceof Error);
  assert.equal(await presence.expire("nothing", 1), null);
});

test("sets", async () => {
  assert.equal(await presence.sadd("set", 1), null);
  assert.equal(await presence.sadd("set", [2, 3]), null);
  assert.deepEqual((await presence.smembers("set")).sort(), ["1", "2", "3"]);
  assert.deepEqual(await presence.smembers("none"), []);
  assert.equal(await presence.sismember("set", 1), 1);
  assert.equal(await presence.sismember("set", 9), 0);
  assert.equal(await presence.scard("set"), 3);
  await presence.sadd("other", 3);
  assert.deepEqual(await presence.sinter("set", "other"), ["3"]);
  assert.deepEqual(await presence.sinter("other"), ["3"]);
  await assert.rejects(presence.sinter(), /wrong number of arguments/);
  assert.equal(await presence.srem("set", 1), 1);
  assert.equal(await presence.srem("set", 1), 0);
});

test("hashes", async () => {
  assert.equal(await presence.hset("h", "a", "1"), true);
  assert.equal(await presence.hset("h", "a", "2"), false);
  assert.equal(await presence.hget("h", "a"), "2");
  assert.equal(await presence.hget("h", "none"), null);
  assert.deepEqual(await presence.hgetall("none"), {});
  await presence.hset("h", "__proto__", "p");
  const all = await presence.hgetall("h");
  assert.deepEqual(Object.entries(all).sort(), [["__proto__", "p"], ["a", "2"]]);
  assert.equal(Object.getPrototypeOf(all), Object.prototype);
  assert.equal(await presence.hlen("h"), 2);
  assert.equal(await presence.hincrby("h", "a", 3), 5);
  await assert.rejects(presence.hincrby("h", "a", 0.5), /not an integer/);
  assert.equal(await presence.hdel("h", "a"), true);
  assert.equal(await presence.hdel("h", "a"), false);
});

test("hincrbyex adds and sets the deadline in one step, and resolves with undefined when it cannot add", async () => {
  assert.equal(await presence.hincrbyex("hx", "f", 1, 60), 1);
  assert.equal(await presence.hincrbyex("hx", "f", 2, 60), 3);
  assert.equal(await presence.hincrbyex("hx", "f", 0.5, 60), undefined);
  assert.equal(await presence.hincrbyex("hx", "f", 1, 0.5), 4);
  await presence.set("text", "t");
  assert.equal(await presence.hincrbyex("text", "f", 1, 60), undefined);
});

test("lists", async () => {
  assert.equal(await presence.rpush("l", "a", "b"), 2);
  assert.equal(await presence.lpush("l", "x", "y"), 4);
  assert.equal(await presence.llen("l"), 4);
  assert.equal(await presence.lpop("l"), "y");
  assert.equal(await presence.rpop("l"), "b");
  assert.equal(await presence.rpop("none"), null);
  assert.deepEqual(await presence.brpop("none", "l", 1), ["l", "a"]);
});

test("brpop waits without holding up other calls, and ends with null", async () => {
  const waits = presence.brpop("queue", 5);
  assert.equal(await presence.set("beside", "1"), null);
  await presence.lpush("queue", "job");
  assert.deepEqual(await waits, ["queue", "job"]);
  assert.equal(await presence.brpop("queue", 0.05), null);
});

test("a wrong type rejects where Redis rejects and resolves with the error where RedisPresence does", async () => {
  await presence.set("w", "text");
  await assert.rejects(presence.hget("w", "f"), { code: "WRONGTYPE", message: /^WRONGTYPE Operation/ });
  assert.equal((await presence.sadd("w", 1)).code, "WRONGTYPE");
});

test("a message is a copy by way of JSON, on a later tick", async () => {
  const { seen, count } = await listen("json");
  const data = { nested: [1], gone: undefined, nan: NaN, at: new Date(0) };
  const published = presence.publish("json", data);
  assert.deepEqual(seen, []);
  assert.equal(await published, undefined);
  await presence.publish("json", undefined);
  await count(2);
  assert.deepEqual(seen, [{ nested: [1], nan: null, at: "1970-01-01T00:00:00.000Z" }, false]);
  assert.notEqual(seen[0], data);
  const loop = {};
  loop.loop = loop;
  await assert.rejects(presence.publish("json", loop), TypeError);
});

test("messages keep their order over all topics", async () => {
  const seen = [];
  for (const topic of ["o1", "o2", "o3"]) presence.subscribe(topic, (data) => seen.push(data));
  for (let at = 0; at < 300; at += 1) presence.publish(`o${1 + (at % 3)}`, at);
  await eventually(() => seen.length === 300);
  assert.deepEqual(seen, Array.from({ length: 300 }, (_, at) => at));
});

test("calls that are not awaited take effect in their order", async () => {
  const seen = [];
  const callback = (data) => seen.push(data);
  presence.subscribe("order", callback);
  presence.publish("order", 1);
  await eventually(() => seen.length === 1);
  presence.unsubscribe("order", callback);
  presence.publish("order", 2);
  presence.subscribe("order", callback);
  presence.publish("order", 3);
  await eventually(() => seen.includes(3));
  const values = [];
  for (let at = 0; at < 50; at += 1) {
    presence.set("last", String(at));
    presence.get("last").then((value) => values.push(value));
    presence.hset("count", "n", at);
  }
  assert.equal(await presence.get("last"), "49");
  assert.deepEqual(values, Array.from({ length: 50 }, (_, at) => String(at)));
});

test("thousands of writes that are not awaited keep their order", async () => {
  const values = Array.from({ length: 3_000 }, (_, at) => String(at));
  const lengths = values.map((value) => presence.rpush("long", value));
  presence.lpush("long", "first");
  assert.equal(await presence.llen("long"), 3_001);
  assert.deepEqual(await Promise.all(lengths), values.map((_, at) => at + 1));
  assert.equal(await presence.lpop("long"), "first");
  const pops = await Promise.all(values.map(() => presence.lpop("long")));
  assert.deepEqual(pops, values);
});

test("a call that waits holds up neither a flush nor a leave", async () => {
  const other = new ClusterPresence({ alone: true, name: "waits" });
  const waits = other.brpop("never", 0);
  await other.set("k", "v");
  await other.handle.flush();
  const begun = Date.now();
  other.shutdown();
  await other.handle.leave();
  assert.ok(Date.now() - begun < 3_000);
  await assert.rejects(waits, { code: "STOPPED" });
});

test("a read does not see a later write, and a message comes behind earlier ones", async () => {
  const reads = [];
  await presence.set("then", "0");
  await presence.subscribe("written", async () => reads.push(await presence.get("then")));
  const before = presence.get("then");
  presence.set("then", "1");
  presence.publish("written", true);
  assert.equal(await before, "0");
  await eventually(() => reads.length === 1);
  assert.deepEqual(reads, ["1"]);
});

test("unsubscribe takes one registration of a callback, or all of a topic", async () => {
  const seen = [];
  const callback = (data) => seen.push(data);
  await presence.subscribe("twice", callback);
  await presence.subscribe("twice", callback);
  await presence.publish("twice", 1);
  await eventually(() => seen.length === 2);
  await presence.unsubscribe("twice", callback);
  await presence.publish("twice", 2);
  await eventually(() => seen.length === 3);
  await presence.unsubscribe("twice", () => {});
  assert.deepEqual(await presence.channels("twice"), ["twice"]);
  await presence.unsubscribe("twice");
  assert.deepEqual(await presence.channels("twice"), []);
  assert.equal(await presence.unsubscribe("never"), presence);
});

test("channels takes a pattern of Redis", async () => {
  for (const topic of ["p:one", "p:two", "q:three"]) await presence.subscribe(topic, () => {});
  assert.deepEqual((await presence.channels("p:*")).sort(), ["p:one", "p:two"]);
  assert.deepEqual(await presence.channels("[qx]:*"), ["q:three"]);
  assert.deepEqual(await presence.channels("P:*"), []);
});

test("what a room inherits works, and a room's own subscribe resolves with the room's presence", async () => {
  const scoped = Object.create(presence);
  const seen = [];
  assert.equal(await scoped.subscribe("scoped", (data) => seen.push(data)), scoped);
  await scoped.publish("scoped", "hi");
  await eventually(() => seen.length === 1);
  assert.equal(await scoped.hset("scoped", "f", "1"), true);
  assert.deepEqual(Object.keys(scoped), []);
  assert.equal(await scoped.unsubscribe("scoped"), scoped);
});

test("what a callback throws is uncaught, and the next message comes all the same", async () => {
  const { seen, count } = await listen("throws");
  const caught = new Promise((resolve) => {
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    process.once("uncaughtException", (error) => {
      for (const other of others) process.on("uncaughtException", other);
      resolve(error);
    });
  });
  await presence.subscribe("throws", () => {
    if (seen.length === 1) throw new Error("in a callback");
  });
  await presence.publish("throws", 1);
  await presence.publish("throws", 2);
  assert.equal((await caught).message, "in a callback");
  await count(2);
});

test("a message that is not JSON is passed over with a warning", async () => {
  const { seen, count } = await listen("text");
  const warned = new Promise((resolve) => process.once("warning", resolve));
  await presence.handle.publish("text", "{");
  await presence.publish("text", "fine");
  await count(1);
  assert.deepEqual(seen, ["fine"]);
  assert.match((await warned).message, /"text" is no JSON/);
});

test("presences with the same options share one node, which leaves with the last of them", async () => {
  const [one, two] = [new ClusterPresence({ alone: true, name: "same" }), new ClusterPresence({ name: "same", alone: true })];
  assert.equal(one.handle.shared, two.handle.shared);
  await one.set("shared", "1");
  assert.equal(await two.get("shared"), "1");
  one.shutdown();
  await tick();
  assert.equal(await one.get("shared"), "1");
  two.shutdown();
  await two.handle.leave();
  const begun = Date.now();
  await assert.rejects(two.get("shared"), { code: "STOPPED" });
  assert.ok(Date.now() - begun < 1_000);
  assert.ok((await two.set("shared", "2")) instanceof Error);
  const three = new ClusterPresence({ alone: true, name: "same" });
  assert.equal(await three.get("shared"), null);
  await three.handle.leave();
});

test("a wrong option is refused at once", () => {
  for (const options of [{ name: "Not A Name" }, { listen: "nowhere" }, { unknown: 1 }, { seeds: ["127.0.0.1:7000"] }]) {
    assert.throws(() => new ClusterPresence(options), { code: "CONFIG" });
  }
  assert.throws(() => new ClusterPresence("redis://"), TypeError);
});
