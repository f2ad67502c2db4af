// The driver on the node of a presence: what its calls resolve with, and that it and the presence share the node's life.
// Owns: the way of a listing into the addon and back. Does not own: what matches (the crate's tests) and Colyseus itself.
// Invariant: every node leaves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ClusterDriver, ClusterPresence } from "quorate";

let presence;
let driver;
before(async () => {
  presence = new ClusterPresence({ alone: true, name: "driver" });
  driver = new ClusterDriver(presence);
  await driver.boot();
});
after(() => driver.shutdown());

const room = (roomId, more) => ({ roomId, processId: "p1", name: "game", clients: 0, maxClients: 4, metadata: { mode: "a" }, ...more });

test("a room is inserted once, found, changed and removed", async () => {
  assert.equal(await driver.has("r1"), false);
  assert.equal(await driver.insert(room("r1")), true);
  assert.equal(await driver.insert(room("r1", { processId: "p2" })), false);
  assert.equal((await driver.findOne({ roomId: "r1" })).processId, "p1");
  const own = room("r1");
  assert.equal(await driver.update(own, { $set: { locked: true }, $inc: { clients: 2 } }), true);
  const { locked, clients } = await driver.findOne({ roomId: "r1" });
  assert.deepEqual([locked, clients], [true, 2]);
  assert.equal(await presence.hget("roomcaches", "r1"), JSON.stringify(own));
  assert.equal(await driver.remove("r1"), true);
  assert.equal(await driver.findOne({ roomId: "r1" }), undefined);
});

test("rooms are filtered by their fields and their metadata, and sorted", async () => {
  for (const [at, mode] of ["a", "b", "a"].entries()) await driver.persist(room(`q${at}`, { clients: at, metadata: { mode } }), true);
  const ids = async (conditions, sort) => (await driver.query(conditions, sort)).map(({ roomId }) => roomId);
  assert.deepEqual(await ids({ mode: "a" }, { clients: -1 }), ["q2", "q0"]);
  assert.deepEqual(await ids({ name: "game", mode: "b" }), ["q1"]);
  assert.deepEqual(await ids({ mode: "none" }), []);
  assert.equal((await driver.findOne({ mode: "a" }, { clients: "desc" })).roomId, "q2");
  assert.deepEqual([...(await driver.findByIds(["q1", "none", "q0"])).keys()], ["q1", "q0"]);
});

test("a process is cleaned up in one call", async () => {
  await driver.persist(room("other", { processId: "p2" }));
  await driver.cleanup("p1");
  assert.deepEqual((await driver.query()).map(({ roomId }) => roomId), ["other"]);
  await driver.clear();
  assert.deepEqual(await driver.query(), []);
});

test("calls that are not awaited take effect in their order", async () => {
  driver.persist(room("o1"));
  driver.remove("o1");
  driver.persist(room("o2"));
  assert.deepEqual((await driver.query()).map(({ roomId }) => roomId), ["o2"]);
});

test("a driver without a presence uses the shared node, and the last of the two leaves", async () => {
  const other = new ClusterPresence({ alone: true, name: "shared" });
  const own = new ClusterDriver(other);
  await own.boot();
  own.persist(room("last"));
  other.shutdown();
  await own.shutdown();
  await assert.rejects(other.get("k"), { code: "STOPPED" });
});
