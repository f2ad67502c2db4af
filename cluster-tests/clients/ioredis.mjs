// ioredis with its default handshake: `node ioredis.mjs <package>`, where the package is ioredis 5 or 6.
// Owns: what game servers do with it, on three connections to three nodes.
// Invariant: only default options; what ioredis sends unasked is part of the test.
import { node, run, same, trying, until } from "./nodes.mjs";

const name = process.argv[2];
const { default: module } = await import(name);
const Redis = module.default ?? module.Redis ?? module;
const key = (word) => `${name}:${word}`;

run(async () => {
  const open = (n) => new Redis({ ...node(n) });
  const [a, b, c] = [open(0), open(1), open(2)];

  trying("strings");
  await a.del(key("s"), key("n"), key("h"), key("set"), key("l"), key("lock"));
  same(await a.set(key("s"), "value"), "OK");
  same(await b.get(key("s")), "value");
  same(await c.getBuffer(key("s")), Buffer.from("value"));
  same(await b.get(key("none")), null);
  same(await a.set(key("s"), "other", "NX"), null);
  same(await a.mset(key("m1"), "1", key("m2"), "2"), "OK");
  same(await c.mget(key("m1"), key("none"), key("m2")), ["1", null, "2"]);
  same(await Promise.all([a, b, c].map((client) => client.incr(key("n")))).then((n) => n.sort()), [1, 2, 3]);
  const bytes = Buffer.from([0, 13, 10, 255]);
  await a.set(key("bytes"), bytes);
  same(await b.getBuffer(key("bytes")), bytes);

  trying("hashes");
  same(await a.hset(key("h"), { f: "1", g: "2" }), 2);
  same(await b.hgetall(key("h")), { f: "1", g: "2" });
  same(await c.hincrby(key("h"), "f", 4), 5);
  same(await a.hmget(key("h"), "f", "none"), ["5", null]);
  same(await b.hdel(key("h"), "f", "g"), 2);
  same(await c.hgetall(key("h")), {});

  trying("sets");
  same(await a.sadd(key("set"), "x", "y", "z"), 3);
  same((await b.smembers(key("set"))).sort(), ["x", "y", "z"]);
  same(await c.sismember(key("set"), "x"), 1);
  same(await c.srem(key("set"), "x"), 1);
  same(await a.scard(key("set")), 2);

  trying("lists and waiting pops");
  same(await a.rpush(key("l"), "1", "2", "3"), 3);
  same(await b.lrange(key("l"), 0, -1), ["1", "2", "3"]);
  same(await c.lpop(key("l")), "1");
  same(await a.del(key("l")), 1);
  const waiting = open(1);
  const popped = waiting.blpop(key("queue"), 10);
  same(await a.rpush(key("queue"), "item"), 1);
  same(await popped, [key("queue"), "item"]);
  same(await waiting.blpop(key("queue"), 0.05), null);

  trying("expiry");
  same(await a.set(key("lock"), "me", "PX", 300, "NX"), "OK");
  await until(async () => (await b.exists(key("lock"))) === 0);
  same(await a.setex(key("ttl"), 100, "v"), "OK");
  same((await b.ttl(key("ttl"))) > 90, true);

  trying("transactions");
  same(await a.multi().set(key("t"), "1").incr(key("t")).get(key("t")).exec(), [[null, "OK"], [null, 2], [null, "2"]]);
  await b.watch(key("t"));
  await c.set(key("t"), "changed");
  same(await b.multi().set(key("t"), "mine").exec(), null);
  const failing = await a.multi().set(key("t"), "text").incr(key("t")).exec();
  same([failing[0], failing[1][0].message], [[null, "OK"], "ERR value is not an integer or out of range"]);

  trying("pipelines");
  const pipeline = a.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(key(`p${i}`), i).get(key(`p${i}`));
  same((await pipeline.exec()).filter(([error]) => error).length, 0);
  const found = [];
  for await (const page of b.scanStream({ match: key("p*"), count: 50 })) found.push(...page);
  same(new Set(found).size, 500);
  await c.del(...found);

  trying("messages");
  const [sub, got] = [open(1), []];
  sub.on("message", (channel, message) => got.push([channel, message]));
  sub.on("pmessage", (pattern, channel, message) => got.push([pattern, channel, message]));
  sub.on("smessage", (channel, message) => got.push(["shard", channel, message]));
  same(await sub.subscribe(key("ch1"), key("ch2")), 2);
  same(await a.publish(key("ch1"), "hello"), 1);
  same(await sub.psubscribe(key("ch*")), 3);
  same(await c.publish(key("ch2"), "again"), 2);
  same(await a.pubsub("NUMSUB", key("ch1")), [key("ch1"), 1]);
  same((await c.pubsub("CHANNELS", key("*"))).sort(), [key("ch1"), key("ch2")]);
  await sub.ssubscribe(key("shard"));
  same(await a.spublish(key("shard"), "s"), 1);
  await until(() => got.length === 4);
  same(got, [
    [key("ch1"), "hello"],
    [key("ch2"), "again"],
    [key("ch*"), key("ch2"), "again"],
    ["shard", key("shard"), "s"],
  ]);
  await sub.unsubscribe(key("ch1"));
  same(await a.publish(key("ch1"), "nobody but the pattern"), 1);
  for (const client of [a, b, c, waiting]) same(await client.quit(), "OK");
});
