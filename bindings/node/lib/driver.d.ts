// Types of the matchmaking driver. They are those of `MatchMakerDriver` in `@colyseus/core` 0.16, 0.17 and 0.18, written
// out, so that no package is needed to use them.

/** A room as it is listed. Rooms may add fields of their own; they are stored and matched like the others. */
export interface RoomListing<Metadata = any> {
  roomId: string;
  processId: string;
  name: string;
  clients: number;
  /** `null` when the room has no maximum: JSON knows no `Infinity`. */
  maxClients: number;
  locked?: boolean;
  private?: boolean;
  unlisted?: boolean;
  publicAddress?: string;
  metadata?: Metadata;
  createdAt?: Date;
  [property: string]: any;
}

/** Order of the rooms of a query, most significant field first. */
export interface SortOptions {
  [field: string]: 1 | -1 | "asc" | "desc" | "ascending" | "descending";
}

/** A listed room that saves itself: what Colyseus 0.16 works with. */
export interface StoredRoom<Metadata = any> extends RoomListing<Metadata> {
  metadata: Metadata;
  locked: boolean;
  private: boolean;
  unlisted: boolean;
  createdAt: Date;
  save(): Promise<void>;
  updateOne(operations: { $set?: object; $inc?: object }): Promise<void>;
  remove(): Promise<number> | undefined;
}

/** The matchmaking driver of Colyseus over the cluster of the given presence. */
export declare class ClusterDriver {
  /** Takes the node of `presence` (a `ClusterPresence`), or the one that all of this process share. */
  constructor(presence?: object);
  /** Resolves when the node is in sync and serves. */
  boot(): Promise<void>;
  has(roomId: string): Promise<boolean>;
  /** The rooms that meet every condition: fields of the room first, else of its metadata. */
  query(conditions?: object, sort?: SortOptions): Promise<any[]>;
  /** The first of them, or `undefined`. A condition on `roomId` alone decides when it is there. */
  findOne(conditions?: object, sort?: SortOptions): Promise<any>;
  findByIds(roomIds: string[]): Promise<Map<string, any>>;
  /** Lists the room unless its id is listed: true for exactly one of those who ask. */
  insert(room: object): Promise<boolean>;
  persist(room: object, create?: boolean): Promise<boolean>;
  /** Applies `$set` and `$inc` to `room` itself and writes it whole. */
  update(room: object, operations: { $set?: object; $inc?: object }): Promise<boolean>;
  remove(roomId: string): Promise<boolean>;
  /** Removes all rooms of a process, in one step. */
  cleanup(processId: string): Promise<void>;
  clear(): Promise<void>;
  /** Flushes outstanding writes, hands over leadership, leaves the cluster, then resolves. */
  shutdown(): Promise<void>;
  /** For Colyseus 0.16 only. */
  createInstance(initial?: object): StoredRoom;
}
