// Keeps the lobbies of Colyseus true where a process can tell nobody: when it dies, stalls or wakes.
// Owns: which rooms the lobbies of this process may show, and which rooms this process has shown to lobbies. Does not own: the
// lobbies, and the listing that they are held against. Invariant: lobbies are told only what is so in the listing, in the words that
// Colyseus uses itself: `<room>,0` for a room to show, `<room>,1` for one that is gone.
"use strict";

/** The topic of all lobbies. Source: `@colyseus/core` 0.16 to 0.18, `matchmaker/Lobby.ts`. */
const LOBBY = "$lobby";

/** Puts a room in a set, or takes it out, as a message of Colyseus says. */
function note(rooms, message) {
  const [room, gone] = String(message).split(",");
  if (gone === "1") rooms.delete(room);
  else rooms.add(room);
}

class Lobby {
  constructor(presence) {
    this.presence = presence;
    this.known = new Set();
    this.shown = new Set();
    presence.handle.shared.events.on("event", (name) => {
      // What another process had bound is gone, and its rooms with it.
      if (name === "boundTaken" || name === "missed") this.settle(this.sweep());
      // This process was thought dead, and its rooms are listed again.
      if (name === "sessionRenewed") this.show();
    });
  }

  /** A lobby of this process listens from now on; it shows all that is listed. */
  begin() {
    this.settle(this.look());
  }

  async look() {
    for (const row of JSON.parse(await this.presence.handle.driverQuery("{}", "[]"))) this.known.add(row.roomId);
  }

  /** A room of this process is shown to lobbies, or no more. */
  published(message) {
    note(this.shown, message);
  }

  /** The lobbies of this process are told of a room. */
  heard(message) {
    note(this.known, message);
  }

  async sweep() {
    if (this.presence.subscriptions.listenerCount(LOBBY) === 0) return this.known.clear();
    const rooms = [...this.known];
    if (rooms.length === 0) return undefined;
    const rows = JSON.parse(await this.presence.handle.driverFindByIds(rooms));
    for (const [index, room] of rooms.entries()) {
      if (rows[index] !== null || !this.known.delete(room)) continue;
      // What a callback throws is uncaught, as with any message.
      setImmediate(() => this.presence.subscriptions.emit(LOBBY, `${room},1`));
    }
  }

  show() {
    for (const room of this.shown) this.settle(this.presence.publish(LOBBY, `${room},0`));
  }

  /** Nobody waits for any of this; the next event does it anew. */
  settle(promise) {
    promise.catch(() => {});
  }
}

module.exports = { Lobby, LOBBY };
