// node-redis with its default handshake: `node node-redis.mjs <package>`, where the package is redis 4, 5 or 6.
// Owns: what game servers do with it, on three connections to three nodes.
// Invariant: only default options; what the client sends unasked is part of the test.
import { node, run, same, trying, until } from "./nodes.mjs";

const name = process.argv[2];
const { createClient, WatchError } = await import(name);
const key = (word) => `${name}:${word}`;

run(async () => {
  const open = async (n) => {
    const { host, port } = node(n);
    const client = createClient({ url: `redis://${host}:${port}` });
    client.on("error", (error) => {
      throw error;
    });
    await client.connect();
    return client;
  };
  const [a, b, c] = [await open(0), await open(1), await open(2)];
  // Version 6 speaks RESP3 and gives objects without a prototype.
  const plain = (object) => ({ ...object });

  trying("strings");
  await a.del([key("s"), key("n"), key("h"), key("set"), key("l"), key("lock")]);
  same(await a.set(key("s"), "value"), "OK");
  same(await b.get(key("s")), "value");
  same(await b.get(key("none")), null);
  same(await a.set(key("s"), "other", { NX: true }), null);
  same(await a.mSet({ [key("m1")]: "1", [key("m2")]: "2" }), "OK");
  same(await c.mGet([key("m1"), key("none"), key("m2")]), ["1", null, "2"]);
  same((await Promise.all([a, b, c].map((client) => client.incr(key("n"))))).sort(), [1, 2, 3]);

  trying("hashes");
  same(await a.hSet(key("h"), { f: "1", g: "2" }), 2);
  same(plain(await b.hGetAll(key("h"))), { f: "1", g: "2" });
  same(await c.hIncrBy(key("h"), "f", 4), 5);
  same(await a.hmGet(key("h"), ["f", "none"]), ["5", null]);
  same(await b.hDel(key("h"), ["f", "g"]), 2);
  same(plain(await c.hGetAll(key("h"))), {});

  trying("sets");
  same(await a.sAdd(key("set"), ["x", "y", "z"]), 3);
  same([...(await b.sMembers(key("set")))].sort(), ["x", "y", "z"]);
  same(Number(await c.sIsMember(key("set"), "x")), 1);
  same(await c.sRem(key("set"), "x"), 1);
  same(await a.sCard(key("set")), 2);

  trying("lists and waiting pops");
  same(await a.rPush(key("l"), ["1", "2", "3"]), 3);
  same(await b.lRange(key("l"), 0, -1), ["1", "2", "3"]);
  same(await c.lPop(key("l")), "1");
  const waiting = await open(1);
  const popped = waiting.blPop(key("queue"), 10);
  same(await a.rPush(key("queue"), "item"), 1);
  same(plain(await popped), { key: key("queue"), element: "item" });
  same(await waiting.blPop(key("queue"), 0.05), null);

  trying("expiry");
  same(await a.set(key("lock"), "me", { PX: 300, NX: true }), "OK");
  await until(async () => (await b.exists(key("lock"))) === 0);
  same(await a.setEx(key("ttl"), 100, "v"), "OK");
  same((await b.ttl(key("ttl"))) > 90, true);

  trying("transactions");
  same(await a.multi().set(key("t"), "1").incr(key("t")).get(key("t")).exec(), ["OK", 2, "2"]);
  await b.watch(key("t"));
  await c.set(key("t"), "changed");
  const lost = await b.multi().set(key("t"), "mine").exec().catch((error) => error);
  same(lost instanceof WatchError, true);
  same(await a.get(key("t")), "changed");

  trying("pipelines");
  const replies = await Promise.all(
    Array.from({ length: 500 }, (_, i) => [a.set(key(`p${i}`), String(i)), a.get(key(`p${i}`))]).flat(),
  );
  same(replies.length, 1000);
  const found = new Set();
  for await (const page of b.scanIterator({ MATCH: key("p*"), COUNT: 50 })) for (const k of [page].flat()) found.add(k);
  same(found.size, 500);
  await c.del([...found]);

  trying("messages");
  const [sub, got] = [await open(1), []];
  await sub.subscribe([key("ch1"), key("ch2")], (message, channel) => got.push([channel, message]));
  same(await a.publish(key("ch1"), "hello"), 1);
  await sub.pSubscribe(key("ch*"), (message, channel) => got.push(["pattern", channel, message]));
  same(await c.publish(key("ch2"), "again"), 2);
  same(plain(await a.pubSubNumSub([key("ch1")])), { [key("ch1")]: 1 });
  same((await c.pubSubChannels(key("*"))).sort(), [key("ch1"), key("ch2")]);
  await sub.sSubscribe(key("shard"), (message, channel) => got.push(["shard", channel, message]));
  same(await a.sPublish(key("shard"), "s"), 1);
  await until(() => got.length === 4);
  same(got, [
    [key("ch1"), "hello"],
    [key("ch2"), "again"],
    ["pattern", key("ch2"), "again"],
    ["shard", key("shard"), "s"],
  ]);
  await sub.unsubscribe(key("ch1"));
  same(await a.publish(key("ch1"), "nobody but the pattern"), 1);
  await sub.ping();
  for (const client of [a, b, c, waiting]) await client.quit();
});
