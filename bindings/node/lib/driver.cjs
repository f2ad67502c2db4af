// The matchmaking driver of Colyseus over the cluster: room listings that are answered from this process' own memory.
// Owns: the calls that Colyseus 0.18, 0.17 and 0.16 make on a driver, and the shape of a row as they expect it. Does not
// own: filtering, sorting, the binding of rows to this process (all in the addon), and the life of the node (`handle`).
// Invariant: needs no package; calls take effect in the order in which they were made, awaited or not.
"use strict";

/**
 * What the driver asks of the handle around the native node. Every call waits by itself until the node is ready.
 *
 * @typedef {object} Handle
 * @property {() => Promise<void>} ready resolves when the node is in sync and serves
 * @property {(roomId: string) => Promise<boolean>} driverHas
 * @property {(conditions: string, sort: string) => Promise<string>} driverQuery rows as one JSON array, in order; `conditions` is a
 *   JSON object, `sort` a JSON array of `[field, 1 | -1]`
 * @property {(conditions: string, sort: string) => Promise<string | null>} driverFindOne the first row of that
 * @property {(roomIds: string[]) => Promise<string>} driverFindByIds a JSON array of rows and `null`, in the order asked
 * @property {(roomId: string, row: string) => Promise<boolean>} driverInsert true when the room was not listed before
 * @property {(roomId: string, row: string) => Promise<void>} driverPersist
 * @property {(roomId: string) => Promise<boolean>} driverRemove true when the room was listed
 * @property {(processId: string) => Promise<number>} driverCleanup how many rooms were removed
 * @property {() => Promise<void>} driverClear
 */

/** Whether JSON carries a value of a condition as it is. What it does not carry equals no field of a row. */
const isPlain = (value) =>
  value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);

/** What Colyseus 0.17 and 0.18 fill in where a stored row does not say. */
const DEFAULTS = Object.entries({
  clients: 0,
  maxClients: Infinity,
  locked: false,
  private: false,
  metadata: undefined,
  unlisted: false,
});

/** A row as they give it. */
function listing(row) {
  for (const [name, value] of DEFAULTS) if (!(name in row)) row[name] = value;
  if (!("createdAt" in row)) row.createdAt = new Date();
  return row;
}

/** Colyseus takes every direction but these three as descending. */
const order = (sort) =>
  JSON.stringify(
    Object.entries(sort ?? {}).map(([name, direction]) => [
      name,
      direction === 1 || direction === "asc" || direction === "ascending" ? 1 : -1,
    ]),
  );

/** Room listings for the matchmaker, kept by the node that the presence of this process runs. */
class ClusterDriver {
  /** Makes a driver on the node of `presence`, or on that which all of this process share. */
  constructor(presence) {
    this.handle = presence?.handle ?? require("./shared.cjs").open();
    this.booted = false;
  }

  /** Resolves when the node is in sync. Colyseus 0.16 knows no `boot`: there the first calls wait instead. */
  async boot() {
    this.booted = true;
    await this.handle.ready();
  }

  async has(roomId) {
    return this.handle.driverHas(`${roomId}`);
  }

  async query(conditions = {}, sort) {
    const [asked, rest] = this.split(conditions);
    if (asked === undefined) return [];
    const rows = (await this.rows(conditions, asked, sort)).map((row) => this.row(row));
    return rest.length === 0 ? rows : rows.filter((row) => rest.every((name) => isUndefined(row, name)));
  }

  /** The rows as they are stored. One that is asked for by its id, as lobbies do, is looked up and not looked for. */
  async rows(conditions, asked, sort) {
    if (typeof conditions.roomId !== "string") return JSON.parse(await this.handle.driverQuery(asked, order(sort)));
    const row = await this.handle.driverFindOne(asked, order(sort));
    return row === null ? [] : [JSON.parse(row)];
  }

