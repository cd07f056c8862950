// web/heartwire.js in Node: with the server, with servers that misbehave, and by a clock of the test's own.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import WebSocket, { WebSocketServer } from 'ws';
import { Heartwire } from '../../web/heartwire.js';
import { afterwards, eventually, serve, within } from './support.mjs';

export default async function jsClient() {
  await Promise.all([
    twoClientsTalk(),
    wishesOutlastTheServer(),
    whoWasReplacedStaysAway(),
    aRefusedClientStaysAway(),
    aSilentServerIsNoticed(),
    anUnreachableServerIsTriedAgain(),
  ]);
  closeCodesSayWhenToComeBack();
  shortConnectionsBackOff();
  backOffHasBounds();
  theNetworksReturnIsNotWaitedFor();
  aLateTimerCondemnsNobody();
  beatsKeepAPromise();
  beatsTellWhetherThePageIsHidden();
  await noTimeIsTooLong();
  whatWasGivenUpIsNotHeard();
  await answersAreNotAwaitedForEver();
  await wishesEndWithARefusal();
  await eachAttemptHasItsToken();
  await tokensAreRenewedInTime();
  await afterAnExpiryAnotherTokenIsTried();
  assert.throws(() => new Heartwire('ws://localhost/ws', { WebSocket: undefined }), /option WebSocket/);
}

// With the server.

function connect(server, account, options = {}) {
  const client = new Heartwire(`ws://${server.address}/ws`, { account, WebSocket, ...options });
  client.closes = [];
  client.messages = [];
  client.on('close', close => client.closes.push(close));
  client.on('message', message => client.messages.push(message));
  afterwards(() => client.close());
  client.connect();
  return client;
}

async function connected(server, account, options) {
  const client = connect(server, account, options);
  await within(client.ready(), `the connection of ${account}`);
  return client;
}

function event(client, type, matches = () => true) {
  const came = new Promise(resolve => {
    const off = client.on(type, detail => {
      if (!matches(detail)) return;
      off();
      resolve(detail);
    });
  });
  return within(came, `the event ${type}`);
}

async function twoClientsTalk() {
  const server = await serve();
  const [alice, bob] = [await connected(server, 'alice', { device: 'a & b' }), await connected(server, 'bob')];
  assert.deepEqual([alice.account, bob.account], ['alice', 'bob']);
  assert.notEqual(alice.connection, bob.connection);
  assert.deepEqual(await alice.send({ to: 'bob' }, { text: 'hi' }), { delivered: 1 });
  assert.deepEqual(await bob.send({ to: ['alice', 'nobody'] }, null), { delivered: 1 });
  assert.deepEqual(await bob.send({ to: ['nobody'] }, 0), { delivered: 0 });
  await eventually(() => alice.messages.length > 0 && bob.messages.length > 0, 'both messages');
  assert.deepEqual([bob.messages[0].from, bob.messages[0].content], ['alice', { text: 'hi' }]);
  assert.deepEqual([alice.messages[0].from, alice.messages[0].content], ['bob', null]);

  await assert.rejects(alice.send({ room: 'garden' }, 1), { name: 'HeartwireError', code: 103 });
  await assert.rejects(alice.broadcast('all'), { code: 108, reason: 'not_available' });
  const [, refusal] = await Promise.all([assert.rejects(alice.join(''), { code: 107 }), event(alice, 'error')]);
  assert.equal(refusal.code, 107);
  await alice.join('garden');
  await alice.leave('garden');
  await assert.rejects(alice.send({ room: 'garden' }, 1), { code: 103 });
  assert.deepEqual(await bob.presence(['alice']), [{ account: 'alice', online: true, connections: 1 }]);
  await eventually(() => alice.roundTripMs > 0, 'a round trip');

  alice.close();
  assert.equal(alice.state, 'closed');
  await assert.rejects(alice.send({ to: 'bob' }, 1), { reason: 'offline' });
  await assert.rejects(alice.ready(), { reason: 'offline' });
}

