// A client of heartwire servers for browsers and Node: one file, no dependencies. docs/javascript.md tells how to use
// it, heartwire.d.ts what its parts mean, docs/protocol.md what goes over the wire.

const DEFAULTS = {
  connectTimeoutMs: 10_000,
  answerTimeoutMs: 10_000,
  backoffMs: 1_000,
  backoffMaxMs: 30_000,
  stableMs: 10_000,
  random: Math.random,
  clock: {
    now: () => performance.now(),
    // More than 31 bits of ms, almost 25 days, would be taken for none.
    setTimeout: (call, ms) => setTimeout(call, Math.min(ms, 2 ** 31 - 1)),
    clearTimeout: timer => clearTimeout(timer),
  },
};
/** A timer later than this was held up: by a throttled tab, by a busy machine or one that slept. */
const LATE_MS = 200;
/** The most accounts that one `presence` frame may name. */
const MAX_ACCOUNTS = 256;
/** The part of a token's life after which another one is asked for, and how much of it must be left for another try. */
const RENEW_AFTER = 0.8;
const MIN_RENEWAL_MS = 1_000;
/** How a connection ends whose token has expired. */
const EXPIRED = 4500;
/** What may stand in a subprotocol (RFC 9110 §5.6.2). */
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/;
/** Events that a push of the same name does not set off; the server itself pushes none of the others. */
const OWN_EVENTS = ['state', 'push'];

export class HeartwireError extends Error {
  constructor(reason, message, code) {
    super(message);
    Object.assign(this, { name: 'HeartwireError', reason, code });
  }
}

export class Heartwire {
  #options;
  #url;
  #listeners = new Map();
  #state = 'closed';
  #link = null;           // the one connection: being opened, or open
  #retry = null;          // while waiting: the timer of the next attempt, and when it is due
  #failures = 0;          // attempts and short connections since one proved stable
  #roundTripMs = null;
  #lastId = 0;
  #rooms = new Set();     // wished for, so joined again after a reconnect
  #watched = new Set();

  constructor(url, options = {}) {
    this.#options = { WebSocket: globalThis.WebSocket, ...DEFAULTS, ...options };
    if (!this.#options.WebSocket) {
      throw new Error('there is no WebSocket here: give one as the option WebSocket (Node before 22: the package ws)');
    }
    this.#url = endpoint(url, options);
  }