  async findOne(conditions = {}, sort) {
    if (conditions.roomId !== undefined) {
      return (await this.findByIds([conditions.roomId])).get(conditions.roomId);
    }
    const [asked, rest] = this.split(conditions);
    if (asked === undefined) return undefined;
    if (rest.length > 0) return (await this.query(conditions, sort))[0];
    const row = await this.handle.driverFindOne(asked, order(sort));
    return row === null ? undefined : this.row(JSON.parse(row));
  }

  async findByIds(roomIds) {
    const found = new Map();
    if (roomIds.length === 0) return found;
    const rows = JSON.parse(await this.handle.driverFindByIds(roomIds.map(String)));
    for (const [index, row] of rows.entries()) if (row !== null) found.set(roomIds[index], this.row(row));
    return found;
  }

  /** Lists a room unless one of this id is listed: true for exactly one of those who ask. */
  async insert(room) {
    return this.handle.driverInsert(`${room.roomId}`, JSON.stringify(room));
  }

  async persist(room, _create = false) {
    // A room that lost its id to another process' insert has no row to write or remove any more.
    if (!room.roomId) return false;
    await this.handle.driverPersist(`${room.roomId}`, JSON.stringify(room));
    return true;
  }

  async update(room, operations) {
    apply(room, operations);
    return this.persist(room);
  }

  async remove(roomId) {
    return roomId === undefined ? false : this.handle.driverRemove(`${roomId}`);
  }

  async cleanup(processId) {
    await this.handle.driverCleanup(processId);
  }

  async clear() {
    await this.handle.driverClear();
  }

  /** Resolves when every outstanding write is done, leadership is handed over, and the node has left. */
  async shutdown() {
    await this.handle.leave();
  }

  /** What Colyseus 0.16 calls for each room that it makes: a row that saves itself. */
  createInstance(initial = {}) {
    return new RoomData(initial, this.handle);
  }

  /** A stored row, as the Colyseus that uses this driver expects it: only those that know `boot` take plain objects. */
  row(row) {
    return this.booted ? listing(row) : new RoomData(row, this.handle);
  }

  /** The conditions that the addon checks, and the names of those that ask for a field to be undefined. */
  split(conditions) {
    const asked = {};
    const rest = [];
    for (const [name, value] of Object.entries(conditions)) {
      if (value === undefined) rest.push(name);
      else if (isPlain(value)) asked[name] = value;
      else return [undefined, rest];
    }
    return [JSON.stringify(asked), rest];
  }
}

/** Whether a row meets a condition that asks for `undefined`: Colyseus 0.16 does not mind whether the field is there. */
const isUndefined = (row, name) => row[name] === undefined && (row instanceof RoomData || Object.hasOwn(row, name));

/** Applies `$set` and `$inc` to the caller's own row, which is what is then written, whole. */
function apply(room, { $set = {}, $inc = {} } = {}) {
  Object.assign(room, $set);
  for (const [name, by] of Object.entries($inc)) room[name] += by;
}

/** A row of Colyseus 0.16, with the methods that its rooms call on their own. */
class RoomData {
  constructor(initial, handle) {
    this.clients = 0;
    this.locked = false;
    this.private = false;
    this.maxClients = Infinity;
    this.unlisted = false;
    this.createdAt = initial?.createdAt ? new Date(initial.createdAt) : new Date();
    Object.assign(this, initial);
    // Neither is part of the row: not written, not compared, not copied.
    Object.defineProperty(this, "handle", { value: handle });
    Object.defineProperty(this, "removed", { value: false, writable: true });
  }

  /** What players are told of a room; all of it is stored. */
  toJSON() {
    const { clients, createdAt, maxClients, metadata, name, publicAddress, processId, roomId } = this;
    return { clients, createdAt, maxClients, metadata, name, publicAddress, processId, roomId };
  }

  async save() {
    if (this.removed || !this.roomId) return;
    await this.handle.driverPersist(this.roomId, JSON.stringify({ ...this }));
  }

  updateOne(operations) {
    apply(this, operations);
    return this.save();
  }

  remove() {
    if (!this.roomId) return undefined;
    this.removed = true;
    return this.handle.driverRemove(this.roomId).then(Number);
  }
}

module.exports = { ClusterDriver };
