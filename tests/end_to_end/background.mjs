// web/heartwire.js in a tab that nobody looks at, whose timers run once a minute: it stays connected, it comes back
// after the server died, and it stays away where it was told to.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { WebSocketServer } from 'ws';
import { Client, afterwards, eventually, seconds, serve, start, within } from './support.mjs';

const BACKGROUND_MS = 180_000;
const BACK_WITHIN_MS = 10_000;
export const BOUND_MS = BACKGROUND_MS + 120_000;

const TICK_MS = 1_000;
/** Ticks in the background: it takes 10 s until they are throttled to one a minute. */
const MAX_TICKS = 30;
/** Browsers wait for some minutes before they throttle a hidden tab like this. */
const THROTTLE_SOON = '--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/10';
const ARGUMENTS = ['--headless=new', '--remote-debugging-port=0', '--no-sandbox', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', THROTTLE_SOON, 'about:blank'];

export default async function background() {
  const server = await serve(['--heartbeat-timeout', '60s']);
  const context = await browse();
  const page = await open(context, server), said = frames(page);
  const refusals = await refuse();
  for (const code of refusals.codes) await connect(page, `ws://127.0.0.1:${refusals.port}/${code}`, `after ${code}`);
  await connect(page, '/ws', 'alice');
  await eventually(async () => (await seen(page, 'alice')).state === 'online', 'the connection of the page');

  assert(said.some(({ background }) => background === false), 'the beats of a visible page do not say so');
  await hide(context, page);
  await eventually(() => said.at(-1).background === true, 'a beat that tells that the page is hidden');
  const [before, started] = [await seen(page, 'alice'), performance.now()];
  await delay(BACKGROUND_MS);
  const after = await seen(page, 'alice');
  const ticks = after.ticks - before.ticks, beats = after.beats - before.beats;
  console.log(`${seconds(performance.now() - started)} in the background: ${ticks} ticks of a timer of ${TICK_MS} ms, \
${beats} heartbeats, ${after.closes.length} closes`);
  assert.equal(after.visibility, 'hidden');
  assert(ticks <= MAX_TICKS, 'the timers of the tab were not throttled');
  assert(beats > 0);
  assert.deepEqual([after.state, after.connection, after.closes], ['online', before.connection, []]);
  await isReached(page, server, 'still here?');

  await comesBack(page, server);
  assert.deepEqual(await seen(page, 'after 4500').then(({ state, closes }) => [state, closes]),
    ['closed', [{ code: 4500, reason: 'go', retryInMs: null }]]);
  assert.equal(refusals.counts.get('/4500'), 1);
  assert(refusals.counts.get('/4100') > 1, 'not even one who may come back did');
}

/** A browser as a user has it: what Playwright starts itself takes every tab for the visible one. */
async function browse() {
  const profile = await mkdtemp(join(tmpdir(), 'heartwire-'));
  afterwards(() => rm(profile, { recursive: true, force: true, maxRetries: 10 }));
  const { child, exited } = start('/usr/bin/chromium', [...ARGUMENTS, `--user-data-dir=${profile}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  afterwards(() => { child.kill('SIGKILL'); return exited; });
  const endpoint = new Promise(resolve => {
    createInterface(child.stderr).on('line', line => {
      const [, url] = line.match(/DevTools listening on (\S+)/) ?? [];
      if (url) resolve(url);
    });
  });
  const browser = await chromium.connectOverCDP(await within(endpoint, 'the browser'), { noDefaults: true });
  const [context] = browser.contexts();
  context.setDefaultTimeout(60_000);
  return context;
}

/** A page of the server's origin that does nothing by itself, and may load the client that the server serves. */
async function open(context, { address }) {
  const page = await context.newPage();
  // The page at `/` permits no other scripts than its own; the text of a 404 has no such policy.
  await page.goto(`http://${address}/nothing`);
  await page.evaluate(async tickMs => {
    const { Heartwire } = await import('/heartwire.js');
    Object.assign(window, { Heartwire, ticks: 0, clients: new Map() });
    setInterval(() => { window.ticks += 1; }, tickMs);
  }, TICK_MS);
  return page;
}

/** What the page sends from now on, as it comes. */
function frames(page) {
  const sent = [];
  page.on('websocket', socket => socket.on('framesent', ({ payload }) => sent.push(JSON.parse(payload))));
  return sent;
}

function connect(page, url, account) {
  return page.evaluate(([url, account]) => {
    const client = new window.Heartwire(url, { account });
    const log = { client, closes: [], beats: 0, messages: [] };
    window.clients.set(account, log);
    client.on('close', close => log.closes.push(close));
    client.on('heartbeat', () => { log.beats += 1; });
    client.on('message', ({ content }) => log.messages.push(content));
    client.connect();
  }, [url, account]);
}

function seen(page, account) {
  return page.evaluate(account => {
    const { client: { state, connection }, closes, beats, messages } = window.clients.get(account);
    return { state, connection, closes, beats, messages, ticks: window.ticks, visibility: document.visibilityState };
  }, account);
}

async function hide(context, page) {
  const other = await context.newPage();
  await other.bringToFront();
  await eventually(() => page.evaluate(() => document.visibilityState === 'hidden'), 'the background');
}

async function isReached(page, server, text) {
  const bob = await Client.connect(server, 'bob');
  assert.equal((await bob.ask({ type: 'message', to: ['alice'], content: text })).delivered, 1);
  await eventually(async () => (await seen(page, 'alice')).messages.includes(text), `the page to read ${text}`);
}

async function comesBack(page, server) {
  server.kill('SIGKILL');
  await server.exited;
  await eventually(async () => (await seen(page, 'alice')).state !== 'online', 'the loss of the connection');
  const again = await serve([], server.address);
  const started = performance.now();
  await eventually(async () => (await seen(page, 'alice')).state === 'online', 'the return of the page');
  const took = performance.now() - started;
  console.log(`back ${seconds(took)} after the restart, still in the background`);
  assert(took <= BACK_WITHIN_MS, `the page was back only after ${seconds(took)}`);
  assert.equal((await seen(page, 'alice')).visibility, 'hidden');
  await isReached(page, again, 'back again?');
}

/** A server that closes each connection with the code that is its path. */
async function refuse() {
  const codes = [4500, 4100], counts = new Map();
  const listener = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  afterwards(() => { listener.clients.forEach(socket => socket.terminate()); listener.close(); });
  await once(listener, 'listening');
  listener.on('connection', (socket, { url }) => {
    const { pathname } = new URL(url, 'ws://localhost');
    counts.set(pathname, (counts.get(pathname) ?? 0) + 1);
    socket.close(Number(pathname.slice(1)), 'go');
  });
  return { codes, counts, port: listener.address().port };
}
