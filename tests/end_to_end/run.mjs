// The tests from end to end: the release binary and clients of other makes. `node run.mjs [NAME…]` runs those named, or
// all. Needs `cargo build --release`, `npm ci`, requirements.txt installed for python3 (or $PYTHON), and Chromium.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cleanUp, logs, seconds, within } from './support.mjs';

const TESTS = ['two_makes', 'push_client', 'shutdown', 'browser', 'dashboard', 'dribble', 'heartbeat', 'js_client',
  'readme_push', 'metrics'];
/** Waits for minutes, and does so in a process of its own beside the others. */
const BESIDE = 'background';
/** The longest that a test may take, unless it exports a BOUND_MS of its own; only one that fails comes near. */
const TEST_BOUND_MS = 180_000;

const isAll = process.argv.length === 2;
const names = isAll ? TESTS : process.argv.slice(2);
const beside = isAll ? runBeside(BESIDE) : null;
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
let run = names.length;
if (beside) {
  const { isOk, output } = await beside;
  process.stdout.write(output);
  run += 1;
  failed += isOk ? 0 : 1;
}
console.log(`${run - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** Runs one test in another process; resolves to whether it passed, and to what it printed but for the sum. */
async function runBeside(name) {
  const running = promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), name]);
  process.on('exit', () => running.child.kill());
  const { stdout, code = 0 } = await running.catch((error) => error);
  return { isOk: code === 0, output: stdout.replace(/^\d+ passed, \d+ failed\n$/m, '') };
}
