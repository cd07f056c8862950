// The operator's page in a real browser: who may see it, whether its figures are the server's, what it can do, and what
// it says of a server that died.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from './chromium.mjs';
import { accessible, fits, portraits } from './looks.mjs';
import { Client, afterwards, eventually, serve } from './support.mjs';

export const BOUND_MS = 300_000;
const ADMIN_KEY = 'hwk_of-an-operator-whom-everybody-fears';
const MONITOR_KEY = 'hwk_of-somebody-who-looks-and-does-nothing';
const MARKUP = '<img src=x onerror=alert(1)>';

export default async function dashboard() {
  const flags = ['--admin-key-file', await keyFile(), '--heartbeat-interval', '1s'];
  const server = await serve(flags, '127.0.0.1:0', '127.0.0.1:0');
  const browser = await launch();
  const page = await Page.open(browser, server);
  await theKeyIsAskedForOnce(page);
  const alice = await Client.connect(server, 'alice');
  const hostile = await Client.connect(server, `${encodeURIComponent(MARKUP)}&device=${'W'.repeat(64)}`);
  await theFiguresAreTheServers(page, server);
  await whatIsSearchedIsFound(page);
  await textOfPeersIsText(page);
  await aPushArrives(page, alice, await chat(browser, server));
  await aDisconnectedClientIsTold(page, alice);
  await theKeyboardIsEnough(page, hostile, await Client.connect(server, 'dave'));
  await whoMayOnlyLookIsToldSo(browser, server);
  await accessible(page.page, 'the dashboard');
  await noNameMakesItWider(page);
  await portraits(browser, page.url, 'dashboard', prepared);
  assert.deepEqual(page.complaints, []);
  await aKeyThatIsTakenAwayIsAskedForAgain(browser, server, flags[1]);
  await aServerThatDiedIsMissedAndFoundAgain(page, server, flags);
  await nobodyIsAskedWhereThereAreNoKeys(browser);
  await theVerdictIsRight(browser);
}

async function keyFile() {
  const folder = await mkdtemp(join(tmpdir(), 'keys-'));
  afterwards(() => rm(folder, { recursive: true }));
  const file = join(folder, 'keys');
  await writeFile(file, `operator admin ${ADMIN_KEY}\nwatch monitor ${MONITOR_KEY}\n`, { mode: 0o600 });
  return file;
}

async function theKeyIsAskedForOnce(page) {
  await page.signIn('hwk_a-key-that-is-none-of-the-server-s-own');
  await page.page.locator('#door-note', { hasText: "none of the server's keys" }).waitFor();
  await page.signIn(ADMIN_KEY);
  await page.wellOrNot();
  await page.page.reload();
  await page.wellOrNot();
  assert.equal(await page.page.locator('#door').isVisible(), false);
}

async function theFiguresAreTheServers(page, server) {
  await page.page.locator('#figures summary').click();
  const quiet = ['heartwire_connections', 'heartwire_connections_limit', 'heartwire_accounts', 'heartwire_router_inbox_limit_batches',
    'heartwire_outbound_queued_limit_bytes', 'heartwire_outbound_queue_limit_bytes', 'heartwire_connections_opened_total'];
  await page.shows('heartwire_connections', 2);
  const text = await (await fetch(`http://${server.admin}/metrics`, { headers: { Authorization: `Bearer ${ADMIN_KEY}` } })).text();
  const lines = text.split('\n');
  for (const series of quiet) {
    const [, value] = lines.find(line => line.startsWith(`${series} `)).split(' ');
    assert.equal(Number(await page.figure(series)), Number(value), series);
  }
  // Whatever the server says is on the page, under the same names.
  const names = lines.filter(line => /^\w/.test(line)).map(line => line.slice(0, line.lastIndexOf(' ')));
  const shown = await page.page.locator('#figures [data-series]').evaluateAll(cells => cells.map(cell => cell.dataset.series));
  assert.deepEqual(new Set(shown), new Set(names));
  const answered = () => page.page.locator('[data-recent=heartwire_pings_answered_total]').textContent();
  await eventually(async () => Number(await answered()) > 0, 'an answered ping');
  const label = await page.page.locator('#round-trip-picture').getAttribute('aria-label');
  assert.match(label, /^Round trips since the start: .*%/);
}

