// Who is dropped for want of a sign of life, and who is not, seen by clients that answer pings, do not, or chat.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Client, afterwards, serve, within } from './support.mjs';

const TIMEOUT_MS = 3_000;
const TIMES = ['--heartbeat-interval', '1s', '--heartbeat-timeout', `${TIMEOUT_MS}ms`];
const CHAT_EVERY_MS = 200;
/** They come an interval apart at least, so together they take several timeouts. */
const PINGS_ANSWERED = 10;

export default async function heartbeat() {
  const [any, strict] = [await serve(TIMES), await serve([...TIMES, '--liveness', 'heartbeat'])];
  await Promise.all([
    whoAnswersPingsLives(any),
    whoIsOnlySpokenToIsDropped(any),
    whoOnlyChatsIsDropped(strict),
    whoChatsAndAnswersPingsLives(strict),
  ]);
}

async function whoAnswersPingsLives(server) {
  const quiet = await Client.connect(server, 'quiet');
  await answersPings(quiet);
  quiet.send({ type: 'heartbeat' });
  assert.equal((await quiet.next()).type, 'heartbeat');
}

async function whoIsOnlySpokenToIsDropped(server) {
  const started = performance.now();
  const deaf = await Client.connect(server, 'deaf', { autoPong: false });
  chat(await Client.connect(server, 'talker'), 'deaf');
  await dropped(deaf, started);
  assert.equal((await deaf.next()).type, 'message');
}

async function whoOnlyChatsIsDropped(server) {
  const started = performance.now();
  const chatter = await Client.connect(server, 'chatter', { autoPong: false });
  chat(chatter, 'nobody');
  await dropped(chatter, started);
}

async function whoChatsAndAnswersPingsLives(server) {
  const lively = await Client.connect(server, 'lively');
  chat(lively, 'nobody');
  await answersPings(lively);
  assert.equal((await lively.ask({ type: 'message', to: ['nobody'], content: 0 })).delivered, 0);
}

/** Sends a message every now and then, without an id, so that nothing is answered. */
function chat(client, recipient) {
  const timer = setInterval(() => client.send({ type: 'message', to: [recipient], content: 'hello?' }), CHAT_EVERY_MS);
  afterwards(() => clearInterval(timer));
}

async function answersPings({ socket, name }) {
  const started = performance.now();
  for (let count = 0; count < PINGS_ANSWERED; count += 1) await within(once(socket, 'ping'), `a ping to ${name}`);
  assert(performance.now() - started > 2 * TIMEOUT_MS, `${name} was pinged too often`);
}

async function dropped(client, started) {
  const { code, reason } = await client.closed();
  const lasted = performance.now() - started;
  assert.equal(code, 4201, reason);
  assert.match(reason, /^heartbeat timeout/);
  assert(lasted >= TIMEOUT_MS, `${client.name} was dropped after ${lasted} ms`);
}
