// The types of the package `quorate`.
// Owns: what a program may rely on. Does not own: the driver's types (`lib/driver.d.ts`).

import type { EventEmitter } from "node:events";

export * from "./lib/driver";

/** How a node finds its cluster and what it is called. Without any option it meets the other processes of this user on this machine. */
export interface NodeOptions {
  /** The name of the cluster: 1 to 63 of a-z, 0-9 and '-'. Default `quorate`. Nodes of other names refuse each other. */
  cluster?: string;
  /** The name of this node in status and logs, in the same form. Default its id. */
  name?: string;
  /** The UDP address on which other nodes reach this one, as `ip:port`. Default `127.0.0.1:0`: this machine, any free port. */
  listen?: string;
  /** The address told to other nodes, where it is not the one listened on. */
  advertise?: string;
  /** Nodes to join through, as `host:port`; needs `secret` or `secretFile`. */
  seeds?: string | string[];
  /** What proves that a node belongs to the cluster: at least 32 bytes in hexadecimal digits, as `quorate keygen` writes them. */
  secret?: string;
  /** The file that holds it. */
  secretFile?: string;
  /** The folder for log and snapshots. Default none: all is in memory, and lost when all nodes go at once. */
  dataDir?: string;
  /** The machine and the zone that the node stands in, so that votes are spread over them. Default the machine's name; none. */
  host?: string;
  zone?: string;
  /** How many nodes the very first formation waits for. Default 1. */
  bootstrapExpect?: number;
  /** A cluster of one that nobody joins, for tests. */
  alone?: boolean;
  /** The text of a configuration file (TOML); the options above go before it. */
  config?: string;
}

/**
 * Why a call failed. `code` says what is known: `TRYAGAIN` and `CLUSTERDOWN` it had no effect, `UNKNOWN` it may have had its
 * effect, `STOPPED` this node has left, `CONFIG` an option is wrong, `START` the node could not start; for requests
 * `NORESPONDERS`, `GONE`, `DECLINED`, `TIMEOUT`, `BUSY`; `TOOLARGE` and `FULL` name their limits; anything else is the first word of
 * Redis' own error (`WRONGTYPE`, `ERR`, …).
 */
export declare class QuorateError extends Error {
  readonly code: string;
}

type Callback = (...args: any[]) => void;

/** The presence of Colyseus 0.16 to 0.18 over the cluster: the calls of `RedisPresence`, with the same values. */
export declare class ClusterPresence {
  /** Returns at once; calls wait until the node is ready. All presences with the same options share one node. */
  constructor(options?: NodeOptions);
  /** The callbacks of this process by topic. */
  subscriptions: EventEmitter;
  /** What the driver shares with this presence; not for programs. */
  handle: any;
  subscribe(topic: string, callback: Callback | Function): Promise<this>;
  unsubscribe(topic: string, callback?: Callback | Function): Promise<this>;
  channels(pattern?: string): Promise<string[]>;
  publish(topic: string, data: any): Promise<void>;
  exists(key: string): Promise<boolean>;
  set(key: string, value: string): Promise<any>;
  setex(key: string, value: string, seconds: number): Promise<any>;
  expire(key: string, seconds: number): Promise<any>;
  get(key: string): Promise<any>;
  del(key: string): Promise<any>;
  sadd(key: string, value: any): Promise<any>;
  smembers(key: string): Promise<string[]>;
  sismember(key: string, field: string): Promise<number>;
  srem(key: string, value: any): Promise<number>;
  scard(key: string): Promise<number>;
  sinter(...keys: string[]): Promise<string[]>;
  hset(key: string, field: string, value: string): Promise<boolean>;
  hincrby(key: string, field: string, value: number): Promise<number>;
  hincrbyex(key: string, field: string, value: number, expireInSeconds: number): Promise<number>;
  hget(key: string, field: string): Promise<string | null>;
  hgetall(key: string): Promise<{ [key: string]: string }>;
  hdel(key: string, field: string): Promise<boolean>;
  hlen(key: string): Promise<number>;
  incr(key: string): Promise<number>;
  decr(key: string): Promise<number>;
  llen(key: string): Promise<number>;
  rpush(key: string, ...values: string[]): Promise<number>;
  lpush(key: string, ...values: string[]): Promise<number>;
  rpop(key: string): Promise<string | null>;
  lpop(key: string): Promise<string | null>;
  brpop(...args: [...keys: string[], timeoutInSeconds: number]): Promise<[string, string] | null>;
  setMaxListeners(number: number): void;
  /** Only notes that this presence is done; the driver's `shutdown` leaves the cluster. */
  shutdown(): void;
}

