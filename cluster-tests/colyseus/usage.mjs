// What processes use of the machine, as the kernel counts it.
// Owns: reading /proc. Does not own: what is made of it. Invariant: a process that is gone has used what was read last.
import { readFileSync } from "node:fs";

/** Ticks a second of /proc, the same on every Linux of today. */
const TICKS = 100;

/** Seconds of CPU that these processes have used so far, all of their threads counted. */
export function cpu(pids) {
  let ticks = 0;
  for (const pid of pids) {
    // The name in brackets may hold anything.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** Mebibytes of memory that a process has to itself: what would be free if it ended. */
export function memory(pid) {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kib = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)[1]);
  return (kib("Private_Clean") + kib("Private_Dirty")) / 1024;
}
