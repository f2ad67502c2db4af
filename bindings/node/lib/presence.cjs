// The presence of Colyseus over the cluster, in the place of RedisPresence.
// Owns: the 33 calls of Colyseus 0.16 to 0.18 with the values that RedisPresence resolves them with. Does not own: the node
// (`handle`). Invariants: works through `Object.create(presence)`, which Colyseus gives each room, so nothing is private and
// nothing is assigned outside the constructor; callbacks are called on a later tick, and what they throw is not caught.
"use strict";

const { EventEmitter } = require("node:events");
const { Lobby, LOBBY } = require("./lobby.cjs");
const { open } = require("./shared.cjs");

/** RedisPresence hands `resolve` to Redis as the callback: these calls never reject, they resolve with the error. */
const settled = (promise) =>
  promise.then(
    () => null,
    (error) => error,
  );

/** A flat list of fields and values as an object. A field may be named as something that all objects have. */
function record(list) {
  const fields = {};
  for (let at = 0; at < list.length; at += 2) {
    const value = list[at + 1];
    if (list[at] in fields) {
      Object.defineProperty(fields, list[at], { value, configurable: true, enumerable: true, writable: true });
    } else {
      fields[list[at]] = value;
    }
  }
  return fields;
}

class ClusterPresence {
  constructor(options) {
    this.subscriptions = new EventEmitter();
    this.handle = open(options);
    this.lobby = new Lobby(this);
    this.handle.onMessage = (topic, message) => this.handleSubscription(topic, message);
    this.handle.onLost = (cause, count) => {
      const many = count === null ? "an unknown number of messages" : `${count} messages`;
      process.emitWarning(`${many} to this process may be lost (${cause})`, "QuorateWarning");
    };
  }

  async subscribe(topic, callback) {
    this.subscriptions.addListener(topic, callback);
    if (topic === LOBBY) this.lobby.begin();
    await this.handle.subscribe(topic);
    return this;
  }

  async unsubscribe(topic, callback) {
    if (callback) this.subscriptions.removeListener(topic, callback);
    else this.subscriptions.removeAllListeners(topic);
    if (this.subscriptions.listenerCount(topic) === 0) await this.handle.unsubscribe(topic);
    return this;
  }

  async channels(pattern = "*") {
    return this.handle.channels(pattern);
  }

  async publish(topic, data) {
    if (topic === LOBBY) this.lobby.published(data);
    await this.handle.publish(topic, JSON.stringify(data === undefined ? false : data));
  }

  async exists(key) {
    return (await this.handle.command(["EXISTS", key])) === 1;
  }

  async set(key, value) {
    return settled(this.handle.command(["SET", key, value]));
  }

  async setex(key, value, seconds) {
    return settled(this.handle.command(["SETEX", key, seconds, value]));
  }

  async expire(key, seconds) {
    return settled(this.handle.command(["EXPIRE", key, seconds]));
  }

  async get(key) {
    return this.handle.command(["GET", key]);
  }

  async del(key) {
    return settled(this.handle.command(["DEL", key]));
  }

  async sadd(key, value) {
    return settled(this.handle.command(["SADD", key, value]));
  }

  async smembers(key) {
    return this.handle.command(["SMEMBERS", key]);
  }

  async sismember(key, field) {
    return this.handle.command(["SISMEMBER", key, field]);
  }

  async srem(key, value) {
    return this.handle.command(["SREM", key, value]);
  }

  async scard(key) {
    return this.handle.command(["SCARD", key]);
  }

  async sinter(...keys) {
    return this.handle.command(["SINTER", ...keys]);
  }

  async hset(key, field, value) {
    return (await this.handle.command(["HSET", key, field, value])) > 0;
  }

  async hincrby(key, field, value) {
    return this.handle.command(["HINCRBY", key, field, value]);
  }

  async hincrbyex(key, field, value, expireInSeconds) {
    const [sum] = await this.handle.transaction([
      ["HINCRBY", key, field, value],
      ["EXPIRE", key, expireInSeconds],
    ]);
    // An increment that failed is told by no value, as with Redis.
    return typeof sum === "number" ? sum : undefined;
  }

  async hget(key, field) {
    return this.handle.command(["HGET", key, field]);
  }

  async hgetall(key) {
    return record(await this.handle.command(["HGETALL", key]));
  }

  async hdel(key, field) {
    return (await this.handle.command(["HDEL", key, field])) > 0;
  }

  async hlen(key) {
    return this.handle.command(["HLEN", key]);
  }

  async incr(key) {
    return this.handle.command(["INCR", key]);
  }

  async decr(key) {
    return this.handle.command(["DECR", key]);
  }

  async llen(key) {
    return this.handle.command(["LLEN", key]);
  }

  async rpush(key, ...values) {
    return this.handle.command(["RPUSH", key, ...values]);
  }

  async lpush(key, ...values) {
    return this.handle.command(["LPUSH", key, ...values]);
  }

  async rpop(key) {
    return this.handle.command(["RPOP", key]);
  }

  async lpop(key) {
    return this.handle.command(["LPOP", key]);
  }

  async brpop(...args) {
    return this.handle.command(["BRPOP", ...args]);
  }

  setMaxListeners(number) {
    this.subscriptions.setMaxListeners(number);
  }

  /** Uses the node no more. The driver's `shutdown`, which Colyseus awaits, is what leaves the cluster. */
  shutdown() {
    this.handle.mark();
  }

  /** Calls who has subscribed to the topic; text that is not JSON is passed over. */
  handleSubscription(topic, message) {
    let data;
    try {
      data = JSON.parse(message);
    } catch {
      process.emitWarning(`a message to ${JSON.stringify(topic)} is no JSON`, "QuorateWarning");
      return;
    }
    if (topic === LOBBY) this.lobby.heard(data);
    this.subscriptions.emit(topic, data);
  }
}

module.exports = { ClusterPresence };
