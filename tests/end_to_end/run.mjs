// The tests from end to end: the release binary and clients of other makes. `node run.mjs [NAME…]` runs those named, or
// all. Needs `cargo build --release`, `npm ci`, requirements.txt installed for python3 (or $PYTHON), and Chromium.

import { cleanUp, logs, seconds, within } from './support.mjs';

const TESTS = ['two_makes', 'push_client', 'shutdown', 'browser', 'dashboard', 'dribble', 'heartbeat', 'js_client',
  'background', 'readme_push', 'metrics'];
/** The longest that a test may take, unless it exports a BOUND_MS of its own; only one that fails comes near. */
const TEST_BOUND_MS = 180_000;

const names = process.argv.length > 2 ? process.argv.slice(2) : TESTS;
let failed = 0;
for (const name of names) {
  const started = performance.now();
  try {
    const { default: test, BOUND_MS = TEST_BOUND_MS } = await import(`./${name}.mjs`);
    await within(test(), `the end of ${name}`, BOUND_MS);
    console.log(`ok ${name} (${seconds(performance.now() - started)})`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name} (${seconds(performance.now() - started)}): ${error.stack}`);
    for (const line of logs()) console.log(`  ${line}`);
  }
  await cleanUp();
}
console.log(`${names.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