async function whatIsSearchedIsFound(page) {
  const rows = page.page.locator('#connections-panel tbody tr');
  await page.page.fill('#connections-panel [name=search]', 'ALI');
  await eventually(async () => await rows.count() === 1, 'one row');
  assert.match(await rows.first().textContent(), /alice/);
  await page.page.selectOption('#connections-panel [name=sort]', 'busiest');
  await page.page.fill('#connections-panel [name=search]', '');
  await eventually(async () => await rows.count() === 2, 'both rows');
}

async function textOfPeersIsText(page) {
  await page.page.locator('#connections-panel button.plain', { hasText: MARKUP }).click();
  assert.equal(await page.page.locator('#details-title').textContent(), MARKUP);
  await page.page.locator('#details dt', { hasText: 'Rooms' }).waitFor();
  await accessible(page.page, 'the details of a connection');
  await page.page.click('#details .close');
  assert.equal(await page.page.locator('img').count(), 0);
}

/** A tab of the chat page. */
async function chat(browser, server) {
  const tab = await browser.newPage();
  await tab.goto(`http://${server.address}/#carol`);
  await tab.locator('text=Online as carol').first().waitFor();
  return tab;
}

async function aPushArrives(page, alice, tab) {
  const dialog = page.page.locator('#push');
  await page.page.locator('#connections-panel tr', { hasText: 'alice' }).getByRole('button', { name: 'Push' }).click();
  assert.equal(await dialog.locator('[name=names]').inputValue(), 'alice');
  await dialog.locator('[name=names]').fill('alice\ncarol\nnobody');
  await dialog.locator('[name=form]').selectOption('json');
  await dialog.locator('[name=content]').fill('{"number": 12345678901234567890');
  await dialog.locator('.primary').click();
  assert.equal(await dialog.locator('[name=content]').evaluate(field => field.validationMessage), 'This is not JSON');
  await dialog.locator('[name=content]').fill('{"text": "tea is ready", "number": 12345678901234567890}');
  await dialog.locator('.primary').click();
  await dialog.locator('.answer', { hasText: 'Reached 2 accounts over 2 connections.' }).waitFor();
  await dialog.locator('.answer', { hasText: 'Missing: nobody' }).waitFor();
  const notice = await alice.next();
  assert.deepEqual([notice.type, notice.content.text], ['notice', 'tea is ready']);
  await tab.locator('text=tea is ready').first().waitFor();
  await accessible(page.page, 'a push');
  await dialog.locator('.close').click();
  await tab.close();
}

async function aDisconnectedClientIsTold(page, alice) {
  const dialog = page.page.locator('#disconnect');
  await page.page.locator('#connections-panel tr', { hasText: 'alice' }).getByRole('button', { name: 'Disconnect' }).click();
  await dialog.locator('.close').click();
  assert.equal(alice.socket.readyState, 1, 'asked, and not done');
  await page.page.locator('#connections-panel tr', { hasText: 'alice' }).getByRole('button', { name: 'Disconnect' }).click();
  await dialog.locator('[name=reason]').fill('house-keeping');
  await accessible(page.page, 'a disconnect');
  await dialog.locator('.primary').click();
  await dialog.locator('.answer', { hasText: '1 connection ended.' }).waitFor();
  await dialog.locator('.close').click();
  const { code, reason } = await alice.closed();
  assert.equal(code, 4503);
  assert.match(reason, /house-keeping/);
  await page.page.click('#closed-tab');
  const row = page.page.locator('#closed-panel tbody tr', { hasText: 'alice' });
  await row.locator('td', { hasText: 'code 4503' }).waitFor();
  for (const told of ['What happened', 'What to do']) {
    assert.notEqual(await row.locator(`[data-label='${told}'] bdi`).textContent(), '', told);
  }
  await page.page.fill('#closed-panel [name=account]', 'nobody');
  await page.page.locator('#closed-panel .note', { hasText: 'None' }).waitFor();
  await page.page.locator('#ends-key li', { hasText: 'disconnected by an operator 1' }).waitFor();
}

