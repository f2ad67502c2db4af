// The plain API on a cluster of one.
// Owns: what `Node` adds to commands: their shapes, messages, requests, events, errors. Does not own: what commands do.
// Invariant: every node leaves.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import * as esm from "quorate";
import { until } from "./cluster.mjs";

const { Node, QuorateError } = esm;
let node;
before(async () => {
  node = await Node.start({ alone: true, name: "plain" });
});
after(() => node.leave());

test("ESM and CommonJS give the same", () => {
  const cjs = createRequire(import.meta.url)("quorate");
  assert.deepEqual(Object.keys(cjs).sort(), Object.keys(esm).filter((name) => name !== "default").sort());
  for (const name of Object.keys(cjs)) assert.equal(cjs[name], esm[name]);
});

test("commands by name", async () => {
  assert.equal(await node.set("a", "1"), true);
  assert.equal(await node.set("a", "2", { if: "absent" }), false);
  assert.equal(await node.set("a", "3", { if: "present", ttlMs: 60_000 }), true);
  assert.equal(await node.get("a"), "3");
  assert.ok((await node.ttl("a")) > 50_000);
  assert.equal(await node.incr("n"), 1);
  assert.equal(await node.incr("n", 5), 6);
  assert.equal(await node.decr("n"), 5);
  assert.equal(await node.hset("h", { a: 1, b: "2" }), 2);
  assert.deepEqual({ ...(await node.hgetall("h")) }, { a: "1", b: "2" });
  assert.equal(await node.hset("h", "a", 3), 0);
  assert.equal(await node.sadd("s", "x", "y"), 2);
  assert.equal(await node.sismember("s", "x"), true);
  assert.equal(await node.rpush("l", "1", "2"), 2);
  assert.deepEqual(await node.lrange("l"), ["1", "2"]);
  assert.equal(await node.del("a", "n", "none"), 2);
  assert.equal(await node.exists("a"), false);
});

test("any command, and several in one step", async () => {
  assert.equal(await node.command("SET", "c", "1"), "OK");
  assert.deepEqual(await node.command("MGET", ["c", "none"]), ["1", null]);
  const [ok, sum, wrong] = await node.transaction([["SET", "t", 1], ["INCRBY", "t", 2], ["HGET", "t", "f"]]);
  assert.deepEqual([ok, sum, wrong.code], ["OK", 3, "WRONGTYPE"]);
});

test("bytes go in and come out", async () => {
  const bytes = Buffer.from([0, 255, 128, 10]);
  await node.set("bytes", bytes);
  assert.deepEqual(await node.buffers.get("bytes"), bytes);
  await node.set("bytes", new Uint8Array([1, 2]).subarray(1));
  assert.deepEqual(await node.buffers.get("bytes"), Buffer.from([2]));
  const seen = [];
  const end = await node.subscribe("bytes", (payload) => seen.push(payload), { buffers: true });
  await node.publish("bytes", bytes);
  await node.send("bytes", "");
  await until("both messages", () => seen.length >= 2);
  assert.deepEqual(seen, [bytes, Buffer.alloc(0)]);
  await end();
  assert.equal(await node.publish("bytes", bytes), 0);
});

test("errors tell by their code what is known", async () => {
  await node.set("text", "t");
  await assert.rejects(node.incr("text"), (error) => error instanceof QuorateError && error.code === "ERR");
  await assert.rejects(node.hget("text", "f"), { code: "WRONGTYPE", name: "QuorateError" });
  await assert.rejects(node.command("NOSUCH"), { code: "ERR", message: /unknown command/ });
  await assert.rejects(node.command(), { code: "ERR" });
  await assert.rejects(node.set("k".repeat(70_000), "v"), { code: "ERR" });
});

test("messages to channels and patterns", async () => {
  const seen = [];
  const ends = [
    await node.subscribe("m:1", (payload, channel) => seen.push(["channel", channel, payload])),
    await node.psubscribe("m:*", (payload, channel) => seen.push(["pattern", channel, payload])),
  ];
  assert.equal(await node.publish("m:1", "hi"), 2);
  assert.equal(await node.publish("m:2", "ho"), 1);
  await until("all three", () => seen.length >= 3);
  assert.deepEqual(seen.sort(), [["channel", "m:1", "hi"], ["pattern", "m:1", "hi"], ["pattern", "m:2", "ho"]]);
  for (const end of ends) await end();
  assert.equal(await node.publish("m:1", "hi"), 0);
});

test("requests and replies", async () => {
  await assert.rejects(node.request("ask", "?"), { code: "NORESPONDERS" });
  const errors = [];
  node.on("responderError", ({ channel, error }) => errors.push([channel, error.message]));
  const end = await node.respond("ask", async (payload) => {
    if (payload === "throw") throw new Error("no");
    return payload === "never" ? new Promise(() => {}) : `${payload}!`;
  });
  assert.equal(await node.request("ask", "yes"), "yes!");
  assert.deepEqual(await node.request("ask", "yes", { buffers: true }), Buffer.from("yes!"));
  await assert.rejects(node.request("ask", "throw"), { code: "DECLINED" });
  assert.deepEqual(errors, [["ask", "no"]]);
  await assert.rejects(node.request("ask", "never", { timeoutMs: 50 }), { code: "TIMEOUT" });
  end();
  const gone = async () => node.request("ask", "?", { timeoutMs: 100 }).then(() => false, ({ code }) => code === "NORESPONDERS");
  const deadline = Date.now() + 5_000;
  while (!(await gone())) assert.ok(Date.now() < deadline, "it responds no more");
});

test("status and a second node", async () => {
  const { node: own, cluster, raft } = await node.status();
  assert.deepEqual([own.name, own.state, cluster.id, raft.role], ["plain", "ready", "quorate", "leader"]);
  const other = await Node.start({ alone: true });
  assert.equal(await other.get("bytes"), null);
  await other.leave();
  await assert.rejects(other.get("bytes"), { code: "STOPPED" });
});