async function wishesOutlastTheServer() {
  const server = await serve();
  const [alice, bob] = [await connected(server, 'alice'), await connected(server, 'bob')];
  for (const client of [alice, bob]) await client.join('garden');
  await bob.join('left again');
  await bob.leave('left again');
  await alice.presence(['bob', 'carol'], { watch: true });
  await alice.presence(['dora'], { watch: true });
  await alice.presence(['dora'], { watch: false });

  const lost = alice.send({ to: ['bob'] }, 'x'.repeat(1_000)).catch(error => error);
  server.kill('SIGKILL');
  await server.exited;
  for (const client of [alice, bob]) await eventually(() => client.state !== 'online', 'the loss of the connection');
  // The ack was there before the end, or it never comes: neither is an answer to something sent again.
  assert([undefined, 'connection_lost'].includes((await within(lost, 'the fate of a message')).reason));
  await assert.rejects(alice.send({ to: ['bob'] }, 'offline'), { reason: 'offline' });
  const joinedOffline = alice.join('lobby');
  await assert.rejects(joinedOffline, { reason: 'offline' });
  bob.messages.length = 0;

  const renewed = event(alice, 'presence', accounts => accounts.length === 2);
  await serve([], server.address);
  await within(Promise.all([alice.ready(), bob.ready()]), 'the return of both');
  assert.deepEqual((await renewed).map(({ account }) => account), ['bob', 'carol']);
  assert.deepEqual(alice.closes.map(({ code }) => code).slice(0, 1), [1006]);
  await eventually(async () => (await alice.send({ room: 'garden' }, 'back?')).delivered === 1, 'the room');
  await alice.send({ room: 'lobby' }, 'joined while offline');
  await assert.rejects(bob.send({ room: 'left again' }, 1), { code: 103 });
  const [arrival, dora] = [event(alice, 'presence', news), connected({ address: server.address }, 'dora')];
  await dora;
  await connected({ address: server.address }, 'carol');
  assert.deepEqual((await arrival).map(({ account }) => account), ['carol']);
  assert(!bob.messages.some(({ content }) => content === 'offline'), 'what was refused offline was sent later');
}

/** One account that came; bob's own return may be told before or after the answer to the renewed watch. */
function news(accounts) { return accounts.length === 1 && accounts[0].account !== 'bob'; }

async function whoWasReplacedStaysAway() {
  const server = await serve(['--single', 'replace']);
  const older = await connected(server, 'alice');
  const ended = event(older, 'close');
  const newer = await connected(server, 'alice');
  const { code, reason, retryInMs } = await ended;
  assert.deepEqual([code, retryInMs, older.state, older.retryInMs], [4505, null, 'closed', null]);
  assert.match(reason, /^replaced/);
  const replaced = event(newer, 'close');
  older.connect();
  await within(older.ready(), 'the return by connect()');
  assert.equal((await replaced).code, 4505);
}

/** Without Origin the refusal comes as a close code only because the client asks for it. */
async function aRefusedClientStaysAway() {
  const server = await serve(['--single', 'refuse']);
  await connected(server, 'alice');
  const limited = connect(server, 'alice');
  const { code, retryInMs } = await event(limited, 'close');
  assert.equal(code, 4103);
  assert(retryInMs >= 0 && limited.state === 'waiting');
  const nameless = connect(server, undefined);
  assert.equal((await event(nameless, 'close')).code, 4501);
  assert.equal(nameless.state, 'closed');
  await assert.rejects(nameless.ready(), { reason: 'offline' });
}

async function aSilentServerIsNoticed() {
  const silent = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false });
  afterwards(() => { silent.clients.forEach(socket => socket.terminate()); silent.close(); });
  await once(silent, 'listening');
  silent.on('connection', socket => socket.send(JSON.stringify(register({ interval_ms: 50 }))));
  const client = connect({ address: `127.0.0.1:${silent.address().port}` }, 'alice', { answerTimeoutMs: 500 });
  const { code, reason, retryInMs } = await event(client, 'close');
  assert.deepEqual([code, reason], [1006, 'no answer to a heartbeat']);
  assert(retryInMs >= 0);
}

async function anUnreachableServerIsTriedAgain() {
  const server = await serve();
  server.kill('SIGKILL');
  await server.exited;
  const client = connect(server, 'alice', { backoffMs: 1 });
  assert.equal((await event(client, 'close')).code, 1006);
  await serve([], server.address);
  await within(client.ready(), 'the server that was not there at first');
}

// By the test's own clock.

