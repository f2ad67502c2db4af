// Several processes as one cluster: messages, state and deaths across them.
// Owns: what can only be seen with more than one process. Does not own: the calls themselves. Invariant: every process is ended.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cluster, until } from "./cluster.mjs";

test("three processes are one presence", async (t) => {
  const [one, two, three] = await cluster(t, 3);
  await t.test("what one writes, the others read", async () => {
    assert.equal(await one.call("presence.hset", "roomcaches", "r1", "{}"), true);
    assert.equal(await two.call("presence.hset", "roomcaches", "r1", "{}"), false);
    assert.deepEqual(await three.call("presence.hgetall", "roomcaches"), { r1: "{}" });
  });
  await t.test("a message reaches every process once, its publisher too", async () => {
    for (const member of [one, two, three]) await member.call("listen", "all");
    await two.call("presence.publish", "all", { from: "two" });
    for (const member of [one, two, three]) {
      const received = await until("the message", async () => (await member.call("received")).length && member.call("received"));
      assert.deepEqual(received, [["all", { from: "two" }]]);
    }
  });
  await t.test("channels are those of all processes", async () => {
    await one.call("listen", "p:one");
    await three.call("listen", "p:three");
    assert.deepEqual((await two.call("presence.channels", "p:*")).sort(), ["p:one", "p:three"]);
  });
  await t.test("messages of one process keep their order over its topics", async () => {
    await three.call("listen", "t1");
    await three.call("listen", "t2");
    await one.call("publishMany", ["t1", "t2"], 1_000);
    const numbers = async () => (await three.call("received")).filter(([topic]) => /^t\d$/.test(topic)).map(([, data]) => data);
    await until("1,000 messages", async () => (await numbers()).length === 1_000);
    assert.deepEqual(await numbers(), Array.from({ length: 1_000 }, (_, at) => at));
  });
  await t.test("writes of one process that are not awaited keep their order on the way to the leader", async () => {
    await three.call("pushMany", "pushed", 1_000);
    assert.deepEqual(await one.call("node.lrange", "pushed"), Array.from({ length: 1_000 }, (_, at) => String(at)));
  });
  await t.test("increments of all processes are counted once each", async () => {
    const counts = await Promise.all([one, two, three].map((member) => member.call("increment", "ch:game", 100)));
    assert.deepEqual(counts.flat().sort((a, b) => a - b), Array.from({ length: 300 }, (_, at) => at + 1));
  });
  await t.test("a responder is found wherever it is, and its death is told at once", async () => {
    const pid = await three.call("respond", "work");
    assert.equal(await one.call("node.request", "work", "done"), `done from ${pid}`);
    await assert.rejects(one.call("node.request", "nobody", "?"), { code: "NORESPONDERS" });
  });
  await t.test("a process that was only stopped fails no call and has back what it had bound", async () => {
    await three.call("bind", "mine", "1");
    const writes = Array.from({ length: 20 }, (_, at) => three.call("presence.hset", "stalled", String(at), "1"));
    three.child.kill("SIGSTOP");
    await until("its session to end", async () => (await one.call("presence.get", "mine")) === null);
    assert.equal(await two.call("presence.set", "meanwhile", "1"), null);
    three.child.kill("SIGCONT");
    await Promise.all(writes);
    assert.equal(await one.call("presence.hlen", "stalled"), 20);
    await until("what it had bound", async () => (await one.call("presence.get", "mine")) === "1");
    assert.equal(await three.call("presence.get", "meanwhile"), "1");
  });
  await t.test("what a killed process had bound is gone, the rest stays", async () => {
    await three.call("bind", "bound", "1");
    await three.call("presence.set", "stays", "1");
    assert.equal(await one.call("presence.get", "bound"), "1");
    assert.equal(await three.kill(), "SIGKILL");
    await until("the bound key to go", async () => (await one.call("presence.get", "bound")) === null);
    assert.equal(await two.call("presence.get", "stays"), "1");
    assert.deepEqual(await two.call("presence.channels", "p:*"), ["p:one"]);
  });
  await t.test("a process that leaves ends by itself, and the last one goes on", async () => {
    await two.call("shutdown");
    assert.equal(await two.ended, 0);
    assert.equal(await one.call("presence.hset", "roomcaches", "r2", "{}"), true);
  });
});
