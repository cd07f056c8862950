/** Times in options are milliseconds. All are optional, and undefined is not a value. */
export interface HeartwireOptions {
  /** The account, 1 to 128 bytes. May be left out where a token names it. */
  account?: string;
  /**
   * A bearer token, or what gets one: it is called before each attempt to connect, and again when four fifths of a
   * token's life are over; it may be async. If it throws, the attempt has failed and another follows with back-off (a
   * failed renewal is the event `error`, and where none succeeds in time the client comes back with back-off and another
   * token); it may call `close()` if there will never be a token.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** A label for this connection, at most 64 bytes. */
  device?: string;
  /**
   * A promise to the server: it hears from this client at least this often, and may take 1.5 times as long for gone.
   * Without it beats go out at the server's own interval. Background tabs cannot keep less than a minute by themselves,
   * but the server's pings, which browsers answer, make up for it.
   */
  heartbeatMs?: number;
  /** The WebSocket class. Default `globalThis.WebSocket`; Node before 22 has none: give that of the package `ws`. */
  WebSocket?: new (url: string, protocols?: string[]) => unknown;
  /** From the start of an attempt, the token included, until the connection is registered. Default 10,000. */
  connectTimeoutMs?: number;
  /** How long an answer may take; after a heartbeat, anything that arrives is one. Default 10,000. */
  answerTimeoutMs?: number;
  /** Back-off: the first delay is a random part of this, each further one of twice as much. Default 1,000. */
  backoffMs?: number;
  /** The bound up to which back-off doubles. Default 30,000. */
  backoffMaxMs?: number;
  /** A connection that lasted this long makes the earlier failures forgotten. Default 10,000. */
  stableMs?: number;
  /** For tests: what spreads the delays, like `Math.random`. */
  random?: () => number;
  /** For tests: the time, like `performance.now`, and its timers. */
  clock?: {
    now(): number;
    setTimeout(call: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
  };
}

/**
 * `closed`: not connected, and not about to be. `connecting`: an attempt is under way. `online`: registered with the
 * server. `waiting`: the next attempt comes in `retryInMs`.
 */
export type State = 'closed' | 'connecting' | 'online' | 'waiting';

/** To accounts, on all their connections, or to the other members of a room that this client has joined. */
export type Target = { to: string | string[] } | { room: string };

export interface Message {
  /** The server's, unique. */
  id: string;
  /** The sender's account, by the server's word. */
  from: string;
  /** The room, if it was sent to one. */
  room?: string;
  /** When the server received it, in ms since 1970. */
  time: number;
  content: any;
}

export interface Presence {
  account: string;
  online: boolean;
  connections: number;
}

export interface Close {
  /** 1006 also where this client gave up: no answer in time, or no token. */
  code: number;
  reason: string;
  /** When the next attempt comes; null: not before `connect()`. */
  retryInMs: number | null;
}

export interface Heartbeat {
  roundTripMs: number;
  /** The server pings after this much silence of the client, and closes after `timeoutMs` of it. */
  intervalMs: number;
  timeoutMs: number;
}

/** A frame of a type that the embedding program of the server made up. */
export interface Push {
  type: string;
  content: any;
}

/** What listeners are called with. */
export interface Events {
  state: State;
  /** A connection ended, or an attempt failed. */
  close: Close;
  message: Message;
  /** News of watched accounts; after a reconnect, how all of them are. */
  presence: Presence[];
  /**
   * The server refused what nobody waits for, or a room or watch, which is then given up; or the renewal of one got no
   * answer in time (`reason` is `timeout`).
   */
  error: HeartwireError;
  /** The server answered a heartbeat. */
  heartbeat: Heartbeat;
  /** Whatever is pushed; besides, each push sets off an event of its own type. */
  push: Push;
}

export class HeartwireError extends Error {
  /**
   * The server's word for `code`, or, without a code: `offline` (nothing was sent), `connection_lost` or `timeout`
   * (perhaps it was done, perhaps not).
   */
  readonly reason: string;
  /** The code of the server's `error` frame: 103 permission denied, 106 limit exceeded, 111 too many requests, … */
  readonly code?: number;
}

/**
 * One connection to a heartwire server, kept up until `close()` or until the server says not to come back. In a browser
 * its heartbeats tell the server whether the page is hidden, and one goes out at once when that changes.
 */
export class Heartwire {
  /**
   * Connects to nothing yet.
   * @param url `ws:`, `wss:`, `http:` or `https:`; in a browser it may be relative, as in `/ws`.
   * @throws if there is no WebSocket class, or `url` is none.
   */
  constructor(url: string | URL, options?: HeartwireOptions);

  readonly state: State;
  /** As the server says it; null unless online. */
  readonly account: string | null;
  /** The server's id of this connection, never used again; null unless online. */
  readonly connection: string | null;
  /** Of the last heartbeat on this connection; null before its answer. */
  readonly roundTripMs: number | null;
  /** Until the next attempt; null unless waiting. */
  readonly retryInMs: number | null;

  /** Starts, or, if it is waiting, tries at once. Does nothing while connecting or online. */
  connect(): void;
  /** Ends the connection and stays away until `connect()`. Rooms and watches are kept for then. */
  close(): void;
  /** Resolves once online; rejects if the client is, or comes to be, closed. */
  ready(): Promise<void>;

  /** @returns what takes the listener off again. */
  on<E extends keyof Events>(type: E, listener: (detail: Events[E]) => void): () => void;
  /** A type that is pushed; the listener is called with its content. */
  on(type: string, listener: (content: any) => void): () => void;
  off(type: string, listener: (detail: any) => void): void;

  /**
   * Sends a message, once. Resolves with the number of connections it was handed to, which is 0 if nobody is there.
   * Rejects with a `HeartwireError` if the server refuses it, does not answer in time, the connection is lost before
   * the answer, or there is none.
   */
  send(target: Target, content: unknown): Promise<{ delivered: number }>;
  /** Like `send`, to everybody else; the server has to permit it. */
  broadcast(content: unknown): Promise<{ delivered: number }>;

  /**
   * Enters a room now and after each reconnect, until `leave`, or until the server refuses. Resolves when the room is
   * joined; a rejection for any reason but a refusal is not the end of it, and needs no handler.
   */
  join(room: string): Promise<void>;
  leave(room: string): Promise<void>;

  /**
   * Asks who is online. `watch` starts (true) or ends (false) news of these accounts by the event `presence`; like a
   * room, a watch is renewed after each reconnect.
   */
  presence(accounts: string[], options?: { watch?: boolean }): Promise<Presence[]>;
}