async function theKeyboardIsEnough(page, hostile, dave) {
  await page.page.locator('#closed-tab').focus();
  await page.page.keyboard.press('ArrowRight');
  await page.page.locator('#refused-tab[aria-selected=true]:focus').waitFor();
  await page.page.keyboard.press('ArrowRight');
  await page.page.locator('#connections-tab[aria-selected=true]:focus').waitFor();
  const first = page.page.locator('#connections-panel button.plain').first();
  const account = page.page.locator('#connections-panel button.plain', { hasText: hostile.register.account });
  beats(dave, 20);
  await first.filter({ hasText: 'dave' }).waitFor();
  await account.focus();
  // A row that moves keeps the focus: the order is busiest first.
  beats(hostile, 100);
  await first.filter({ hasText: hostile.register.account }).waitFor();
  assert.equal(await account.evaluate(element => element === document.activeElement), true);
  await page.page.keyboard.press('Enter');
  await page.page.locator('#details[open]').waitFor();
  await page.page.keyboard.press('Escape');
  assert.equal(await account.evaluate(element => element === document.activeElement), true);
}

function beats(client, times) {
  for (let time = 0; time < times; time += 1) client.send({ type: 'heartbeat' });
}

async function whoMayOnlyLookIsToldSo(browser, server) {
  const page = await Page.open(browser, server);
  await accessible(page.page, 'the question for a key');
  await page.page.check('#keep');
  await page.signIn(MONITOR_KEY);
  await page.wellOrNot();
  await page.page.click('#push-open');
  await page.page.selectOption('#push [name=whom]', 'all');
  await page.page.fill('#push [name=content]', 'hello');
  await page.page.click('#push .primary');
  await page.page.locator('#push .answer.failed', { hasText: 'Refused (403)' }).waitFor();
  // What was kept is there in a new tab, and gone when it is forgotten.
  const second = new Page(await page.page.context().newPage(), server);
  await second.page.goto(second.url);
  await second.wellOrNot();
  await second.page.click('#forget');
  await second.page.locator('#door').waitFor();
}

async function prepared(page) {
  await page.fill('#key', ADMIN_KEY);
  await page.keyboard.press('Enter');
  await page.locator('#messages-picture path').first().waitFor({ state: 'attached' });
}

async function noNameMakesItWider({ page }) {
  const { width, height } = page.viewportSize();
  for (const narrow of [320, 800, 960, 1200]) {
    await page.setViewportSize({ width: narrow, height });
    await fits(page, `the dashboard at ${narrow} px`);
  }
  await page.setViewportSize({ width, height });
}

/** Also while something else is open. */
async function aKeyThatIsTakenAwayIsAskedForAgain(browser, server, file) {
  const { page, ...monitor } = await Page.open(browser, server);
  await page.fill('#key', MONITOR_KEY);
  await page.keyboard.press('Enter');
  await page.locator('#connections-panel button.plain').first().click();
  await page.locator('#details[open]').waitFor();
  await writeFile(file, `operator admin ${ADMIN_KEY}\n`);
  server.kill('SIGHUP');
  await page.locator('#door-note', { hasText: "none of the server's keys" }).waitFor();
  await page.locator('#key:focus').waitFor();
  assert.equal(await page.locator('dialog[open]').count(), 0);
  assert.deepEqual(monitor.complaints, []);
}

async function aServerThatDiedIsMissedAndFoundAgain(page, server, flags) {
  const title = page.page.locator('#verdict-title');
  server.kill('SIGKILL');
  await server.exited;
  await title.filter({ hasText: 'The server does not answer' }).waitFor();
  await accessible(page.page, 'the dashboard without a server');
  await page.page.locator('#again').waitFor();
  const again = await serve(flags, server.address, server.admin);
  await title.filter({ hasNotText: 'does not answer' }).waitFor();
  await page.shows('heartwire_connections', 0);
  again.kill('SIGTERM');
  await again.exited;
}

