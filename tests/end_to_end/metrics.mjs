// What the server counts, read by the strictest parser that there is, before and after a conversation; with the key
// that the server made for whoever monitors it.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterwards, BINARY, Client, eventually, start, within } from './support.mjs';

const READER = fileURLToPath(new URL('metrics_reader.py', import.meta.url));

export default async function metrics() {
  const { address, admin, key } = await serveWithKeys();
  const read = async () => new Metrics(await scrape(admin, key));
  const before = await read();
  const alice = await Client.connect({ address }, 'alice'), bob = await Client.connect({ address }, 'bob');
  assert.equal((await alice.ask({ type: 'message', to: ['bob'], content: 'hi' })).delivered, 1);
  assert.equal((await bob.next()).content, 'hi');
  await alice.leave();
  // A client sees its connection closed a moment before the server has done with it.
  const closed = ['heartwire_connections_closed_total', { reason: 'peer_closed', code: '1000' }];
  await eventually(async () => (await read()).value(...closed) === 1, 'the end of a connection');
  const after = await read();
  const grew = (...sample) => after.value(...sample) - before.value(...sample);
  assert.equal(after.value('heartwire_connections'), 1);
  assert.equal(after.value('heartwire_accounts'), 1);
  assert.equal(grew('heartwire_messages_received_total'), 1);
  assert.equal(grew('heartwire_connections_opened_total'), 2);
  assert.equal(grew(...closed), 1);
  assert.equal(grew('heartwire_router_latency_seconds_count'), 1);
  assert.equal(grew('heartwire_router_latency_seconds_bucket', { le: '+Inf' }), 1);
  assert(after.value('process_threads') > 4 && after.value('process_open_fds') > 4);
  assert(Math.abs(after.value('process_start_time_seconds') - Date.now() / 1000) < 600);
  assert(after.value('heartwire_webhook_events_waiting') >= 1, 'nobody takes what happens');
}

class Metrics {
  #samples;

  constructor(samples) { this.#samples = samples; }

  value(name, labels = {}) {
    const key = (name, labels) => JSON.stringify([name, Object.entries(labels).sort()]);
    const found = this.#samples.filter(sample => key(sample[0], sample[1]) === key(name, labels));
    assert.equal(found.length, 1, key(name, labels));
    return found[0][2];
  }
}

async function scrape(admin, key) {
  const { child, exited } = start(process.env.PYTHON ?? 'python3', [READER, `http://${admin}/metrics`], {
    env: { ...process.env, KEY: key }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  const chunks = [];
  child.stdout.on('data', chunk => chunks.push(chunk));
  assert.equal(await within(exited, 'the reader'), 0);
  return JSON.parse(Buffer.concat(chunks));
}

/** A server with keys that it makes itself, and a webhook that nobody listens to. */
async function serveWithKeys() {
  const folder = await mkdtemp(join(tmpdir(), 'metrics-'));
  afterwards(() => rm(folder, { recursive: true }));
  const [keys, secret] = [join(folder, 'keys'), join(folder, 'secret')];
  await writeFile(secret, 's'.repeat(32), { mode: 0o600 });
  const { child, exited } = start(BINARY, [
    'serve', '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--admin-key-file', keys,
    '--webhook', 'http://127.0.0.1:9/', '--webhook-secret-file', secret,
  ], { env: { ...process.env, RUST_LOG: 'info' }, stdio: ['ignore', 'ignore', 'pipe'] });
  const log = [], died = exited.then(code => assert.fail(`the server ended with ${code}: ${log.join('\n')}`));
  createInterface(child.stderr).on('line', line => log.push(line));
  const find = pattern => log.map(line => line.match(pattern)?.[1]).find(Boolean);
  const listening = /listening on (127\.0\.0\.1:\d+)/, api = /HTTP API on (127\.0\.0\.1:\d+)/;
  await Promise.race([died, eventually(() => find(api), 'the addresses in the log')]);
  died.catch(() => {});
  const key = (await readFile(keys, 'utf8')).match(/^\S+ monitor (\S+)$/m)[1];
  return { address: find(listening), admin: find(api), key };
}
