// The README's way from nothing to a push in a browser tab: its three commands, run as they are written there.

import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch } from './chromium.mjs';
import { afterwards, eventually, start, within } from './support.mjs';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url));
/** The first command may have to build. */
export const BOUND_MS = 600_000;

export default async function readmePush() {
  const [serve, open, push, ...more] = await commands();
  assert.deepEqual(more, []);
  const folder = await mkdtemp(join(tmpdir(), 'readme-'));
  afterwards(() => rm(folder, { recursive: true }));
  const address = await opener(folder);
  const run = command => start('bash', ['-c', `exec ${command}`], {
    cwd: REPOSITORY, env: { ...process.env, PATH: `${folder}:${process.env.PATH}` }, stdio: ['ignore', 'pipe', 'pipe'],
  });

  const server = run(serve);
  const lines = createInterface(server.child.stderr);
  const listening = new Promise(resolve => lines.on('line', line => line.includes('listening on') && resolve()));
  const died = server.exited.then(code => assert.fail(`it ended with ${code}`));
  await within(Promise.race([listening, died]), 'the server', BOUND_MS);

  const tab = run(open);
  assert.equal(await tab.exited, 0);
  const page = await (await launch()).newPage();
  await page.goto(await address());
  await page.locator('#state[data-state=online]').waitFor();

  const pushed = run(push);
  const [answer] = await Promise.all([once(pushed.child.stdout, 'data'), pushed.exited]);
  const { accounts, connections, missing } = JSON.parse(String(answer));
  assert.deepEqual([accounts, connections, missing, await pushed.exited], [1, 1, [], 0]);
  await page.locator('#log .entry', { hasText: 'notice: your build is done' }).waitFor();
}

/** The commands of the fenced block under the heading, without their comments. */
async function commands() {
  const readme = await readFile(join(REPOSITORY, 'README.md'), 'utf8');
  const section = readme.split('\n## Push to it\n')[1] ?? assert.fail('README.md has no section "Push to it"');
  const [, block] = section.match(/```sh\n([^]*?)```/) ?? assert.fail('it has no commands');
  return block.split('\n').map(line => line.replace(/\s+# .*$/, '')).filter(Boolean);
}

/** A desktop's `xdg-open`, which here notes what it is to open; resolves to that. */
async function opener(folder) {
  const note = join(folder, 'opened');
  await writeFile(join(folder, 'xdg-open'), `#!/bin/sh\nprintf %s "$1" >'${note}'\n`);
  await chmod(join(folder, 'xdg-open'), 0o755);
  let url = '';
  const look = async () => { url = await readFile(note, 'utf8').catch(() => ''); return url !== ''; };
  return () => eventually(look, 'the address to open').then(() => url);
}