async function nobodyIsAskedWhereThereAreNoKeys(browser) {
  const server = await serve([], '127.0.0.1:0', '127.0.0.1:0');
  const page = await Page.open(browser, server);
  await page.page.locator('#verdict-title', { hasText: 'All is well' }).waitFor();
  assert.equal(await page.page.locator('#door').isVisible(), false);
}

/** Of figures that a server comes to only in need; and of those that it comes to every day, which alarm nobody. */
async function theVerdictIsRight(browser) {
  const server = await serve([], '127.0.0.1:0', '127.0.0.1:0');
  const { page, complaints } = await Page.open(browser, server);
  const title = words => page.locator('#verdict-title', { hasText: words }).waitFor();
  let altered = text => text;
  await page.route('**/metrics', async route => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: altered(await answer.text()) });
  });
  const set = (series, value) => text => {
    const others = text.split('\n').filter(line => !line.startsWith(`${series} `));
    return [...others, value === undefined ? '' : `${series} ${value}`].join('\n');
  };
  const table = [
    ['heartwire_dropped_total{kind="outbound_frames"}', 7, 'All is well'],
    ['heartwire_dropped_total{kind="commands"}', 7, 'Messages of clients are dropped'],
    ['heartwire_connections_closed_total{reason="slow_consumer",code="4101"}', 1, 'Slow consumers are cut off'],
    ['heartwire_connections_closed_total{reason="peer_closed",code="1001"}', 500, 'All is well'],
    ['heartwire_webhook_events_dropped_total', 0, 'All is well'],
    ['heartwire_connections', 9_999, 'At the limit: connections'],
    ['heartwire_accounts', undefined, 'The router does not answer'],
  ];
  for (const [series, value, words] of table) {
    altered = text => text;
    await page.reload();
    await title('All is well');
    assert.doesNotMatch(await page.locator('#verdict-words').textContent(), /NaN|last minute/);
    altered = set(series, value);
    // The first of these may have been asked for before; when the third comes, the second is shown.
    for (let answers = 0; answers < 3; answers += 1) await page.waitForResponse('**/metrics');
    const [said] = (await page.locator('#verdict-title').textContent()).split(', and');
    assert.equal(said, words, series);
  }
  // A server that stops says so, and is then not one that died.
  await page.unrouteAll({ behavior: 'wait' });
  await page.route('**/readyz', route => route.fulfill({ status: 503 }));
  await title('The server is stopping');
  server.kill('SIGKILL');
  await title('The server has stopped');
  assert.deepEqual(complaints, []);
}

/** The dashboard of a server, in a context of its own. */
class Page {
  complaints = [];

  static async open(browser, server) {
    const context = await browser.newContext();
    context.setDefaultTimeout(60_000);
    const page = new Page(await context.newPage(), server);
    await page.page.goto(page.url);
    return page;
  }

  constructor(page, server) {
    Object.assign(this, { page, url: `http://${server.admin}/` });
    page.on('pageerror', error => this.complaints.push(String(error)));
    page.on('console', message => {
      // That a request was refused, the browser says by itself.
      const isOwn = ['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource');
      if (isOwn) this.complaints.push(message.text());
    });
  }

  async signIn(key) {
    await this.page.fill('#key', key);
    await this.page.keyboard.press('Enter');
  }

  wellOrNot() { return this.page.locator('#link[data-state=live]').waitFor(); }

  /** The exact number that the page has for a series. */
  async figure(series) { return this.page.locator(`#figures [data-series='${series}']`).textContent(); }

  shows(series, value) {
    return eventually(async () => Number(await this.page.locator(`data[data-metric='${series}']`).getAttribute('value')) === value,
      `${series} ${value}`);
  }
}
