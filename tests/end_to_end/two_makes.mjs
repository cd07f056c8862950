// Node's ws and Python's websockets talk through the server. What they said is printed, in the order in which one thing
// led to another: it is the same at each run, but for ids and times.

import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client, Peer, serve, start } from './support.mjs';

const EMPTY = { body: '', meta_data: '' };

export default async function twoMakes() {
  const server = await serve();
  const transcript = line => console.log(line);
  transcript("alice is a client on Node's ws, bob one on Python's websockets");
  const alice = await Client.connect(server, 'alice', { transcript });
  const bob = await PythonClient.connect(server, 'bob', transcript);
  await messages(alice, bob);
  await heartbeats(alice, bob);
  await room(alice, bob);
  assert.equal((await alice.leave()).code, 1000);
  assert.equal((await bob.leave()).code, 1000);
}

async function messages(alice, bob) {
  // Spelt as no encoder would spell it: what is delivered are the sender's bytes. And `from` is not the sender's word.
  alice.send('{"type":"message","to":["bob"],"from":"mallory","content":{"body":"hi", "n":2.50},"id":"1"}');
  const hi = await bob.next();
  assert.deepEqual([hi.type, hi.from, hi.content], ['message', 'alice', { body: 'hi', n: 2.5 }]);
  assert(bob.lastText.endsWith(',"content":{"body":"hi", "n":2.50}}'), bob.lastText);
  assert.deepEqual(await alice.next(), { type: 'ack', id: '1', delivered: 1 });

  bob.send({ type: 'message', to: ['alice'], content: 'hello, alice \u{1f49b}', id: '2' });
  const hello = await alice.next();
  assert.deepEqual([hello.from, hello.content], ['bob', 'hello, alice \u{1f49b}']);
  assert.deepEqual(await bob.next(), { type: 'ack', id: '2', delivered: 1 });

  assert.equal((await alice.ask({ type: 'message', to: ['nobody'], content: null }, '3')).delivered, 0);
}

async function heartbeats(alice, bob) {
  alice.send({ type: 'heartbeat' });
  const usual = { type: 'heartbeat', content: EMPTY, interval_ms: 25_000, timeout_ms: 60_000 };
  assert.deepEqual(await alice.next(), usual);
  bob.send({ type: 'heartbeat', next_ms: 30_000 }, { binary: true });
  assert.deepEqual(await bob.next(), { ...usual, interval_ms: 33_000, timeout_ms: 45_000 });
}

async function room(alice, bob) {
  for (const member of [alice, bob]) {
    assert.equal((await member.ask({ type: 'join', room: 'garden' }, 'j')).delivered, 0);
  }
  bob.send({ type: 'message', room: 'garden', content: { body: 'anybody here?' }, id: '4' });
  const asked = await alice.next();
  assert.deepEqual([asked.from, asked.room, asked.content.body], ['bob', 'garden', 'anybody here?']);
  assert.deepEqual(await bob.next(), { type: 'ack', id: '4', delivered: 1 });
  assert.equal((await alice.ask({ type: 'leave', room: 'garden' }, 'l')).type, 'ack');
  assert.equal((await bob.ask({ type: 'message', room: 'garden', content: 'alone?' }, '5')).delivered, 0);
}

class PythonClient extends Peer {
  static async connect(server, account, transcript) {
    const peer = new PythonClient(account, transcript);
    const script = fileURLToPath(new URL('python_peer.py', import.meta.url));
    const url = `ws://${server.address}/ws?user_id=${account}`;
    const python = process.env.PYTHON ?? 'python3';
    const { child, exited } = start(python, [script, url], { stdio: ['pipe', 'pipe', 'inherit'] });
    peer.input = child.stdin.on('error', () => {});
    createInterface(child.stdout).on('line', line => peer.#said(line));
    exited.then(code => peer.ended({ exit: code }), error => peer.ended({ error: String(error) }));
    assert.equal((await peer.next()).type, 'register');
    return peer;
  }

  #said(line) {
    if (line.startsWith('closed ')) return this.ended({ code: Number(line.slice('closed '.length)) });
    this.lastText = line;
    this.arrived(line);
  }

  transmit(text, binary) { this.input.write(`${binary ? 'binary' : 'text'} ${text}\n`); }

  leave() {
    this.input.end();
    return this.closed();
  }
}
