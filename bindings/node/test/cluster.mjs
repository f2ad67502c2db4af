// Clusters of several processes for the tests.
// Owns: starting and ending the processes, each of which runs `member.mjs` and does what it is told. Does not own: any check.
// Invariant: no process outlives the test that started it.
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";

const MEMBER = fileURLToPath(new URL("member.mjs", import.meta.url));

/** A process with a presence and a node on it. */
class Member {
  constructor(options, env = {}) {
    this.child = fork(MEMBER, [JSON.stringify(options)], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.calls = new Map();
    this.count = 0;
    this.ended = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve(signal ?? code)));
    this.child.on("message", ({ call, value, error }) => {
      const { resolve, reject } = this.calls.get(call);
      this.calls.delete(call);
      if (error) reject(Object.assign(new Error(error.message), { code: error.code }));
      else resolve(value);
    });
  }

  /** Calls `name` of the presence ("presence.get"), of the node ("node.get") or of `member.mjs` itself. */
  call(name, ...args) {
    return new Promise((resolve, reject) => {
      const call = this.count++;
      this.calls.set(call, { resolve, reject });
      this.child.send({ call, name, args });
    });
  }

  kill(signal = "SIGKILL") {
    if (this.child.exitCode === null) this.child.kill(signal);
    return this.ended;
  }
}

/** Starts processes that form one cluster, one after the other; they end with the test `t`. */
export async function cluster(t, count) {
  const secret = randomBytes(32).toString("hex");
  const members = [];
  t.after(() => Promise.all(members.map((member) => member.kill())));
  for (let at = 0; at < count; at += 1) members.push(await join(members, secret));
  return Object.assign(members, { secret });
}

/** Starts processes at once, which meet in a folder; they end with the test `t`. */
export async function meeting(t, folder, options) {
  const members = options.map((own) => new Member(own, { QUORATE_RENDEZVOUS: folder }));
  t.after(() => Promise.all(members.map((member) => member.kill())));
  await Promise.all(members.map((member) => member.call("node.ready")));
  return members;
}

async function join([first], secret) {
  const seeds = first ? [(await first.call("node.status")).node.address] : [];
  const member = new Member({ secret, seeds });
  await member.call("node.ready");
  return member;
}

/** Waits until `holds` gives something true, for at most ten seconds. */
export async function until(what, holds) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = await holds();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
