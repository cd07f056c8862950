// The page at `/` in a real browser: tabs talk, nothing is complained about, and they come back after the server died.

import assert from 'node:assert/strict';
import { launch } from './chromium.mjs';
import { serve } from './support.mjs';

export default async function browser() {
  const server = await serve();
  const tabs = await Tabs.open(`http://${server.address}/`);
  await aNewcomerTalksToASecondTab(tabs);
  const [alice, bob] = [await tabs.add('#alice'), await tabs.add('#bob')];
  await namedTabsTalk(alice, bob);
  await tabsTalkInARoom(alice, bob);
  assert.deepEqual(tabs.complaints, []);
  server.kill('SIGKILL');
  await server.exited;
  for (const tab of [alice, bob]) await tab.page.locator('#state:not([data-state=online])').waitFor();
  await serve([], server.address);
  for (const tab of [alice, bob]) await tab.online();
  await tabsTalkInARoomAgain(alice, bob);
  // That the server was away, the browser says by itself.
  assert.deepEqual(tabs.complaints.filter(text => !/^WebSocket connection to .* failed/.test(text)), []);
}

async function aNewcomerTalksToASecondTab(tabs) {
  const one = await tabs.add();
  await one.page.click('#connect');
  await one.online();
  const opened = tabs.context.waitForEvent('page');
  await one.page.click('#second-tab');
  const two = tabs.watch(await opened);
  await two.online();
  await one.write('hello, second tab');
  await two.shows('hello, second tab');
  await one.shows('delivered to 1 connection');
  await two.write('hello back');
  await one.shows('hello back');
  await one.page.locator('#rtt', { hasText: /^[\d.]+ ms$/ }).waitFor();
}

async function namedTabsTalk(alice, bob) {
  await Promise.all([alice.online(), bob.online()]);
  const markup = '<img src=x onerror=alert(1)><b>bold</b>';
  await alice.write(markup, 'bob');
  await bob.shows(markup);
  assert.equal(await bob.page.locator('#log img, #log b').count(), 0);
  await alice.write('anyone?', 'nobody-of-this-name');
  await alice.shows('nobody of that name is online');
}

async function tabsTalkInARoom(alice, bob) {
  for (const tab of [alice, bob]) {
    await tab.page.selectOption('#to-kind', 'room');
    await tab.page.fill('#to', 'garden');
    await tab.page.click('#join');
    await tab.shows('Joined garden');
  }
  await alice.write('in the garden');
  await bob.shows('in the garden');
}

async function tabsTalkInARoomAgain(alice, bob) {
  // The rooms are joined again, too; the first note of it is from before.
  for (const tab of [alice, bob]) await tab.page.locator('#log .entry', { hasText: 'Joined garden' }).nth(1).waitFor();
  await bob.write('are you back?');
  await alice.shows('are you back?');
}

class Tabs {
  complaints = [];

  static async open(url) {
    const browser = await launch();
    const tabs = new Tabs();
    tabs.url = url;
    tabs.context = await browser.newContext();
    tabs.context.setDefaultTimeout(60_000);
    return tabs;
  }

  async add(fragment = '') {
    const tab = this.watch(await this.context.newPage());
    await tab.page.goto(this.url + fragment);
    return tab;
  }

  watch(page) {
    page.on('pageerror', error => this.complaints.push(String(error)));
    page.on('console', message => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text());
    });
    return new Tab(page);
  }
}

class Tab {
  constructor(page) { this.page = page; }

  online() { return this.page.locator('#state[data-state=online]').waitFor(); }

  shows(text) { return this.page.locator('#log .entry', { hasText: text }).first().waitFor(); }

  /** Writes to whom the page suggests, or to `recipient`. */
  async write(text, recipient) {
    if (recipient !== undefined) await this.page.fill('#to', recipient);
    await this.page.fill('#text', text);
    await this.page.press('#text', 'Enter');
  }
}