/** A string or bytes. */
export type Data = string | Uint8Array;

/** Commands of Redis; `T` is what a string reply becomes. */
export interface Commands<T = string> {
  /** Does any command of Redis on keys. Arrays among the words are spread. */
  command(...words: Array<Data | number | Array<Data | number>>): Promise<any>;
  /** Does several commands in one indivisible step; one that failed has `{ code, message }` in its place. */
  transaction(commands: Array<Array<Data | number>>): Promise<any[]>;
  get(key: Data): Promise<T | null>;
  /** Gives whether it was set, which is always so without `if`. */
  set(key: Data, value: Data | number, options?: { ttlMs?: number; if?: "absent" | "present" }): Promise<boolean>;
  del(...keys: Data[]): Promise<number>;
  exists(key: Data): Promise<boolean>;
  /** Gives whether the key is there. */
  expire(key: Data, ttlMs: number): Promise<boolean>;
  /** In milliseconds; -1 without a deadline, -2 when the key is not there. */
  ttl(key: Data): Promise<number>;
  incr(key: Data, by?: number): Promise<number>;
  decr(key: Data, by?: number): Promise<number>;
  /** Gives how many fields are new. */
  hset(key: Data, field: Data, value: Data | number): Promise<number>;
  hset(key: Data, fields: Record<string, Data | number>): Promise<number>;
  hget(key: Data, field: Data): Promise<T | null>;
  hgetall(key: Data): Promise<Record<string, T>>;
  hdel(key: Data, ...fields: Data[]): Promise<number>;
  hlen(key: Data): Promise<number>;
  hincrby(key: Data, field: Data, by?: number): Promise<number>;
  sadd(key: Data, ...members: Data[]): Promise<number>;
  srem(key: Data, ...members: Data[]): Promise<number>;
  smembers(key: Data): Promise<T[]>;
  sismember(key: Data, member: Data): Promise<boolean>;
  scard(key: Data): Promise<number>;
  lpush(key: Data, ...values: Data[]): Promise<number>;
  rpush(key: Data, ...values: Data[]): Promise<number>;
  lpop(key: Data): Promise<T | null>;
  rpop(key: Data): Promise<T | null>;
  llen(key: Data): Promise<number>;
  lrange(key: Data, start?: number, stop?: number): Promise<T[]>;
}

/** What a node tells its program. */
export interface NodeEvents {
  /** This process was silent for too long: what it had bound is gone, for the moment. */
  sessionLost: { session: string };
  /** What it had bound is back, but for `lost` pieces whose place others have taken. */
  sessionRenewed: { old: string; session: string; restored: number; lost: number };
  leaderChanged: { leader: string | null };
  /** There is no majority: writes and reads wait, and fail in time; messages go on. */
  halted: {};
  resumed: {};
  /** The session of another process has ended, and what it had bound went with it. */
  boundTaken: { session: string; node: string; count: number };
  notificationsLost: { count: number | null };
  /** So many events before this one were not taken in time. */
  missed: { count: number };
  /** Messages to this node are missing; `count` is null when nobody can know how many. */
  lost: { cause: "slow" | "link" | "keyspace"; count: number | null };
  /** A responder threw; who asked was told that it declined. */
  responderError: { channel: string; error: unknown };
  /** The node cannot go on, or could not start. */
  stopped: { reason: string; wasStarted: boolean };
}

