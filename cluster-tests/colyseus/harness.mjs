// What the Colyseus tests share: steps and their count, waits with a deadline, game processes.
// Owns: starting, asking, killing a game process. Does not own: what is checked. Invariant: every wait has a deadline, and a
// failed step is printed as such.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

// The players' library has had another name up to Colyseus 0.16.
const { Client } = await import("@colyseus/sdk").catch(() => import("colyseus.js"));

export const list = (name) => (process.env[`QUORATE_TEST_${name}`] ?? "").split(",").filter(Boolean);
export const [nodes, https, pids] = [list("RESP"), list("HTTP"), list("PIDS").map(Number)];
export const isCluster = process.env.QUORATE_TEST_FLAVOUR === "quorate";
// The SDK tells the console about its reconnections, and of each connection that a killed process took along.
console.info = console.warn = () => {};

let passed = 0;
let failed = 0;

/** Prints the count; the exit code is not 0 when a step failed. */
export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

export async function step(name, check, deadline = 20_000) {
  const begin = performance.now();
  try {
    const note = await within(deadline, check());
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

/** The game processes end with the test, however it ends. */
const children = new Set();
process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));

/** A game process at a place (see `place.mjs`). */
export async function start(place) {
  const child = fork(fileURLToPath(new URL("game.mjs", import.meta.url)), [JSON.stringify(place)], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  const waiting = new Map();
  let asked = 0;
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
  ended.then(() => children.delete(child));
  children.add(child);
  const ready = await within(
    30_000,
    new Promise((resolve, reject) => {
      ended.then(({ code, signal }) => reject(new Error(`the game process ended with ${code ?? signal}:\n${output}`)));
      child.on("message", (message) => {
        if (message.ready) return resolve(message);
        const { done, fail } = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.error === undefined) done(message.result);
        else fail(new Error(message.error));
      });
    }),
  ).catch((error) => {
    child.kill("SIGKILL");
    throw new Error(`${error.message}\n${output}`);
  });
  const ask = (method, ...args) =>
    new Promise((done, fail) => {
      waiting.set(++asked, { done, fail });
      child.send({ id: asked, method, args }, (error) => error && fail(error));
    });
  return {
    ask,
    pid: child.pid,
    processId: ready.processId,
    address: ready.ready,
    kill: () => child.kill("SIGKILL"),
    signal: (name) => child.kill(name),
    ended,
    client: new Client(ready.ready),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      ask("exit").catch(() => {});
      await within(5_000, ended).catch(() => child.kill("SIGKILL"));
    },
    output: () => output,
  };
}

/** As many game processes as asked for, started one after the other as a deployment does. */
export async function startAll(count, backend) {
  const sides = [];
  for (let index = 0; index < count; index++) sides.push(await start(backend.place(index)));
  return sides;
}

/** Lets a player's connection end for good, where the SDK would reconnect by itself. */
export const fragile = (room) => {
  if (room.reconnection) room.reconnection.enabled = false;
  return room;
};

export const heard = (room, type) => new Promise((resolve) => room.onMessage(type, resolve));
export const echo = async (room, text) => {
  const answer = heard(room, "echo");
  room.send("echo", text);
  assert.equal(await answer, text);
};
// Room messages of others are of no interest here; the SDK would warn of each.
export const quiet = (room) => (room.onMessage("*", () => {}), room);

