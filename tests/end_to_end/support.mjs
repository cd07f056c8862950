// The binary on a free port, clients that wait with a bound, and the end of both whatever happens.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';

/** Longer than anything here takes on the slowest machine. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;
const LOG_LINES_SHOWN = 20;
export const BINARY = process.env.HEARTWIRE_BINARY
  ?? fileURLToPath(new URL('../../target/release/heartwire', import.meta.url));

const children = new Set();
let servers = [], endings = [];

process.on('exit', () => children.forEach(child => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export async function within(promise, what, bound = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), bound);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function eventually(condition, what) {
  const poll = async () => { while (!await condition()) await delay(POLL_MS); };
  return within(poll(), what);
}

export function seconds(ms) { return `${(ms / 1000).toFixed(1)} s`; }

/** What the servers of the current test wrote last. */
export function logs() { return servers.flatMap(server => server.log.slice(-LOG_LINES_SHOWN)); }

/** Has `ending` called when the current test is over, after those that were added later. */
export function afterwards(ending) { endings.unshift(ending); }

export async function cleanUp() {
  for (const ending of endings) await ending();
  [servers, endings] = [[], []];
}

/** A process that does not outlive its test. `exited` resolves to its exit code, null if a signal ended it. */
export function start(command, args, options) {
  const child = spawn(command, args, options);
  const exited = new Promise((resolve, reject) => child.once('exit', resolve).once('error', reject));
  // Whoever waits for it hears of the failure too.
  exited.catch(() => {}).finally(() => children.delete(child));
  children.add(child);
  afterwards(() => child.kill('SIGKILL'));
  return { child, exited };
}

/** A server; `admin` is the address of its HTTP interface, where it has one. */
export async function serve(flags = [], listen = '127.0.0.1:0', adminListen = 'off') {
  const env = { ...process.env, RUST_LOG: 'info' };
  const { child, exited } = start(BINARY, ['serve', '--listen', listen, '--admin-listen', adminListen, ...flags], {
    env, stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log = [], lines = createInterface(child.stderr).on('line', line => log.push(line));
  servers.push({ log });
  const died = exited.then(code => { throw new Error(`the server ended with ${code} before it listened`); });
  const [first] = await within(Promise.race([once(lines, 'line'), died]), 'the first line of the log');
  const [, address] = first.match(/listening on (127\.0\.0\.1:\d+):/) ?? assert.fail(`no address in ${first}`);
  let admin = null;
  if (adminListen !== 'off') {
    const find = () => { [, admin] = log.join('\n').match(/HTTP API on (127\.0\.0\.1:\d+):/) ?? []; return admin; };
    await eventually(find, 'the address of the HTTP interface');
  }
  return { address, admin, exited, kill: signal => child.kill(signal) };
}

/** A client of whatever make. What it receives waits, in order, until it is asked for. */
export class Peer extends EventEmitter {
  #inbox = [];
  #close = null;

  constructor(name, transcript = () => {}) {
    super();
    Object.assign(this, { name, transcript });
  }

  arrived(text) {
    this.#inbox.push(text);
    this.emit('change');
  }

  ended(close) {
    this.#close = close;
    this.emit('change');
  }

  send(frame, { binary = false } = {}) {
    const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
    this.transcript(`${this.name} > ${text}${binary ? '   (binary)' : ''}`);
    this.transmit(text, binary);
  }

  async next() {
    await this.#until(() => this.#inbox.length > 0 || this.#close, 'a frame');
    assert(this.#inbox.length > 0, `${this.name} was closed: ${JSON.stringify(this.#close)}`);
    const text = this.#inbox.shift();
    this.transcript(`${this.name} < ${text}`);
    return JSON.parse(text);
  }

  /** Sends with an id, and returns the next frame, which must be the answer. */
  async ask(frame, id = 'asked') {
    this.send({ ...frame, id });
    const answer = await this.next();
    assert.equal(answer.id, id, JSON.stringify(answer));
    return answer;
  }

  /** How the connection ended: `{ code, reason }`. */
  async closed() {
    await this.#until(() => this.#close, 'the end of the connection');
    return this.#close;
  }

  #until(condition, what) {
    const wait = async () => { while (!condition()) await once(this, 'change'); };
    return within(wait(), `${what} at ${this.name}`);
  }
}

/** A client on `ws`, the WebSocket library of Node. */
export class Client extends Peer {
  static async connect(server, account, { transcript, ...options } = {}) {
    const client = new Client(account, transcript);
    client.socket = new WebSocket(`ws://${server.address}/ws?user_id=${account}`, options)
      .on('message', data => client.arrived(String(data)))
      .on('error', error => client.ended({ error: String(error) }))
      .on('close', (code, reason) => client.ended({ code, reason: String(reason) }));
    afterwards(() => client.socket.terminate());
    client.register = await client.next();
    assert.equal(client.register.type, 'register');
    return client;
  }

  transmit(text, binary) { this.socket.send(binary ? Buffer.from(text) : text); }

  leave() {
    this.socket.close(1000);
    return this.closed();
  }
}