function register({ interval_ms = 25_000, spread = 5_000 } = {}) {
  const heartbeat = { interval_ms, timeout_ms: 60_000 };
  return { type: 'register', connection: 'c-1', account: 'alice', heartbeat, reconnect_spread_ms: spread };
}

/** A client whose time, chance and sockets are the test's. Chance always says 1/2. */
class World {
  sockets = [];
  #now = 0;
  #timers = new Map();
  #lastTimer = 0;

  constructor(options = {}) {
    const { sockets } = this;
    this.client = new Heartwire('ws://localhost/ws?x=1', {
      account: 'alice',
      random: () => 0.5,
      clock: {
        now: () => this.#now,
        setTimeout: (call, ms) => {
          this.#timers.set(++this.#lastTimer, { call, due: this.#now + ms });
          return this.#lastTimer;
        },
        clearTimeout: timer => this.#timers.delete(timer),
      },
      WebSocket: class {
        sent = [];
        constructor(url, protocols) {
          Object.assign(this, { url: new URL(url), protocols });
          sockets.push(this);
        }
        send(text) { this.sent.push(JSON.parse(text)); }
        close(code) { this.closed = code; }
      },
      ...options,
    });
    this.client.on('close', close => { this.close = close; });
    this.client.connect();
  }

  get socket() { return this.sockets.at(-1); }
  get timers() { return this.#timers.size; }

  /** What was sent on the current connection, without heartbeats and ids. */
  get asked() {
    return this.socket.sent.filter(({ type }) => type !== 'heartbeat').map(({ id, ...frame }) => frame);
  }

  says(frame) { this.socket.onmessage({ data: JSON.stringify(frame) }); }

  registered(options, more = {}) {
    this.says({ ...register(options), ...more });
    assert.equal(this.client.state, 'online');
  }

  /** The server ends the connection; how long the client then waits, null for ever. */
  ends(code) {
    this.socket.onclose({ code, reason: '' });
    assert.deepEqual([this.close.code, this.close.retryInMs], [code, this.client.retryInMs]);
    assert.equal(this.client.state, this.close.retryInMs === null ? 'closed' : 'waiting');
    if (this.client.state === 'closed') assert.equal(this.timers, 0, `timers are left after ${code}`);
    return this.close.retryInMs;
  }

  /** Time passes, and every timer runs when it is due, or `late` after that. */
  pass(ms, late = 0) {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#timers].sort(([, a], [, b]) => a.due - b.due)[0];
      if (!next || next[1].due + late > end) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].due + late);
      next[1].call();
    }
    this.#now = end;
  }
}

function closeCodesSayWhenToComeBack() {
  const firstBackOff = 500, partOfSpread = 2_500;
  const table = [
    [firstBackOff, [1005, 1006, 1011, 1012, 1013, 1014, 1015, 4100, 4101, 4102, 4103, 4104, 4199]],
    [0, [4200, 4201, 4202, 4299]],
    [partOfSpread, [1001]],
    [null, [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4099, 4300, 4500, 4501, 4503, 4505, 4599, 4999]],
  ];
  for (const [delay, codes] of table) {
    for (const code of codes) {
      const online = new World();
      online.registered();
      assert.equal(online.ends(code), delay, `${code} after register`);
      online.pass(100_000);
      const attempts = delay === null ? 1 : 2 + attemptsIn(100_000 - delay);
      assert.equal(online.sockets.length, attempts, `attempts after ${code}`);
      const refused = new World();
      assert.equal(refused.ends(code), delay === null ? null : firstBackOff, `${code} before register`);
    }
  }
}

/** How many more attempts there are in this time after one that nobody answers: each takes 10 s, then it waits. */
function attemptsIn(ms, failures = 1) {
  const rest = ms - 10_000 - Math.min(30_000, 1_000 * 2 ** failures) / 2;
  return rest < 0 ? 0 : 1 + attemptsIn(rest, failures + 1);
}

