// What one presence, driver or program holds of a node: its own order of calls, and its share in when the node leaves.
// Owns: the calls as promises, and what Redis clients make of their arguments. Does not own: the node. Invariant: calls of one
// handle take effect in the order in which they were made, awaited or not.
"use strict";

/** How a command is to be done: the bits of `Manner` in `src/call.rs`. */
const BUFFERS = 1;
const BOUND = 2;
const PATIENT = 4;

/** An argument as Redis clients send it. */
const word = (value) => {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  return value === null || value === undefined ? "" : String(value);
};

class Handle {
  constructor(shared, hasBuffers = false) {
    this.shared = shared;
    this.isMarked = false;
    this.number = shared.next();
    this.lane = shared.native.lane(this.number, hasBuffers);
    this.driverLane = undefined;
    this.onMessage = () => {};
    this.onLost = () => {};
    shared.handles.add(this);
    shared.lanes.set(this.number, this);
  }

  /** Resolves when the node is in sync with its cluster and serves. */
  async ready() {
    await this.shared.ask((call) => this.shared.native.ready(call));
  }

  /** Resolves when all calls of this handle before it have ended. */
  async flush() {
    const lanes = [this.lane, this.driverLane].filter(Boolean);
    await Promise.all(lanes.map((lane) => this.shared.ask((call) => lane.flush(call))));
  }

  /** Uses the node no more; when nobody does, it leaves, after whoever waits for that has had the chance to ask. */
  mark() {
    if (this.isMarked) return;
    this.isMarked = true;
    setImmediate(() => this.shared.leaveUnused());
  }

  /** Uses the node no more. Resolves when what was asked is done and, unless others use it still, the node has left. */
  async leave() {
    this.isMarked = true;
    await (this.shared.leaveUnused() ?? this.shared.settle([this]));
  }

  /** Does a command; arrays among its words are spread. */
  command(words, manner = PATIENT) {
    return this.shared.ask((call) => this.lane.command(call, words.flat().map(word), manner));
  }

  /** Does several commands in one step; gives what each came to. */
  transaction(commands, manner = PATIENT) {
    const words = commands.map((command) => command.flat().map(word));
    return this.shared.ask((call) => this.lane.transaction(call, words, manner));
  }

  publish(channel, payload, isCounted = false) {
    return this.shared.ask((call) => this.lane.publish(call, word(channel), word(payload), isCounted));
  }

  subscribe(name, isPattern = false) {
    return this.shared.ask((call) => this.lane.subscribe(call, word(name), isPattern));
  }

  unsubscribe(name, isPattern = false) {
    return this.shared.ask((call) => this.lane.unsubscribe(call, word(name), isPattern));
  }

  channels(pattern) {
    return this.shared.ask((call) => this.lane.channels(call, word(pattern)));
  }

  request(channel, payload, timeoutMs, manner) {
    return this.shared.ask((call) => this.lane.request(call, word(channel), word(payload), timeoutMs, manner));
  }

  /** Asks the driver, whose calls keep an order of their own, as on the connection of RedisDriver. */
  drive(name, ...words) {
    this.driverLane ??= this.shared.native.lane(this.shared.next(), false);
    return this.shared.ask((call) => this.driverLane.driver(call, name, words));
  }

  driverHas(roomId) {
    return this.drive("has", roomId);
  }

  driverQuery(conditions, sort) {
    return this.drive("query", conditions, sort);
  }

  driverFindOne(conditions, sort) {
    return this.drive("findOne", conditions, sort);
  }

  driverFindByIds(roomIds) {
    return this.drive("findByIds", ...roomIds);
  }

  driverInsert(_roomId, row) {
    return this.drive("insert", row);
  }

  driverPersist(_roomId, row) {
    return this.drive("persist", row);
  }

  driverRemove(roomId) {
    return this.drive("remove", roomId);
  }

  driverCleanup(processId) {
    return this.drive("cleanup", processId);
  }

  driverClear() {
    return this.drive("clear");
  }

  async status() {
    return JSON.parse(await this.shared.ask((call) => this.shared.native.status(call)));
  }
}

module.exports = { Handle, BUFFERS, BOUND, PATIENT, word };
