// One game process: `node server.mjs [port]`. Every process on this machine that runs it is in the same cluster.
// Owns: a lobby and tables. Does not own: finding the other processes, which takes no configuration. Invariant: nothing here but
// the two lines with `presence` and `driver` knows that there is more than one process.
import { LobbyRoom, matchMaker, Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { ClusterDriver, ClusterPresence } from "quorate";

const port = Number(process.argv[2] ?? 2567);

class Table extends Room {
  maxClients = 4;

  onCreate() {
    this.setMetadata({ pid: process.pid, port });
    this.onMessage("say", (_client, text) => this.broadcast("said", text));
  }
}

const presence = new ClusterPresence({ cluster: "colyseus-example" });
const server = new Server({
  greet: false,
  transport: new WebSocketTransport(),
  presence,
  driver: new ClusterDriver(presence),
  publicAddress: `127.0.0.1:${port}`,
});
server.define("table", Table).enableRealtimeListing();
server.define("lobby", LobbyRoom);
await server.listen(port, "127.0.0.1");
console.log(`ready: pid ${process.pid}, port ${port}, Colyseus process ${matchMaker.processId}`);
