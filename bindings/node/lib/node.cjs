// The cluster for servers that are not Colyseus: state, messages, requests, events.
// Owns: the names of the calls and how their replies look. Does not own: the node (`handle`). Invariant: a call either gives what
// Redis gives or rejects with an error whose `code` says what is known of its effect; nothing is tried twice behind one's back.
"use strict";

const { EventEmitter } = require("node:events");
const { BOUND, BUFFERS, Handle, word } = require("./handle.cjs");
const { ClusterPresence } = require("./presence.cjs");
const { openAlone } = require("./shared.cjs");

/** How long a request waits for its reply unless it is told otherwise. */
const REQUEST_MS = 2_000;

/** The names and details of the events of a node, as `src/listen.rs` tells them. */
const DETAILS = {
  sessionLost: ["session"],
  sessionRenewed: ["old", "session", "restored", "lost"],
  leaderChanged: ["leader"],
  halted: [],
  resumed: [],
  boundTaken: ["session", "node", "count"],
  notificationsLost: ["count"],
  missed: ["count"],
  stopped: ["reason", "wasStarted"],
};

/** A flat list of fields and values as an object without a prototype, so that any name is just a name. */
function record(list) {
  const fields = Object.create(null);
  for (let at = 0; at < list.length; at += 2) fields[list[at]] = list[at + 1];
  return fields;
}

/** Commands of Redis, each as a method. */
class Commands {
  constructor(handle, manner) {
    this.handle = handle;
    this.manner = manner;
  }

  /** Does any command of Redis on keys: `node.command("ZADD", …)` fails as it does where it is not known. */
  command(...words) {
    return this.handle.command(words, this.manner);
  }

  /** Does several commands in one indivisible step; what one of them failed with stands in its place as `{ code, message }`. */
  transaction(commands) {
    return this.handle.transaction(commands, this.manner);
  }

  get(key) {
    return this.command("GET", key);
  }

  /** Gives whether it was set, which is always so without `if`. */
  async set(key, value, { ttlMs, if: condition } = {}) {
    const words = ["SET", key, value];
    if (ttlMs !== undefined) words.push("PX", ttlMs);
    if (condition !== undefined) words.push(condition === "absent" ? "NX" : "XX");
    return (await this.command(...words)) !== null;
  }

  del(...keys) {
    return this.command("DEL", ...keys);
  }

  async exists(key) {
    return (await this.command("EXISTS", key)) === 1;
  }

  async expire(key, ttlMs) {
    return (await this.command("PEXPIRE", key, ttlMs)) === 1;
  }

  /** Gives how long a key has yet, in milliseconds; -1 without a deadline, -2 when it is not there. */
  ttl(key) {
    return this.command("PTTL", key);
  }

  incr(key, by = 1) {
    return this.command("INCRBY", key, by);
  }

  decr(key, by = 1) {
    return this.command("DECRBY", key, by);
  }

  /** Sets a field, or all fields of an object; gives how many are new. */
  hset(key, field, value) {
    const pairs = typeof field === "object" ? Object.entries(field).flat() : [field, value];
    return this.command("HSET", key, ...pairs);
  }

  hget(key, field) {
    return this.command("HGET", key, field);
  }

  async hgetall(key) {
    return record(await this.command("HGETALL", key));
  }

  hdel(key, ...fields) {
    return this.command("HDEL", key, ...fields);
  }

  hlen(key) {
    return this.command("HLEN", key);
  }

  hincrby(key, field, by = 1) {
    return this.command("HINCRBY", key, field, by);
  }

  sadd(key, ...members) {
    return this.command("SADD", key, ...members);
  }

  srem(key, ...members) {
    return this.command("SREM", key, ...members);
  }

  smembers(key) {
    return this.command("SMEMBERS", key);
  }

  async sismember(key, member) {
    return (await this.command("SISMEMBER", key, member)) === 1;
  }

  scard(key) {
    return this.command("SCARD", key);
  }

  lpush(key, ...values) {
    return this.command("LPUSH", key, ...values);
  }

  rpush(key, ...values) {
    return this.command("RPUSH", key, ...values);
  }

  lpop(key) {
    return this.command("LPOP", key);
  }

  rpop(key) {
    return this.command("RPOP", key);
  }

  llen(key) {
    return this.command("LLEN", key);
  }

  lrange(key, start = 0, stop = -1) {
    return this.command("LRANGE", key, start, stop);
  }
}

