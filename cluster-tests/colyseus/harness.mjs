// What the Colyseus tests share: steps and their count, waits with a deadline, game processes.
// Owns: starting, asking, killing a game process. Does not own: what is checked. Invariant: every wait has a deadline, and a
// failed step is printed as such.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Client } from "@colyseus/sdk";

export const list = (name) => (process.env[`QUORATE_TEST_${name}`] ?? "").split(",").filter(Boolean);
export const [nodes, https, pids] = [list("RESP"), list("HTTP"), list("PIDS").map(Number)];
export const isCluster = process.env.QUORATE_TEST_FLAVOUR === "quorate";
// The SDK tells the console about its reconnections.
console.info = () => {};

let passed = 0;
let failed = 0;

/** Prints the count; the exit code is not 0 when a step failed. */
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

export async function step(name, check) {
  const begin = performance.now();
  try {
    const note = await within(20_000, check());
    passed++;
    console.log(`ok      ${name}${note ? `: ${note}` : ""} (${Math.round(performance.now() - begin)} ms)`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}: ${error?.stack ?? error}`);
  }
}

export function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function until(check) {
  for (;;) {
    const found = await check();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A game process at one node. */
export async function start(node) {
  const child = fork(fileURLToPath(new URL("game.mjs", import.meta.url)), [node], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const waiting = new Map();
  let asked = 0;
  const ready = await within(
    20_000,
    new Promise((resolve, reject) => {
      child.on("exit", (code) => reject(new Error(`the game process ended with ${code}:\n${output}`)));
      child.on("message", (message) => {
        if (message.ready) return resolve(message);
        const { done, fail } = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.error === undefined) done(message.result);
        else fail(new Error(message.error));
      });
    }),
  );
  const ask = (method, ...args) =>
    new Promise((done, fail) => {
      waiting.set(++asked, { done, fail });
      child.send({ id: asked, method, args });
    });
  return {
    ask,
    processId: ready.processId,
    kill: () => child.kill("SIGKILL"),
    client: new Client(ready.ready),
    stop: async () => {
      if (child.exitCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      ask("exit").catch(() => {});
      await within(5_000, ended).catch(() => child.kill("SIGKILL"));
    },
    output: () => output,
  };
}

export const heard = (room, type) => new Promise((resolve) => room.onMessage(type, resolve));
export const echo = async (room, text) => {
  const answer = heard(room, "echo");
  room.send("echo", text);
  assert.equal(await answer, text);
};
// Room messages of others are of no interest here; the SDK would warn of each.
export const quiet = (room) => (room.onMessage("*", () => {}), room);

