// The nodes of this process, each used by any number of presences and drivers.
// Owns: who uses which node, the promises of calls under way, and when a node leaves. Does not own: what calls mean (the addon)
// and what objects look like (the files beside this one). Invariants: one node for the same options, however often the package
// is loaded; a call under way keeps the event loop alive, nothing else does.
"use strict";

const { EventEmitter } = require("node:events");
const { QuorateError } = require("./error.cjs");
const { Handle } = require("./handle.cjs");
const { NativeNode } = require("./native.cjs");

/** The kinds of what comes from the addon, as `src/port.rs` numbers them. */
const [ANSWER, FAILURE, MESSAGE, LOST, EVENT, REQUEST] = [0, 1, 2, 3, 4, 5];

/** How long what was asked before a leave may take, and how long the leave itself. */
const FLUSH_MAX_MS = 5_000;
const LEAVE_MAX_MS = 5_000;
/** A timer of this length only holds the event loop. */
const FOREVER_MS = 2 ** 31 - 1;

/** The nodes that are shared, by their options; one table for ESM and CommonJS. */
const nodes = (globalThis[Symbol.for("quorate.nodes")] ??= new Map());

/** Resolves with the promise, or without it when the time is up. */
function within(ms, promise) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    promise.then(done, done);
  });
}

/** Options as text that is the same for the same options. */
function text(options) {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError("the options of a node are an object");
  }
  return JSON.stringify(Object.fromEntries(Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** One node and all who use it. */
class Shared {
  constructor(options, key) {
    this.key = key;
    this.calls = new Map();
    this.handles = new Set();
    this.lanes = new Map();
    this.responders = new Map();
    this.events = new EventEmitter().setMaxListeners(0);
    this.number = 0;
    this.left = undefined;
    this.isGone = false;
    this.hold = setInterval(() => {}, FOREVER_MS).unref();
    try {
      this.native = new NativeNode(options, () => this.pump());
    } catch (error) {
      clearInterval(this.hold);
      throw refusal(error);
    }
  }

  /** Makes a promise of what `begin` asks the addon under the number that it is given. */
  ask(begin) {
    if (this.isGone) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      const number = this.next();
      this.calls.set(number, { resolve, reject });
      if (this.calls.size === 1) this.hold.ref();
      try {
        begin(number);
      } catch (error) {
        this.take(number);
        reject(error);
      }
    });
  }

  next() {
    this.number = (this.number + 1) >>> 0;
    return this.number;
  }

  take(number) {
    const call = this.calls.get(number);
    this.calls.delete(number);
    if (this.calls.size === 0) this.hold.unref();
    return call;
  }

  /** Takes what waits in the addon and gives it to whom it is for. */
  pump() {
    const items = this.native.take();
    for (let at = 0; at < items.length; at += 3) {
      const [kind, number, value] = [items[at], items[at + 1], items[at + 2]];
      if (kind === ANSWER) this.take(number)?.resolve(value);
      else if (kind === FAILURE) this.take(number)?.reject(new QuorateError(value.code, value.message));
      else this.tell(kind, number, value);
    }
  }

  /** Calls the program. What it throws is uncaught, as from any event, and holds up nothing that is behind. */
  tell(kind, number, value) {
    try {
      if (kind === MESSAGE) this.lanes.get(number)?.onMessage(...value);
      else if (kind === LOST) this.lanes.get(number)?.onLost(...value);
      else if (kind === EVENT) this.happened(...value);
      else if (kind === REQUEST) this.responders.get(number)?.(...value);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }

  /** Tells programs what has happened to the node. One that has stopped, or could not start, is not shared with anybody new. */
  happened(name, ...details) {
    if (name === "stopped") {
      this.forget();
      if (details[1]) process.emitWarning(`the node of this process has stopped: ${details[0]}`, "QuorateWarning");
    }
    this.events.emit("event", name, ...details);
  }

  forget() {
    if (nodes.get(this.key) === this) nodes.delete(this.key);
  }

  /** Leaves the cluster once nobody uses the node any more. */
  leaveUnused() {
    for (const handle of this.handles) if (!handle.isMarked) return this.left;
    return this.leave();
  }

  /** Resolves when what handles have asked has ended, or takes too long. */
  settle(handles) {
    return within(FLUSH_MAX_MS, Promise.allSettled(handles.map((handle) => handle.flush())));
  }

  /** Ends what is under way, hands over, leaves. */
  leave() {
    this.left ??= (async () => {
      this.forget();
      await this.settle([...this.handles]);
      await within(LEAVE_MAX_MS, this.ask((call) => this.native.leave(call)));
      this.isGone = true;
      // What was asked while it left may have had its effect or not; nobody will say.
      for (const number of [...this.calls.keys()]) this.take(number).reject(stopped());
      clearInterval(this.hold);
    })();
    return this.left;
  }
}

const stopped = () => new QuorateError("STOPPED", "this node has left its cluster");

/** An option that the addon refused, as an error with its code. */
function refusal(error) {
  const [code, ...words] = error.message.split(" ");
  return code === "CONFIG" ? new QuorateError(code, words.join(" ")) : error;
}

/**
 * Uses the node with these options; without options the one that this process shares. It is started when it is not there yet.
 *
 * @returns {Handle}
 */
function open(options) {
  if (options === undefined) {
    const [first] = nodes.values();
    if (first) return new Handle(first);
  }
  const key = text(options ?? {});
  let shared = nodes.get(key);
  if (!shared) {
    shared = new Shared(key, key);
    nodes.set(key, shared);
  }
  return new Handle(shared);
}

/** Starts a node that nobody else in this process uses. */
function openAlone(options = {}) {
  return new Handle(new Shared(text(options), undefined), true);
}

module.exports = { open, openAlone };