/** A node for servers that are not Colyseus. Nothing of it but a call under way keeps the event loop alive. */
export declare class Node implements Commands {
  /** Returns at once; calls wait until the node is ready. With a presence: its node, with an order of calls of its own. */
  constructor(options?: NodeOptions | ClusterPresence);
  /** Starts a node and gives it when it is ready. */
  static start(options?: NodeOptions | ClusterPresence): Promise<Node>;
  ready(): Promise<void>;
  /** What `/status` of a node says: ids, members, voters, leader, lanes. */
  status(): Promise<any>;
  /** Ends what is under way, hands over and leaves. Takes up to three seconds. */
  leave(): Promise<void>;
  on<E extends keyof NodeEvents>(event: E, listener: (details: NodeEvents[E]) => void): this;
  once<E extends keyof NodeEvents>(event: E, listener: (details: NodeEvents[E]) => void): this;
  off<E extends keyof NodeEvents>(event: E, listener: (details: NodeEvents[E]) => void): this;
  /** The same commands, whose writes are gone on all nodes as soon as this process is. */
  readonly bound: Commands;
  /** The same commands, whose replies are buffers. */
  readonly buffers: Commands<Buffer>;
  /** Publishes; gives how many subscriptions in the whole cluster received it. */
  publish(channel: string, payload: Data): Promise<number>;
  /** Publishes without counting: resolves as soon as it is on its way. */
  send(channel: string, payload: Data): Promise<void>;
  /** In effect on every node when it resolves; gives a function that ends it. */
  subscribe(channel: string, listener: (payload: string, channel: string) => void): Promise<() => Promise<void>>;
  subscribe(channel: string, listener: (payload: Buffer, channel: string) => void, options: { buffers: true }): Promise<() => Promise<void>>;
  psubscribe(pattern: string, listener: (payload: string, channel: string) => void): Promise<() => Promise<void>>;
  psubscribe(pattern: string, listener: (payload: Buffer, channel: string) => void, options: { buffers: true }): Promise<() => Promise<void>>;
  channels(pattern?: string): Promise<string[]>;
  /** Asks one responder, wherever it is. Default 2,000 ms. */
  request(channel: string, payload: Data, options?: { timeoutMs?: number }): Promise<string>;
  request(channel: string, payload: Data, options: { timeoutMs?: number; buffers: true }): Promise<Buffer>;
  /** Replies to requests; gives a function that ends it. */
  respond(channel: string, responder: (payload: string, channel: string) => Data | number | Promise<Data | number>): Promise<() => void>;
  respond(channel: string, responder: (payload: Buffer, channel: string) => Data | number | Promise<Data | number>, options: { buffers: true }): Promise<() => void>;
  command: Commands["command"];
  transaction: Commands["transaction"];
  get: Commands["get"];
  set: Commands["set"];
  del: Commands["del"];
  exists: Commands["exists"];
  expire: Commands["expire"];
  ttl: Commands["ttl"];
  incr: Commands["incr"];
  decr: Commands["decr"];
  hset: Commands["hset"];
  hget: Commands["hget"];
  hgetall: Commands["hgetall"];
  hdel: Commands["hdel"];
  hlen: Commands["hlen"];
  hincrby: Commands["hincrby"];
  sadd: Commands["sadd"];
  srem: Commands["srem"];
  smembers: Commands["smembers"];
  sismember: Commands["sismember"];
  scard: Commands["scard"];
  lpush: Commands["lpush"];
  rpush: Commands["rpush"];
  lpop: Commands["lpop"];
  rpop: Commands["rpop"];
  llen: Commands["llen"];
  lrange: Commands["lrange"];
}
