// The page at `/` in a real browser: tabs talk, nothing is complained about, everybody can use it, it comes back after
// the server died, and it says in words why it does not.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { launch } from './chromium.mjs';
import { accessible, fits, portraits } from './looks.mjs';
import { BINARY, Client, afterwards, serve } from './support.mjs';

export const BOUND_MS = 300_000;
/** Page loads, contexts and portraits take long where two cores run everything; only one that fails takes this. */
const PATIENCE_MS = 60_000;

export default async function browser() {
  const chromium = await launch();
  const server = await serve(['--heartbeat-interval', '500ms', '--burst', '1000']);
  const tabs = await Tabs.open(chromium, server);
  await aNewcomerTalksToASecondTab(tabs);
  await theKeyboardIsEnough(tabs);
  const [alice, bob] = [await tabs.add('#alice'), await tabs.add('#bob')];
  await namedTabsTalk(alice, bob);
  await roomsAreEnteredAndLeft(alice, bob);
  await presenceIsSeen(tabs, alice);
  await aPageIsBounded(tabs, server);
  await itLooksGood(chromium, server);
  tabs.saidNothing();
  await theServersDeathIsOutlived(server, alice, bob);
  // That the server was away, the browser says by itself.
  tabs.saidNothing(/^WebSocket connection to .* failed/);
  await whoWasReplacedIsTold(chromium);
  await tokensLetIn(chromium);
  await endingsAreToldInWords(chromium, server);
}

async function aNewcomerTalksToASecondTab(tabs) {
  const one = await tabs.add();
  await accessible(one.page, 'the page before anything');
  await one.page.click('#connect');
  await one.online();
  await accessible(one.page, 'the page of a newcomer');
  const opened = tabs.context.waitForEvent('page');
  await one.page.click('#welcome .second-tab');
  const two = tabs.watch(await opened);
  await two.online();
  await one.write('hello, second tab');
  await two.shows('hello, second tab');
  await one.shows('Delivered to 1 connection');
  await two.write('hello back');
  await one.shows('hello back');
  await one.page.locator('#round-trip', { hasText: /^[\d.]+ ms$/ }).waitFor();
  await one.page.locator('#history').waitFor();
  await one.page.locator('#deadline', { hasText: /^[\d.]+ s$/ }).waitFor();
}

async function theKeyboardIsEnough(tabs) {
  const { page } = await tabs.add();
  const type = async (...keys) => { for (const key of keys) await page.keyboard.press(key); };
  await type('Tab');
  await page.keyboard.type('keys');
  await type('Enter');
  await page.locator('#state', { hasText: 'Online as keys' }).waitFor();
  // The fields for a name, and then for a message, have the focus already.
  await page.keyboard.type('keys');
  await type('Enter');
  await page.keyboard.type('two');
  await type('Shift+Enter');
  await page.keyboard.type('lines');
  await type('Enter');
  await page.locator('.own .bubble', { hasText: 'two\nlines' }).waitFor();
  await page.locator('.own', { hasText: 'no other tab or device' }).waitFor();
  await page.keyboard.type('unfinished');
  await type('Escape');
  await page.locator('#welcome').waitFor();
  await type('Enter');
  await page.locator('#conversation').waitFor();
  assert.equal(await page.locator('#text').inputValue(), 'unfinished');
  await page.close();
}

async function namedTabsTalk(alice, bob) {
  await Promise.all([alice.online(), bob.online()]);
  await alice.meets('bob');
  await alice.page.locator('#subtitle', { hasText: 'Online, 1 connection' }).waitFor();
  const markup = '<img src=x onerror=alert(1)><b>bold</b>';
  await alice.write(markup);
  await bob.shows(markup);
  assert.equal(await bob.page.locator('main img, main b, nav img, nav b').count(), 0);
  await alice.meets('nobody-of-this-name');
  await alice.write('anyone?');
  await alice.shows('Not delivered: nobody-of-this-name is not online');
  // Bob's answer waits where alice does not look.
  await bob.write('are you there?');
  await alice.listed('bob').locator('.badge', { hasText: '1 unread' }).waitFor();
  assert.equal(await alice.page.title(), '(1) heartwire');
  await alice.turnsTo('bob');
  assert.equal(await alice.page.title(), 'heartwire');
  await alice.shows('are you there?');
}