class Node extends Commands {
  /** Begins to start a node, or takes that of a presence. Calls wait until it is ready. */
  constructor(options) {
    const handle =
      options instanceof ClusterPresence ? new Handle(options.handle.shared, true) : openAlone(options);
    super(handle, 0);
    this.events = new EventEmitter();
    this.listeners = { channel: new EventEmitter(), pattern: new EventEmitter() };
    for (const emitter of Object.values(this.listeners)) emitter.setMaxListeners(0);
    handle.onMessage = (channel, payload, pattern) => this.deliver(channel, payload, pattern);
    handle.onLost = (cause, count) => this.events.emit("lost", { cause, count });
    handle.shared.events.on("event", (name, ...details) => {
      this.events.emit(name, Object.fromEntries(DETAILS[name].map((detail, at) => [detail, details[at]])));
    });
  }

  /** Starts a node and gives it when it is ready. */
  static async start(options) {
    const node = new Node(options);
    await node.ready();
    return node;
  }

  ready() {
    return this.handle.ready();
  }

  status() {
    return this.handle.status();
  }

  /** Ends what is under way, hands over, and leaves; a node that others in this process use goes on. */
  leave() {
    return this.handle.leave();
  }

  on(event, listener) {
    this.events.on(event, listener);
    return this;
  }

  once(event, listener) {
    this.events.once(event, listener);
    return this;
  }

  off(event, listener) {
    this.events.off(event, listener);
    return this;
  }

  /** The same commands, whose writes are gone on all nodes as soon as this process is. */
  get bound() {
    return new Commands(this.handle, this.manner | BOUND);
  }

  /** The same commands, whose replies are buffers in place of strings. */
  get buffers() {
    return new Commands(this.handle, this.manner | BUFFERS);
  }

  /** Publishes a string or bytes; gives how many subscriptions in the whole cluster received it. */
  publish(channel, payload) {
    return this.handle.publish(channel, payload, true);
  }

  /** Publishes and does not ask how many received it: resolves as soon as it is on its way. */
  async send(channel, payload) {
    await this.handle.publish(channel, payload, false);
  }

  /** Calls `listener(payload, channel)` for each message to a channel; gives a function that ends it. */
  subscribe(channel, listener, options) {
    return this.listen("channel", channel, listener, options);
  }

  /** The same for all channels that match a pattern of Redis. */
  psubscribe(pattern, listener, options) {
    return this.listen("pattern", pattern, listener, options);
  }

  async listen(kind, name, listener, { buffers = false } = {}) {
    const isPattern = kind === "pattern";
    const listeners = this.listeners[kind];
    const call = (payload, channel) => listener(buffers ? payload : payload.toString(), channel);
    listeners.on(name, call);
    await this.handle.subscribe(name, isPattern);
    return async () => {
      listeners.off(name, call);
      if (listeners.listenerCount(name) === 0) await this.handle.unsubscribe(name, isPattern);
    };
  }

  deliver(channel, payload, pattern) {
    if (pattern === null) this.listeners.channel.emit(channel, payload, channel);
    else this.listeners.pattern.emit(pattern, payload, channel);
  }

  /** Gives the channels that somebody in the cluster subscribes to. */
  channels(pattern = "*") {
    return this.handle.channels(pattern);
  }

  /** Asks one responder, wherever it is; rejects at once when there is none, or when its process dies. */
  request(channel, payload, { timeoutMs = REQUEST_MS, buffers = false } = {}) {
    return this.handle.request(channel, payload, timeoutMs, buffers ? BUFFERS : 0);
  }

  /** Replies to requests with what `responder(payload)` gives or resolves with; gives a function that ends it. A request for
   * which it throws is declined, and the event `responderError` tells. */
  async respond(channel, responder, { buffers = false } = {}) {
    const { shared } = this.handle;
    const number = shared.next();
    shared.responders.set(number, async (request, payload) => {
      try {
        const reply = await responder(buffers ? payload : payload.toString(), channel);
        shared.native.reply(request, word(reply));
      } catch (error) {
        shared.native.reply(request);
        this.events.emit("responderError", { channel, error });
      }
    });
    await shared.ask((call) => shared.native.respond(call, word(channel), number));
    return () => {
      shared.responders.delete(number);
      shared.native.endRespond(number);
    };
  }
}

module.exports = { Node };
