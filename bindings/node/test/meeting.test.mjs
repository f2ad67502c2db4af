// Processes without any option: they meet on this machine.
// Owns: that they form one cluster, and that two names are two clusters. Does not own: how they meet. Invariant: they meet in a
// folder of the test's own, not where the developer's processes do.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { meeting } from "./cluster.mjs";

test("processes without options are one cluster, and go on when all but one are gone", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "quorate-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const started = Date.now();
  const [one, two, three] = await meeting(t, folder, [{}, {}, {}]);
  assert.ok(Date.now() - started < 20_000);
  await one.call("presence.set", "met", "1");
  assert.deepEqual([await two.call("presence.get", "met"), await three.call("presence.get", "met")], ["1", "1"]);
  const [other] = await meeting(t, folder, [{ cluster: "other" }]);
  assert.equal(await other.call("presence.get", "met"), null);
  await Promise.all([one.kill(), two.kill()]);
  assert.equal(await three.call("presence.get", "met"), "1");
  assert.equal(await three.call("presence.set", "met", "2"), null);
  assert.equal(await three.call("presence.get", "met"), "2");
});