function shortConnectionsBackOff() {
  for (const [code, delays] of [[4201, [0, 1_000, 2_000, 4_000]], [1001, [2_500, 2_500, 2_500, 4_000]]]) {
    const world = new World();
    for (const delay of delays) {
      world.registered();
      assert.equal(world.ends(code), delay, `${code}, again and again`);
      world.pass(delay);
    }
    world.registered();
    world.pass(9_999);
    world.says({ type: 'heartbeat', interval_ms: 25_000, timeout_ms: 60_000 });
    assert.equal(world.ends(code), 8_000, 'that was not stable yet');
    world.pass(8_000);
    world.registered();
    world.says({ type: 'heartbeat', interval_ms: 25_000, timeout_ms: 60_000 });
    world.pass(10_000);
    assert.equal(world.ends(code), delays[0], 'a stable connection makes good');
  }
}

function backOffHasBounds() {
  for (const part of [0, 0.5, 0.75]) {
    const world = new World({ random: () => part, backoffMs: 100, backoffMaxMs: 1_000 });
    // Doubled more often than a number can be.
    for (const bound of [100, 200, 400, 800, ...Array(1_200).fill(1_000)]) {
      assert.equal(world.ends(1006), bound * part);
      world.pass(bound * part);
    }
    world.ends(4102);
    world.client.connect();
    assert.equal(world.ends(1006), 100 * part, 'connect() begins anew');
  }
}

