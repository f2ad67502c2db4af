// Players at tables all over the cluster, and what the lobby says of them: `node watch.mjs [--kill] [count] [first port]`.
// Owns: the players and the lines that are printed. Does not own: the processes, but with --kill it kills one of them. Invariant:
// what is printed is what the lobby of one process has told.
import { Client } from "@colyseus/sdk";

const words = process.argv.slice(2);
const isKilling = words.includes("--kill");
const [count = 4, first = 2567] = words.filter((word) => word !== "--kill").map(Number);
const TABLES = 2 * count;
const PATIENCE_MS = 20_000;

// The library tells the console about its reconnections.
console.info = console.warn = () => {};
const clients = Array.from({ length: count }, (_, index) => new Client(`ws://127.0.0.1:${first + index}`));
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Tries until it works: processes start, and one that was just killed may still be asked. */
async function insist(attempt) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let n = 0; ; n++) {
    try {
      return await attempt(clients[n % count]);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await pause(100);
    }
  }
}

const tables = new Map();
let printed = "";
function print() {
  const byPid = new Map();
  for (const { metadata } of tables.values()) byPid.set(metadata.pid, (byPid.get(metadata.pid) ?? 0) + 1);
  const parts = [...byPid].sort(([a], [b]) => a - b).map(([pid, tables]) => `pid ${pid}: ${tables}`);
  const line = `${tables.size} tables: ${parts.join(", ")}`;
  if (line !== printed) console.log(`${new Date().toISOString().slice(11, 23)}  ${line}`);
  printed = line;
}

async function watchLobby() {
  const lobby = await insist((client) => client.joinOrCreate("lobby"));
  lobby.reconnection.enabled = false;
  const isTable = (room) => room.name === "table";
  lobby.onMessage("rooms", (rooms) => {
    tables.clear();
    for (const room of rooms.filter(isTable)) tables.set(room.roomId, room);
    print();
  });
  lobby.onMessage("+", ([roomId, room]) => {
    if (isTable(room)) tables.set(roomId, room);
    print();
  });
  lobby.onMessage("-", (roomId) => {
    tables.delete(roomId);
    print();
  });
  // The process of this lobby may be the one that dies: then another process has one.
  lobby.onLeave(() => void watchLobby());
}

/** Keeps a player at a table of its own; when the process of the table dies, at another. */
async function play(index) {
  for (;;) {
    const table = await insist((client) => (index++, clients[index % count] ?? client).create("table"));
    table.reconnection.enabled = false;
    table.onMessage("*", () => {});
    const talk = setInterval(() => table.send("say", "hello"), 500);
    await new Promise((resolve) => table.onLeave(resolve));
    clearInterval(talk);
    if (!isKilling) await pause(3_000);
    else return;
  }
}

await watchLobby();
for (let index = 0; index < TABLES; index++) {
  play(index);
  // How many rooms a process has is told to the others once a second.
  await pause(300);
}

if (isKilling) {
  const pids = () => [...new Set([...tables.values()].map(({ metadata }) => metadata.pid))].sort((a, b) => a - b);
  const deadline = Date.now() + PATIENCE_MS;
  while (pids().length < 2) {
    if (Date.now() > deadline) throw new Error("the tables are all in one process");
    await pause(50);
  }
  const victim = pids().at(-1);
  console.log(`kill -9 ${victim}`);
  process.kill(victim, "SIGKILL");
  const begin = performance.now();
  while (pids().includes(victim)) {
    if (Date.now() > deadline + PATIENCE_MS) throw new Error("tables of the dead process are still listed");
    await pause(5);
  }
  console.log(`its tables have left the lobby after ${Math.round(performance.now() - begin)} ms; ${tables.size} are left`);
  process.exit(0);
}
