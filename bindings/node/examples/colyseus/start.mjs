// Starts game processes and says what becomes of them: `node start.mjs [count] [first port]`.
// Owns: these processes. Does not own: what they do. Invariant: they end with this one.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const [count = 4, first = 2567] = process.argv.slice(2).map(Number);
const server = fileURLToPath(new URL("server.mjs", import.meta.url));
const children = Array.from({ length: count }, (_, index) => {
  const child = fork(server, [`${first + index}`]);
  child.once("exit", (code, signal) => console.log(`pid ${child.pid} has ended: ${signal ?? `code ${code}`}`));
  return child;
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    // Each leaves by itself: its players are told, its tables end, it hands over, it exits with 0.
    for (const child of children) child.kill("SIGTERM");
  });
}
