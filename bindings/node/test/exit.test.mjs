// When a process ends: nothing of this package holds it, but a call under way.
// Owns: small programs that are run to their end. Does not own: what they call. Invariant: none may need the time limit.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** Runs a program and gives its exit code and what it printed. */
function run(program) {
  const args = ["--input-type=module", "-e", `import { ClusterPresence, Node } from "quorate";\n${program}`];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder, timeout: 20_000 }, (error, out, err) => {
      resolve({ code: error ? (error.code ?? error.signal) : 0, out: out.trim(), err: err.trim() });
    });
  });
}

for (const [what, program, out] of [
  ["a presence that is never used", `new ClusterPresence({ alone: true });`, ""],
  ["calls that have ended, without a leave", `const p = new ClusterPresence({ alone: true }); await p.set("a", "1"); console.log(await p.get("a"));`, "1"],
  ["a subscription", `const p = new ClusterPresence({ alone: true }); await p.subscribe("t", () => {}); console.log("subscribed");`, "subscribed"],
  ["calls that are not awaited are still done", `const p = new ClusterPresence({ alone: true }); p.set("a", "1"); p.get("a").then(console.log);`, "1"],
  ["a leave", `const n = await Node.start({ alone: true }); await n.set("a", 1); await n.leave(); console.log("left");`, "left"],
  ["a shutdown that only marks", `const p = new ClusterPresence({ alone: true }); await p.set("a", "1"); console.log(p.shutdown());`, "undefined"],
  ["an exit in the middle", `const p = new ClusterPresence({ alone: true }); p.set("a", "1"); setTimeout(() => process.exit(0), 50);`, ""],
]) {
  test(`a process ends after ${what}`, async () => {
    assert.deepEqual(await run(program), { code: 0, out, err: "" });
  });
}

test("no signal is handled", async () => {
  const signals = `["SIGINT", "SIGTERM", "SIGUSR2"].map((name) => process.listenerCount(name)).join()`;
  const program = `const n = await Node.start({ alone: true }); console.log(${signals}); process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1e6);`;
  assert.deepEqual(await run(program), { code: "SIGTERM", out: "0,0,0", err: "" });
});

test("what cannot start rejects, and may be tried again", async () => {
  const program = `import { createSocket } from "node:dgram";
    const s = createSocket("udp4"); await new Promise((r) => s.bind(0, "127.0.0.1", r));
    const options = { alone: true, listen: "127.0.0.1:" + s.address().port };
    const p = new ClusterPresence(options);
    await p.get("a").catch((error) => console.log(error.code)); console.log((await p.set("a", 1)).code);
    await new Promise((r) => s.close(r));
    console.log(await new ClusterPresence(options).set("a", 1));`;
  assert.deepEqual(await run(program), { code: 0, out: "CONFIG\nCONFIG\nnull", err: "" });
});