function theNetworksReturnIsNotWaitedFor() {
  const network = new EventTarget(), listeners = new Set();
  globalThis.addEventListener = (type, listener) => {
    listeners.add(listener);
    network.addEventListener(type, listener);
  };
  globalThis.removeEventListener = (type, listener) => {
    listeners.delete(listener);
    network.removeEventListener(type, listener);
  };
  try {
    const world = new World();
    world.ends(1006);
    network.dispatchEvent(new Event('online'));
    assert.deepEqual([world.sockets.length, world.client.state], [2, 'connecting']);
    world.registered();
    network.dispatchEvent(new Event('online'));
    assert.equal(world.socket.sent.length, 2, 'the connection is tried with a beat');
    world.ends(4500);
    network.dispatchEvent(new Event('online'));
    assert.deepEqual([world.sockets.length, world.client.state, listeners.size], [2, 'closed', 0]);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
}

function aLateTimerCondemnsNobody() {
  const beat = { type: 'heartbeat', interval_ms: 25_000, timeout_ms: 60_000 };
  const punctual = new World();
  punctual.registered();
  punctual.pass(9_999);
  assert.equal(punctual.client.state, 'online');
  punctual.pass(1);
  assert.deepEqual([punctual.client.state, punctual.close.code], ['waiting', 1006]);

  // Throttled to once a minute: the answer arrived long ago, and is only read after the timer ran.
  const throttled = new World();
  throttled.registered();
  for (let minute = 0; minute < 10; minute += 1) {
    throttled.pass(60_000, 50_000);
    assert.equal(throttled.client.state, 'online', `minute ${minute}`);
    throttled.says(beat);
  }
  // Nothing at all arrives any more: the next beat, the timer after it, and the chance after that are each late.
  throttled.pass(200_000, 50_000);
  assert.equal(throttled.close?.reason, 'no answer to a heartbeat');

  // A message is as good as an answer, and the round trip is that of a beat.
  const talked = new World();
  talked.registered();
  talked.pass(40);
  talked.says(beat);
  assert.equal(talked.client.roundTripMs, 40);
  talked.pass(34_000);
  talked.says({ type: 'message', id: 'm', from: 'bob', time: 0, content: 1 });
  talked.pass(9_000);
  assert.equal(talked.client.state, 'online');

  const unopened = new World();
  unopened.pass(60_000, 50_000);
  assert.equal(unopened.client.state, 'connecting');
  unopened.registered();
}

function beatsKeepAPromise() {
  const world = new World({ heartbeatMs: 1_000, answerTimeoutMs: 60_000 });
  assert.equal(world.socket.url.searchParams.get('heartbeat_ms'), '1000');
  world.registered();
  world.pass(5_500);
  assert.equal(world.socket.sent.length, 6);
}

function beatsTellWhetherThePageIsHidden() {
  const page = new EventTarget(), listeners = new Set();
  globalThis.document = {
    visibilityState: 'hidden',
    addEventListener(type, listener) { listeners.add(listener); page.addEventListener(type, listener); },
    removeEventListener(type, listener) { listeners.delete(listener); page.removeEventListener(type, listener); },
  };
  const turns = visibilityState => {
    document.visibilityState = visibilityState;
    page.dispatchEvent(new Event('visibilitychange'));
  };
  try {
    const world = new World(), said = () => world.socket.sent.map(({ type, background }) => [type, background]);
    turns('visible');
    assert.deepEqual(said(), [], 'nothing is sent before the connection is registered');
    turns('hidden');
    world.registered();
    assert.deepEqual(said(), [['heartbeat', true]]);
    turns('visible');
    assert.deepEqual(said(), [['heartbeat', true], ['heartbeat', false]], 'at once');
    world.says({ type: 'heartbeat', interval_ms: 25_000, timeout_ms: 60_000 });
    world.pass(25_000);
    assert.deepEqual(said().at(-1), ['heartbeat', false], 'each beat says it');
    world.ends(4201);
    turns('hidden');
    assert.equal(world.sockets.length, 1, 'only the server and the user say when to come back');
    world.client.close();
    assert.equal(listeners.size, 0);
  } finally {
    delete globalThis.document;
  }
}

/** By the real clock, whose timers run at once where they were set for more than 31 bits of ms. */
async function noTimeIsTooLong() {
  const sent = [];
  let socket;
  const client = new Heartwire('ws://localhost/ws', {
    connectTimeoutMs: Infinity,
    WebSocket: class {
      constructor() { socket = this; }
      send(text) { sent.push(text); }
      close() {}
    },
  });
  client.connect();
  await delay(50);
  assert.equal(client.state, 'connecting');
  socket.onmessage({ data: JSON.stringify(register({ interval_ms: 2 ** 31 })) });
  await delay(50);
  assert.deepEqual([client.state, sent.length], ['online', 1]);
  client.close();
}

function whatWasGivenUpIsNotHeard() {
  const world = new World();
  world.registered();
  world.pass(10_000);
  assert.deepEqual([world.close.reason, world.socket.closed], ['no answer to a heartbeat', 1_000]);
  const [old] = world.sockets;
  world.pass(500);
  old.onclose({ code: 4500, reason: 'late' });
  old.onmessage({ data: JSON.stringify(register()) });
  assert.equal(world.client.state, 'connecting');
}

async function wishesEndWithARefusal() {
  const world = new World(), errors = [], { client } = world;
  client.on('error', error => errors.push(error.reason));
  const many = Array.from({ length: 300 }, (_, number) => `account ${number}`);
  // Nobody waits for these, so nobody may be troubled by their failure either.
  client.join('lobby');
  client.join('forbidden');
  client.join('left');
  await client.leave('left');
  client.presence(many, { watch: true });
  world.registered();
  const rooms = ['lobby', 'forbidden'].map(room => ({ type: 'join', room }));
  const watches = [many.slice(0, 256), many.slice(256)].map(accounts => ({ type: 'presence', accounts, watch: true }));
  assert.deepEqual(world.asked, [...rooms, ...watches]);
  const refused = world.socket.sent.find(({ room }) => room === 'forbidden').id;
  world.says({ type: 'error', id: refused, error: { code: 103, reason: 'permission_denied', message: '' } });
  await eventually(() => errors.length > 0, 'the error');
  world.ends(4201);
  world.pass(0);
  world.registered();
  assert.deepEqual(world.asked, [rooms[0], ...watches]);
  world.pass(9_000);
  world.says({ type: 'message', id: 'm', from: 'bob', time: 0, content: 1 });
  world.pass(1_000);
  await eventually(() => errors.length > 1, 'the end of patience');
  assert.deepEqual(errors, ['permission_denied', 'timeout', 'timeout', 'timeout']);
  assert.equal(client.state, 'online');
}

async function answersAreNotAwaitedForEver() {
  const world = new World();
  world.registered();
  const sent = world.client.send({ to: 'bob' }, 1);
  world.pass(9_000);
  world.says({ type: 'presence', accounts: [] });
  world.pass(1_000);
  await assert.rejects(sent, { reason: 'timeout' });
  const [, message] = world.socket.sent;
  const late = event(world.client, 'error');
  world.says({ type: 'error', id: message.id, error: { code: 106, reason: 'limit_exceeded', message: '' } });
  assert.equal((await late).code, 106, 'the answer that came too late');

  const lost = world.client.send({ to: 'bob' }, 2);
  world.ends(4101);
  await assert.rejects(lost, { reason: 'connection_lost' });
  world.pass(500);
  world.registered();
  assert.deepEqual(world.socket.sent, [{ type: 'heartbeat' }], 'nothing is sent again');

  const pushes = [];
  for (const type of ['push', 'state', 'order']) world.client.on(type, detail => pushes.push([type, detail]));
  world.says({ type: 'order', content: 17 });
  world.says({ type: 'state', content: 'not this client\'s' });
  const [order, state] = [{ type: 'order', content: 17 }, { type: 'state', content: 'not this client\'s' }];
  assert.deepEqual(pushes, [['push', order], ['order', 17], ['push', state]]);

  const last = world.client.send({ to: 'bob' }, 3);
  world.ends(4500);
  await assert.rejects(last, { reason: 'connection_lost' });
}

async function eachAttemptHasItsToken() {
  const tokens = ['first.token-1', 'second/token='];
  const next = async () => tokens.shift() ?? Promise.reject(new Error('logged out'));
  const world = new World({ token: next, device: 'd' });
  await eventually(() => world.sockets.length === 1, 'the first attempt');
  assert.equal(world.socket.url.search, '?x=1&user_id=alice&device=d&refuse=close');
  assert.deepEqual(world.socket.protocols, ['heartwire.v1', 'bearer.first.token-1']);
  world.ends(1006);
  world.pass(500);
  await eventually(() => world.sockets.length === 2, 'the second attempt');
  assert.equal(world.socket.url.searchParams.get('token'), 'second/token=');
  assert.deepEqual(world.socket.protocols, ['heartwire.v1']);
  world.ends(1006);
  world.pass(1_000);
  await eventually(() => world.client.state === 'waiting', 'the failure of the third');
  assert.match(world.close.reason, /logged out/);
  world.client.connect();
  world.client.close();
  assert.deepEqual([world.client.state, world.timers], ['closed', 0]);

  let token;
  const closed = new World({ token: () => new Promise(resolve => { token = resolve; }) });
  closed.client.close();
  token('too late');
  await nextTurn();
  assert.deepEqual([closed.client.state, closed.sockets.length], ['closed', 0]);
}

async function tokensAreRenewedInTime() {
  const tokens = ['first', 'second', null, 'third'], errors = [];
  const next = async () => tokens.shift() ?? Promise.reject(new Error('not now'));
  const world = new World({ token: next, answerTimeoutMs: 60_000 });
  world.client.on('error', error => errors.push(error.message));
  await eventually(() => world.sockets.length === 1, 'the attempt');
  world.registered({}, { expires_in_ms: 20_000 });
  const renewals = () => world.socket.sent.filter(({ type }) => type === 'token');
  world.pass(15_999);
  assert.equal(renewals().length, 0);
  world.pass(1);
  await eventually(() => renewals().length === 1, 'the renewal');
  assert.equal(renewals()[0].token, 'second');
  world.says({ type: 'ack', id: renewals()[0].id, delivered: 0, expires_in_ms: 10_000 });
  await nextTurn();
  world.pass(8_000);
  await eventually(() => errors.length === 1, 'the failure of the next');
  assert.deepEqual(errors, ['not now']);
  world.pass(1_600);
  await eventually(() => renewals().length === 2, 'another try before the end');
  world.says({ type: 'ack', id: renewals()[1].id, delivered: 0 });
  await nextTurn();
  world.client.close();
  assert.deepEqual([renewals()[1].token, world.timers], ['third', 0]);
}

/** Whoever makes the tokens may have been away for too long, and does not stay away for ever. */
async function afterAnExpiryAnotherTokenIsTried() {
  const world = new World({ token: async () => 'any' });
  const attempts = count => eventually(() => world.sockets.length === count, `attempt ${count}`);
  await attempts(1);
  world.registered({}, { expires_in_ms: 20_000 });
  world.ends(4500);
  assert.equal(world.client.state, 'waiting');
  world.pass(1_000);
  await attempts(2);
  world.ends(4500);
  assert.equal(world.client.state, 'closed', 'the new token was refused');

  const constant = new World({ token: 'any' });
  constant.registered({}, { expires_in_ms: 20_000 });
  constant.ends(4500);
  assert.equal(constant.client.state, 'closed');
}