async function roomsAreEnteredAndLeft(alice, bob) {
  for (const tab of [alice, bob]) {
    await tab.joins('garden');
    await tab.shows('You are in garden');
  }
  await alice.write('in the garden');
  await bob.shows('in the garden');
  assert.match(await bob.page.locator('.other', { hasText: 'in the garden' }).innerText(), /alice/);
  await accessible(bob.page, 'a room');
  await bob.page.setViewportSize({ width: 320, height: 568 });
  await fits(bob.page, 'a room on a small phone');
  await bob.page.click('#back');
  await fits(bob.page, 'the list on a small phone');
  await bob.turnsTo('garden');
  await bob.page.setViewportSize({ width: 1280, height: 720 });
  await alice.joins('shed');
  await alice.shows('You are in shed');
  await alice.write('hello?');
  await alice.shows('Nobody else is in this room');
  await alice.page.click('#leave');
  await alice.listed('shed').waitFor({ state: 'detached' });
}

async function presenceIsSeen(tabs, alice) {
  const carol = await tabs.add('#carol');
  await carol.online();
  await alice.meets('carol');
  await alice.page.locator('#subtitle', { hasText: 'Online, 1 connection' }).waitFor();
  await carol.page.close();
  await alice.shows('carol has gone offline');
  await alice.listed('carol').locator('.avatar[data-online=false]').waitFor();
  await tabs.add('#carol');
  await alice.shows('carol is online');
}

/** Whoever sends it much, and from many accounts, does not make a page grow for ever. */
async function aPageIsBounded(tabs, server) {
  const dora = await tabs.add('#dora');
  await dora.online();
  const crowd = await Promise.all(Array.from({ length: 70 }, (_, number) => Client.connect(server, `crowd-${number}`)));
  for (const peer of crowd) await peer.ask({ type: 'message', to: ['dora'], content: 'x'.repeat(12_000) });
  const last = crowd.at(-1);
  for (let count = 0; count < 210; count += 1) last.send({ type: 'message', to: ['dora'], content: `no. ${count}` });
  await last.ask({ type: 'message', to: ['dora'], content: 'that was all' });
  await dora.turnsTo('crowd-69');
  await dora.shows('that was all');
  const count = selector => dora.page.locator(selector).count();
  assert.deepEqual([await count('#list li'), await count('.entry')], [60, 200]);
  await dora.turnsTo('crowd-60');
  assert.match(await dora.page.locator('.bubble').innerText(), /^x{10000}… \(cut here\)$/);
  await dora.page.close();
  await Promise.all(crowd.map(peer => peer.leave()));
}

async function itLooksGood(chromium, server) {
  const url = `http://${server.address}/`, peer = await Client.connect(server, 'george');
  const online = page => page.locator('#state[data-state=online]').waitFor();
  await portraits(chromium, `${url}#anna`, 'chat-welcome', online);
  await portraits(chromium, `${url}#anna&to=george`, 'chat', async page => {
    await online(page);
    const says = content => peer.ask({ type: 'message', to: ['anna'], content });
    const answers = async text => {
      await page.fill('#text', text);
      await page.press('#text', 'Enter');
      await page.locator('.own', { hasText: text }).locator('.about', { hasText: 'Delivered' }).waitFor();
      await peer.next();
    };
    await says('hi anna, when do the tulips come out? And who waters them until then?');
    await answers('In April, I think.');
    await answers('I do.');
    await says('Thank you. One more thing: the shed is open.');
    await page.locator('.other', { hasText: 'shed' }).waitFor();
  });
  await portraits(chromium, `${url}#anna&room=${'a-long-name-'.repeat(10)}`, 'chat-room', async page => {
    await online(page);
    for (const button of await page.locator('#back:visible').all()) await button.click();
    await page.locator('#history').waitFor();
  });
  await peer.leave();
}

async function theServersDeathIsOutlived(server, alice, bob) {
  await alice.turnsTo('bob');
  await bob.turnsTo('alice');
  server.kill('SIGKILL');
  await server.exited;
  for (const tab of [alice, bob]) await tab.ended(/lost|does not answer/);
  await alice.shows('The connection was lost.');
  await alice.page.locator('#retry', { hasText: /Coming back in \d+ s/ }).waitFor();
  await accessible(alice.page, 'the page without its server');
  await alice.write('into the void');
  await alice.shows('Not sent: you are not online.');
  await serve([], server.address);
  for (const tab of [alice, bob]) await tab.online();
  assert(await alice.page.locator('#banner').isHidden());
  await alice.shows(/Back online after [\d.]+ s/);
  await alice.page.getByRole('button', { name: 'Send again' }).click();
  await bob.shows('into the void');
  for (const tab of [alice, bob]) await tab.turnsTo('garden');
  await bob.write('are you back?');
  await alice.shows('are you back?');
}

async function whoWasReplacedIsTold(chromium) {
  const tabs = await Tabs.open(chromium, await serve(['--single', 'replace']));
  const older = await tabs.add('#alice');
  await older.online();
  const newer = await tabs.add('#alice');
  await newer.online();
  await older.ended(/connected somewhere else.*4505: replaced by a newer connection/);
  await accessible(older.page, 'a page that was replaced');
  await older.page.click('#again');
  await older.online();
  await newer.ended(/connected somewhere else/);
  tabs.saidNothing();
}

