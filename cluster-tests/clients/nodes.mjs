// Where the servers are, and what to do when a check fails.
// Owns: the addresses that `cluster-tests with` hands over, and one deadline for the whole program.
// Invariant: a program that hangs ends with exit code 1 and says at which step.
import assert from "node:assert/strict";

const addresses = (process.env.QUORATE_TEST_RESP ?? "127.0.0.1:6379").split(",");

/** The host and port of the node for the n-th client: clients are spread over all nodes. */
export function node(n) {
  const [host, port] = addresses[n % addresses.length].split(":");
  return { host, port: Number(port) };
}

let step = "connecting";

/** Names what is being tried, for the message if it fails. */
export function trying(what) {
  step = what;
}

/** Fails unless `actual` deeply equals `expected`. */
export function same(actual, expected) {
  assert.deepStrictEqual(actual, expected, undefined);
}

/** Waits until `check` returns true; there is a deadline for the whole program. */
export async function until(check) {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Runs `main` and ends the process with 0 or, after a message, 1. */
export async function run(main) {
  const give_up = (reason) => {
    console.error(`while ${step}: ${reason?.stack ?? reason}`);
    process.exit(1);
  };
  setTimeout(() => give_up("no end within 60 s"), 60_000).unref();
  process.on("unhandledRejection", give_up);
  try {
    await main();
    process.exit(0);
  } catch (error) {
    give_up(error);
  }
}