  get state() { return this.#state; }
  get account() { return this.#link?.register?.account ?? null; }
  get connection() { return this.#link?.register?.connection ?? null; }
  get roundTripMs() { return this.#roundTripMs; }
  get retryInMs() { return this.#retry && Math.max(0, this.#retry.at - this.#now()); }

  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.off(type, listener);
  }

  off(type, listener) { this.#listeners.get(type)?.delete(listener); }

  connect() {
    if (this.#link) return;
    this.#failures = 0;
    globalThis.addEventListener?.('online', this.#networkIsBack);
    globalThis.document?.addEventListener('visibilitychange', this.#visibilityChanged);
    this.#attempt();
  }

  close() {
    if (this.#state !== 'closed') this.#finish(1000, 'closed by this client', null);
  }

  ready() {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (this.#state === 'online') resolve();
        else if (this.#state === 'closed') reject(new HeartwireError('offline', 'the client is closed'));
        else return;
        off();
      };
      const off = this.on('state', check);
      check();
    });
  }

  async send({ to, room }, content) {
    const { delivered } = await this.#ask({ type: 'message', to: to && [to].flat(), room, content });
    return { delivered };
  }

  async broadcast(content) {
    const { delivered } = await this.#ask({ type: 'broadcast', content });
    return { delivered };
  }

  join(room) {
    this.#rooms.add(room);
    return this.#wish({ type: 'join', room }, () => this.#rooms.delete(room));
  }

  async leave(room) {
    this.#rooms.delete(room);
    try {
      await this.#ask({ type: 'leave', room });
    } catch (error) {
      // The end of a connection leaves all its rooms.
      if (!['offline', 'connection_lost'].includes(error.reason)) throw error;
    }
  }

  presence(accounts, { watch } = {}) {
    const frame = { type: 'presence', accounts, watch };
    if (watch === undefined) return this.#ask(frame).then(answer => answer.accounts);
    const unwatch = () => accounts.forEach(account => this.#watched.delete(account));
    if (watch) accounts.forEach(account => this.#watched.add(account));
    else unwatch();
    return this.#wish(frame, unwatch);
  }

  // The connection: attempt → opened → registered → beats and messages → ended → perhaps another attempt.

  async #attempt() {
    this.#stopWaiting();
    const { connectTimeoutMs, token, WebSocket } = this.#options;
    const link = this.#link = { socket: null, register: null, unanswered: new Map() };
    link.opening = this.#after(connectTimeoutMs, () => this.#ended(1006, 'no answer in time'));
    this.#show('connecting');
    try {
      const current = typeof token === 'function' ? await token() : token;
      // Closed, or too slow, while it waited for the token.
      if (this.#link !== link) return;
      const { url, protocols } = withToken(this.#url, current);
      link.socket = new WebSocket(url, protocols);
    } catch (error) {
      if (this.#link === link) this.#ended(1006, `no attempt was possible: ${error?.message ?? error}`);
      return;
    }
    this.#listen(link);
  }

  #listen(link) {
    // A connection that was given up may still report: only the current one is heard.
    const current = handler => event => { if (this.#link === link) handler(event); };
    link.socket.onmessage = current(event => this.#receive(JSON.parse(event.data)));
    link.socket.onclose = current(event => this.#ended(event.code, event.reason));
    // Says nothing that the close after it does not, but `ws` throws what nobody listens to.
    link.socket.onerror = () => {};
  }

  #registered(frame) {
    const link = this.#link;
    link.opening();
    Object.assign(link, { register: frame, registeredAt: this.#now(), heartbeat: frame.heartbeat });
    // Before the program hears of it: what it then sends to a room comes behind the join.
    this.#wishAgain();
    this.#beat();
    this.#expiresIn(frame.expires_in_ms);
    this.#show('online');
  }

  #wishAgain() {
    this.#rooms.forEach(room => this.join(room));
    const watched = [...this.#watched];
    while (watched.length > 0) {
      const accounts = watched.splice(0, MAX_ACCOUNTS);
      // What changed while nobody watched is news.
      this.presence(accounts, { watch: true }).then(found => this.#emit('presence', found), () => {});
    }
  }

  /** Another token in good time before the present one ends the connection. */
  #expiresIn(ms) {
    const link = this.#link, { clock, token } = this.#options;
    clock.clearTimeout(link.renewal);
    if (ms === undefined || typeof token !== 'function') return;
    const expiresAt = clock.now() + ms;
    link.renewal = clock.setTimeout(async () => {
      try {
        const fresh = await token();
        if (this.#link !== link) return;
        const { expires_in_ms } = await this.#ask({ type: 'token', token: fresh });
        if (this.#link === link) this.#expiresIn(expires_in_ms);
      } catch (error) {
        if (this.#link !== link) return;
        this.#emit('error', error);
        const left = expiresAt - clock.now();
        // Below that the connection ends, and that is said by its close.
        if (left > MIN_RENEWAL_MS) this.#expiresIn(left);
      }
    }, ms * RENEW_AFTER);
  }

  #ended(code, reason) { this.#finish(code, reason, this.#delayAfter(code)); }

  /** Ends the connection or the waiting for one; `delay` ms later comes another attempt, or none if it is null. */
  #finish(code, reason, delay) {
    const link = this.#link;
    this.#link = null;
    this.#roundTripMs = null;
    this.#stopWaiting();
    if (delay === null) {
      globalThis.removeEventListener?.('online', this.#networkIsBack);
      globalThis.document?.removeEventListener('visibilitychange', this.#visibilityChanged);
    } else {
      const { clock } = this.#options;
      this.#retry = { at: clock.now() + delay, timer: clock.setTimeout(() => this.#attempt(), delay) };
    }
    if (link) this.#release(link, code);
    this.#show(delay === null ? 'closed' : 'waiting');
    this.#emit('close', { code, reason, retryInMs: delay });
  }

  #release(link, code) {
    link.opening();
    link.overdue?.();
    this.#options.clock.clearTimeout(link.nextBeat);
    this.#options.clock.clearTimeout(link.renewal);
    link.socket?.close(1000);
    const lost = `the connection ended (${code}) before the answer: perhaps done, perhaps not`;
    for (const { reject, stop } of link.unanswered.values()) {
      stop();
      reject(new HeartwireError('connection_lost', lost));
    }
  }

  /** How many ms to wait after a close before coming back; null: stay away. */
  #delayAfter(code) {
    const { random, backoffMs, backoffMaxMs, stableMs, token } = this.#options;
    const { register, registeredAt } = this.#link;
    // No token came in time for this connection, but one may come for the next.
    const hasExpired = code === EXPIRED && register?.expires_in_ms !== undefined && typeof token === 'function';
    const advice = hasExpired ? 'back off' : adviceOf(code);
    if (advice === 'never') return null;
    if (register && this.#now() - registeredAt >= stableMs) this.#failures = 0;
    // Only the first time in a row: a server that ends every connection at once would otherwise be asked for ever.
    const atOnce = advice === 'at once' && register && this.#failures === 0;
    const backoff = atOnce ? 0 : Math.min(backoffMaxMs, backoffMs * 2 ** this.#failures);
    const spread = code === 1001 && register ? register.reconnect_spread_ms : 0;
    this.#failures += 1;
    return random() * Math.max(backoff, spread);
  }

  #stopWaiting() {
    if (this.#retry) this.#options.clock.clearTimeout(this.#retry.timer);
    this.#retry = null;
  }

  #networkIsBack = () => {
    if (this.#retry) this.#attempt();
    // It may be another network, of which the old connection knows nothing.
    else if (this.#link?.register) this.#beat();
  };

  #visibilityChanged = () => { if (this.#link?.register) this.#beat(); };

  // Heartbeats. The server's pings, which browsers and `ws` answer by themselves, keep the connection; these beats are
  // there to notice that the server, or the way to it, is gone.

  #beat() {
    const link = this.#link, { clock, answerTimeoutMs, heartbeatMs = Infinity } = this.#options;
    link.overdue ??= this.#after(answerTimeoutMs, () => this.#ended(1006, 'no answer to a heartbeat'));
    link.beatenAt = clock.now();
    clock.clearTimeout(link.nextBeat);
    link.nextBeat = clock.setTimeout(() => this.#beat(), Math.min(link.heartbeat.interval_ms, heartbeatMs));
    this.#transmit({ type: 'heartbeat', background: pageIsHidden() });
  }

  #beatAnswered({ interval_ms, timeout_ms }) {
    this.#link.heartbeat = { interval_ms, timeout_ms };
    this.#roundTripMs = this.#now() - this.#link.beatenAt;
    this.#emit('heartbeat', { roundTripMs: this.#roundTripMs, intervalMs: interval_ms, timeoutMs: timeout_ms });
  }

  /**
   * Calls `expired` after `ms`, unless the function that it returns is called before. A timer that ran late proves
   * nothing, since what arrived meanwhile may wait behind it: then there is the whole time once more. Only once,
   * because in a throttled tab that timer is late too.
   */
  #after(ms, expired) {
    const { clock } = this.#options;
    let timer;
    const start = ifLate => {
      const due = clock.now() + ms;
      timer = clock.setTimeout(() => (clock.now() - due > LATE_MS ? ifLate() : expired()), ms);
    };
    start(() => start(expired));
    return () => clock.clearTimeout(timer);
  }

  #now() { return this.#options.clock.now(); }

  // What comes and goes.

  #receive(frame) {
    this.#link.overdue?.();
    this.#link.overdue = null;
    switch (frame.type) {
      case 'register': return this.#registered(frame);
      case 'heartbeat': return this.#beatAnswered(frame);
      case 'message': return this.#emit('message', frame);
      case 'ack': return void this.#settle(frame.id, request => request.resolve(frame));
      case 'presence': return this.#presenceCame(frame);
      case 'error': return this.#failed(frame);
      default: return this.#pushed(frame);
    }
  }

  #presenceCame(frame) {
    if (!this.#settle(frame.id, request => request.resolve(frame))) this.#emit('presence', frame.accounts);
  }

  #failed({ id, error: { code, reason, message } }) {
    const error = new HeartwireError(reason, message, code);
    if (!this.#settle(id, request => request.reject(error))) this.#emit('error', error);
  }

  #pushed(frame) {
    this.#emit('push', frame);
    if (!OWN_EVENTS.includes(frame.type)) this.#emit(frame.type, frame.content);
  }

  #settle(id, action) {
    const request = this.#link.unanswered.get(id);
    if (!request) return false;
    request.stop();
    action(request);
    return this.#link.unanswered.delete(id);
  }

  #transmit(frame) { this.#link.socket.send(JSON.stringify(frame)); }

  /** Sends with an id, once; resolves to the answer. */
  #ask(frame) {
    return new Promise((resolve, reject) => {
      const link = this.#link;
      if (!link?.register) throw new HeartwireError('offline', 'there is no connection: nothing was sent');
      const id = String(++this.#lastId);
      this.#transmit({ ...frame, id });
      const stop = this.#after(this.#options.answerTimeoutMs, () => {
        link.unanswered.delete(id);
        reject(new HeartwireError('timeout', 'no answer in time: perhaps done, perhaps not'));
      });
      link.unanswered.set(id, { resolve, reject, stop });
    });
  }

  /** Asks for what outlasts a connection: each one asks for it anew, until the server refuses it. */
  #wish(frame, giveUp) {
    const asked = this.#ask(frame).then(answer => answer.accounts, error => {
      if (error.code !== undefined) giveUp();
      if (error.code !== undefined || error.reason === 'timeout') this.#emit('error', error);
      throw error;
    });
    // Nobody has to wait for it: it is asked for again, or the event says that it is not.
    asked.catch(() => {});
    return asked;
  }

  #show(state) {
    this.#state = state;
    this.#emit('state', state);
  }

  #emit(type, detail) {
    for (const listener of [...this.#listeners.get(type) ?? []]) {
      // A fault of one listener is reported like any other, and is none of the connection's.
      try { listener(detail); } catch (error) { queueMicrotask(() => { throw error; }); }
    }
  }
}

function endpoint(address, { account, device, heartbeatMs }) {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  // Without Origin, as in Node, refusals would be HTTP responses, of which a WebSocket only tells 1006.
  const parameters = { user_id: account, device, heartbeat_ms: heartbeatMs, refuse: 'close' };
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value);
  return url;
}

/** A token that can be a subprotocol stays out of the URL, and so out of logs. */
function withToken(url, token) {
  const protocols = ['heartwire.v1'];
  if (!token) return { url: url.href, protocols };
  if (SUBPROTOCOL.test(token)) return { url: url.href, protocols: [...protocols, `bearer.${token}`] };
  const withQuery = new URL(url);
  withQuery.searchParams.set('token', token);
  return { url: withQuery.href, protocols };
}

/** Undefined, and so not sent, where there is no page. */
function pageIsHidden() { return globalThis.document && document.visibilityState === 'hidden'; }

/** What a close code says about coming back (docs/protocol.md, section 5). */
function adviceOf(code) {
  const range = Math.floor(code / 100);
  if (code === 1001 || range === 42) return 'at once';
  // 1005 and 1012 to 1015 are words of proxies in front of the server, or of the WebSocket itself.
  if ([1005, 1006, 1011, 1012, 1013, 1014, 1015].includes(code) || range === 41) return 'back off';
  return 'never';
}
