// Debian's Chromium without a window, which asks nobody outside of this machine for anything.

import { chromium } from 'playwright-core';
import { afterwards } from './support.mjs';

const ARGUMENTS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

/** A browser that is closed when the current test is over. */
export async function launch() {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGUMENTS });
  afterwards(() => browser.close());
  return browser;
}