async function tokensLetIn(chromium) {
  const folder = await mkdtemp(join(tmpdir(), 'heartwire-'));
  afterwards(() => rm(folder, { recursive: true }));
  const file = ['--token-file', join(folder, 'tokens')];
  const { stdout } = await promisify(execFile)(BINARY, ['token', '--for', 'alice', ...file]);
  const server = await serve(['--auth', 'token-file', ...file]);
  const tabs = await Tabs.open(chromium, server);
  const stranger = await tabs.add('#alice');
  await stranger.ended(/does not let you in.*#NAME&token=TOKEN.*4500/);
  assert(await stranger.page.locator('#name').isVisible());
  const alice = await tabs.add(`#alice&token=${encodeURIComponent(stdout.trim())}`);
  await alice.online();
  assert.equal(new URL(alice.page.url()).hash, '');
  server.kill('SIGTERM');
  await alice.ended(/stopping or restarting.*1001: going away/);
}

/** What a server may say at the end, and what it comes to in words; a button that says whether the page comes back. */
async function endingsAreToldInWords(chromium, server) {
  const table = {
    1000: [/disconnected/, 'Connect'], 1002: [/ended the connection.*Reload/, 'Connect'],
    1009: [/too big/, 'Connect'], 1011: [/failed.*log/, 'Try now'], 1012: [/ended the connection/, 'Try now'],
    4100: [/no room/, 'Try now'], 4101: [/read too slowly.*lost/, 'Try now'], 4102: [/Too much.*Send less/, 'Try now'],
    4103: [/too many connections.*Close other tabs/, 'Try now'], 4104: [/too long to arrive/, 'Try now'],
    4201: [/heard nothing.*slept/, 'Try now'], 4202: [/as old as/, 'Try now'], 4500: [/let you in/, 'Connect'],
    4501: [/name.*another/, 'Connect'], 4503: [/operator.*Ask/, 'Connect'], 4505: [/somewhere else/, 'Connect'],
    4999: [/ended the connection/, 'Connect'],
  };
  const tabs = await Tabs.open(chromium, server), { page } = await tabs.add();
  let code;
  await page.routeWebSocket(/\/ws/, socket => {
    const heartbeat = { interval_ms: 25_000, timeout_ms: 60_000 };
    const register = { type: 'register', account: 'alice', heartbeat, reconnect_spread_ms: 60_000 };
    socket.send(JSON.stringify(register));
    socket.onMessage(() => socket.close({ code, reason: 'as the server puts it' }));
  });
  for (const [number, [words, button]] of Object.entries(table)) {
    code = Number(number);
    await page.goto(`${tabs.url}?${code}#alice`);
    await new Tab(page).ended(words);
    await new Tab(page).ended(`${code}: as the server puts it`);
    assert.equal(await page.locator('#again').innerText(), button, `after ${code}`);
  }
}

class Tabs {
  #complaints = [];

  static async open(browser, server) {
    const tabs = new Tabs();
    tabs.url = `http://${server.address}/`;
    tabs.context = await browser.newContext();
    tabs.context.setDefaultTimeout(PATIENCE_MS);
    return tabs;
  }

  async add(fragment = '') {
    const tab = this.watch(await this.context.newPage());
    await tab.page.goto(this.url + fragment);
    return tab;
  }

  watch(page) {
    page.on('pageerror', error => this.#complaints.push(String(error)));
    page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) this.#complaints.push(message.text());
    });
    return new Tab(page);
  }

  saidNothing(but = /^$/) { assert.deepEqual(this.#complaints.filter(text => !but.test(text)), []); }
}

class Tab {
  constructor(page) { this.page = page; }

  online() { return this.page.locator('#state[data-state=online]').waitFor(); }

  /** That the page says, in a banner, why it is not online. */
  ended(words) { return this.page.locator('#banner', { hasText: words }).waitFor(); }

  shows(text) { return this.page.locator('#log .entry', { hasText: text }).first().waitFor(); }

  async meets(account) {
    await this.page.fill('#to', account);
    await this.page.press('#to', 'Enter');
  }

  async joins(room) {
    await this.page.fill('#to', room);
    await this.page.click('#start [value=room]');
  }

  listed(name) {
    return this.page.locator('#list button', { has: this.page.locator('.name').getByText(name, { exact: true }) });
  }

  turnsTo(name) { return this.listed(name).click(); }

  /** Writes into the conversation that is open. */
  async write(text) {
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }
}
