// How pages look, and whether everybody can use them.
//
//   await accessible(page, 'the empty page');
//     throws when axe finds something serious or critical in the page as it is now; prints how much it looked at.
//   await portraits(browser, url, 'chat', async page => { await page.click('#connect'); });
//     opens `url` in each of PORTRAITS, lets the last argument bring the page into the state to be seen (`page.goto` is
//     done already; it may be left out), asks `accessible`, and saves target/screenshots/NAME-light.png, -dark.png,
//     -phone.png and -phone-dark.png. Throws when the page is wider than the window, too, as does
//   await fits(page, 'the empty page');
//
// `browser` is that of chromium.mjs. Animations are off in portraits, so that two of one state are alike.

import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));
const AXE = readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const GRAVE = ['serious', 'critical'];

const DESK = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const PORTRAITS = {
  'light': { ...DESK, colorScheme: 'light' },
  'dark': { ...DESK, colorScheme: 'dark' },
  'phone': { ...PHONE, colorScheme: 'light' },
  'phone-dark': { ...PHONE, colorScheme: 'dark' },
};

export async function accessible(page, what) {
  // By the debugger, so that the page keeps its Content-Security-Policy.
  await page.evaluate(await AXE);
  // Nothing is loaded for it, since the policy would not let it.
  const { passes, violations } = await page.evaluate(() => globalThis.axe.run({ preload: false }));
  const grave = violations.filter(({ impact }) => GRAVE.includes(impact));
  const faults = grave.flatMap(({ id, nodes }) => nodes.map(node => `${id}: ${node.failureSummary} ${node.html}`));
  assert.deepEqual(faults, [], `axe on ${what}`);
  console.log(`accessible: ${what}: ${passes.length} rules passed`);
}

export async function portraits(browser, url, name, prepare = async () => {}) {
  await mkdir(FOLDER, { recursive: true });
  for (const [portrait, options] of Object.entries(PORTRAITS)) {
    const context = await browser.newContext({ ...options, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(url);
    await prepare(page);
    await accessible(page, `${name}, ${portrait}`);
    await fits(page, `${name}, ${portrait}`);
    await page.screenshot({ path: join(FOLDER, `${name}-${portrait}.png`), animations: 'disabled' });
    await context.close();
  }
}

export async function fits(page, what) {
  // Not innerWidth: on a phone that grows with what sticks out.
  const { width } = page.viewportSize();
  const needed = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(needed <= width, `${what} needs ${needed} px, and has ${width}`);
}
