// The life of a client made for a push server that knows accounts and their connections, a `content` of `body` and
// `meta_data` in each frame, and heartbeats of its own.

import assert from 'node:assert/strict';
import { Client, eventually, serve } from './support.mjs';

const EMPTY = { body: '', meta_data: '' };

export default async function pushClient() {
  const server = await serve();
  const phone = await Client.connect(server, 'alice');
  assert.deepEqual(phone.register.content, EMPTY);
  await beats(phone);
  await staysOpenAfterNonsense(phone);
  await bothConnectionsOfAnAccountHear(server, phone);
}

async function beats(client) {
  client.send({ type: 'heartbeat', content: EMPTY });
  const { type, content } = await client.next();
  assert.deepEqual([type, content], ['heartbeat', EMPTY]);
}

async function staysOpenAfterNonsense(client) {
  const unknown = ['{"type":"subscribe","content":{}}', '{"type":1}', '{}'];
  for (const text of ['', 'heartbeat', '[]', '{"type":"heartbeat"', ...unknown]) {
    client.send(text);
    const { type, error } = await client.next();
    assert.deepEqual([type, error.code, error.reason], ['error', 107, 'bad_request'], text);
  }
  await beats(client);
}

async function bothConnectionsOfAnAccountHear(server, phone) {
  const tablet = await Client.connect(server, 'alice');
  const bob = await Client.connect(server, 'bob');
  await pushed(bob, 'to both', [phone, tablet]);
  assert.equal((await phone.leave()).code, 1000);
  // A client sees its connection closed a moment before the server has done with it.
  await eventually(async () => {
    const { accounts: [alice] } = await bob.ask({ type: 'presence', accounts: ['alice'] });
    return alice.connections === 1;
  }, 'the end of the first connection');
  await pushed(bob, 'to one', [tablet]);
}

async function pushed(sender, body, receivers) {
  const content = { body, meta_data: { order: 17 } };
  assert.equal((await sender.ask({ type: 'message', to: ['alice'], content })).delivered, receivers.length);
  for (const receiver of receivers) {
    const message = await receiver.next();
    assert.deepEqual([message.type, message.from, message.content], ['message', sender.name, content]);
  }
}
