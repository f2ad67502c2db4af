// One driver on a cluster of one: what each call gives, in the shapes of Colyseus 0.18 and 0.16; and what lobbies are told of deaths.
// Owns: these checks. Does not own: a game on the published packages, nor filters and orders, which are tested where they are.
// Invariant: each value was read from RedisDriver 0.18.3, or 0.16.1 where it says so.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { ClusterDriver, ClusterPresence } from "quorate";
import { cluster, until } from "./cluster.mjs";

let presence, driver, alive;
before(async () => {
  presence = new ClusterPresence({ alone: true, name: "driver" });
  driver = new ClusterDriver(presence);
  // A presence does not keep the event loop alive.
  alive = setInterval(() => {}, 1_000);
  await driver.boot();
});
beforeEach(() => driver.clear());
after(async () => {
  presence.shutdown();
  await driver.shutdown();
  clearInterval(alive);
});

const room = (roomId, more) => ({
  clients: 0,
  maxClients: 4,
  locked: false,
  private: false,
  metadata: { mode: "duo" },
  createdAt: "2026-11-21T00:00:00.000Z",
  unlisted: false,
  name: "game",
  processId: "p1",
  publicAddress: "127.0.0.1:2567",
  roomId,
  ...more,
});
const ids = (rows) => rows.map((row) => row.roomId);

test("a room is listed, found, changed and removed", async () => {
  const own = room("a");
  assert.equal(await driver.has("a"), false);
  assert.equal(await driver.findOne({ roomId: "a" }), undefined);
  assert.equal(await driver.persist(own, true), true);
  assert.equal(await driver.has("a"), true);
  assert.deepEqual(await driver.findOne({ roomId: "a" }), own);
  assert.equal(await driver.update(own, { $set: { locked: true }, $inc: { clients: 2 } }), true);
  assert.deepEqual([own.locked, own.clients], [true, 2]);
  assert.deepEqual(await driver.query({}), [own]);
  assert.equal(await driver.remove("a"), true);
  assert.equal(await driver.remove("a"), false);
  assert.deepEqual(await driver.query({}), []);
});

test("a room is inserted by one of those who try", async () => {
  const tries = await Promise.all(["p1", "p2", "p3"].map((processId) => driver.insert(room("a", { processId }))));
  assert.deepEqual(tries, [true, false, false]);
  assert.equal((await driver.findOne({ roomId: "a" })).processId, "p1");
});

test("a room that has no id is neither written nor removed", async () => {
  assert.equal(await driver.persist(room(undefined)), false);
  assert.equal(await driver.update(room(undefined), { $inc: { clients: 1 } }), false);
  assert.equal(await driver.remove(undefined), false);
  assert.deepEqual(await driver.query({}), []);
});

test("conditions look at the room, then at its metadata", async () => {
  await Promise.all([room("a"), room("b", { clients: 1, processId: "p2" }), room("c", { metadata: { mode: "solo" } })].map((r) => driver.persist(r)));
  for (const [conditions, expected] of [
    [{}, ["a", "b", "c"]],
    [{ name: "game", mode: "duo" }, ["a", "b"]],
    [{ clients: 1 }, ["b"]],
    [{ clients: "1" }, []],
    [{ nothing: 1 }, []],
    [{ nothing: undefined }, []],
    [{ metadata: { mode: "duo" } }, []],
    [{ clients: NaN }, []],
    [{ createdAt: new Date() }, []],
    [{ roomId: "b", clients: 1 }, ["b"]],
    [{ roomId: "b", clients: 2 }, []],
    [{ roomId: "none" }, []],
  ]) {
    assert.deepEqual(ids(await driver.query(conditions)).sort(), expected, JSON.stringify(conditions));
  }
  assert.deepEqual(ids(await driver.query({}, { clients: -1, roomId: "asc" })), ["b", "a", "c"]);
  assert.equal((await driver.findOne({ mode: "duo" }, { clients: "descending" })).roomId, "b");
  // As with RedisDriver, an id decides alone.
  assert.equal((await driver.findOne({ roomId: "a", clients: 7 })).roomId, "a");
  const found = await driver.findByIds(["c", "none", "a"]);
  assert.deepEqual([...found.keys()], ["c", "a"]);
  assert.deepEqual([await driver.findByIds([]), found.get("c").metadata], [new Map(), { mode: "solo" }]);
  await driver.cleanup("p1");
  assert.deepEqual(ids(await driver.query({})), ["b"]);
});

test("what a row does not say is filled in, and what JSON cannot say is null", async () => {
  await driver.persist({ roomId: "a", maxClients: Infinity, custom: "kept" });
  const row = await driver.findOne({ roomId: "a" });
  assert.ok(row.createdAt instanceof Date);
  delete row.createdAt;
  assert.deepEqual(row, { roomId: "a", custom: "kept", clients: 0, maxClients: null, locked: false, private: false, metadata: undefined, unlisted: false });
  assert.deepEqual(ids(await driver.query({ metadata: undefined })), ["a"]);
});

test("calls that are not awaited keep their order", async () => {
  driver.persist(room("a"));
  driver.remove("a");
  driver.persist(room("b"));
  assert.deepEqual(ids(await driver.query({})), ["b"]);
});

test("for Colyseus 0.16 rows save themselves", async (t) => {
  const old = new ClusterDriver(presence);
  const listing = old.createInstance({ roomId: "a", name: "game", processId: "p1", mode: "duo" });
  await listing.save();
  assert.equal(listing.maxClients, Infinity);
  await listing.updateOne({ $set: { locked: true }, $inc: { clients: 3 } });
  const found = await old.findOne({ roomId: "a" });
  assert.deepEqual([found.locked, found.clients, found.mode], [true, 3, "duo"]);
  assert.deepEqual(Object.keys(JSON.parse(JSON.stringify(found))).sort(), ["clients", "createdAt", "maxClients", "name", "processId", "roomId"]);
  found.clients = 4;
  await found.save();
  assert.equal((await old.query({ mode: "duo" }))[0].clients, 4);
  assert.equal(await listing.remove(), 1);
  await listing.save();
  assert.deepEqual(await old.query({}), []);
});

test("lobbies are told of the rooms of a process that dies", { timeout: 60_000 }, async (t) => {
  const members = await cluster(t, 3);
  const [address] = [(await members[0].call("node.status")).node.address];
  const watcher = new ClusterPresence({ secret: members.secret, seeds: [address] });
  const listings = new ClusterDriver(watcher);
  t.after(() => (watcher.shutdown(), listings.shutdown()));
  await listings.boot();
  await members[1].call("persist", room("early", { processId: "p2" }));
  const told = [];
  await watcher.subscribe("$lobby", (message) => told.push(message));
  await members[1].call("persist", room("late", { processId: "p2" }));
  await members[1].call("presence.publish", "$lobby", "late,0");
  await members[2].call("persist", room("living", { processId: "p3" }));
  await members[2].call("presence.publish", "$lobby", "living,0");
  await until("both are heard of", () => told.length === 2);
  await members[1].kill();
  await until("both are gone", () => told.length === 4);
  assert.deepEqual(told.slice(2).sort(), ["early,1", "late,1"]);
  assert.deepEqual(ids(await listings.query({})), ["living"]);
});
