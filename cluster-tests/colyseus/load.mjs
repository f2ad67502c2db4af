// Players that come and go, and others that stay and talk, while something happens to the game processes.
// Owns: their loops and what they have seen. Does not own: the checks. Invariant: nothing here ends a test; what goes wrong is
// counted and kept with its reason.
import { fragile, quiet, within } from "./harness.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A player in a room who says something, waits for the answer, and says the next. */
class Talker {
  constructor(room) {
    this.room = fragile(quiet(room));
    this.count = 0;
    this.longest = 0;
    this.left = null;
    this.since = performance.now();
    room.onLeave((code) => (this.left = code));
    room.onError((code, message) => (this.error = message ?? code));
    room.onMessage("echo", () => {
      this.longest = Math.max(this.longest, performance.now() - this.since);
      this.count++;
      if (!this.isDone) this.timer = setTimeout(() => this.say(), 20);
    });
    this.say();
  }

  say() {
    this.since = performance.now();
    try {
      this.room.send("echo", this.count);
    } catch {
      // The connection is gone; `left` tells.
    }
  }

  /** What is counted and measured begins anew. */
  reset() {
    [this.count, this.longest] = [0, 0];
  }

  async end() {
    this.isDone = true;
    clearTimeout(this.timer);
    if (this.left === null) await within(2_000, this.room.leave()).catch(() => {});
  }
}

export const talk = (room) => new Talker(room);

/** Players who enter by joinOrCreate, talk once and leave, through whichever of the processes they meet. */
export class Visitors {
  /** `sides` gives the processes that live; a failed visit is tried again so often, at another process. */
  constructor(sides, { modes = 4, retries = 5 } = {}) {
    Object.assign(this, { sides, modes, retries, visits: 0, again: 0, failed: [], longest: 0, turn: 0, isDone: false });
  }

  /** Begins so many loops at once. */
  begin(count) {
    this.loops = Array.from({ length: count }, () => this.loop());
    return this;
  }

  async loop() {
    while (!this.isDone) {
      await this.visit();
      await pause(10);
    }
  }

  async visit() {
    const begin = performance.now();
    const mode = `visit-${this.turn++ % this.modes}`;
    let reason;
    for (let attempt = 0; attempt <= this.retries; attempt++) {
      const sides = this.sides();
      const side = sides[this.turn++ % sides.length];
      try {
        const room = fragile(quiet(await within(10_000, side.client.joinOrCreate("game", { mode }))));
        const answer = new Promise((resolve, reject) => {
          room.onMessage("echo", resolve);
          room.onLeave((code) => reject(new Error(`left with ${code}`)));
        });
        room.send("echo", 1);
        await within(5_000, answer);
        await within(5_000, room.leave()).catch(() => {});
        this.visits++;
        this.longest = Math.max(this.longest, performance.now() - begin);
        return;
      } catch (error) {
        reason = String(error?.message ?? error);
        if (attempt < this.retries) this.again++;
        await pause(50 * 2 ** attempt);
      }
    }
    this.failed.push(reason);
  }

  async end() {
    this.isDone = true;
    await Promise.all(this.loops);
  }
}
