// A server that is told to stop says so to everybody, and ends well.

import assert from 'node:assert/strict';
import { Client, serve, within } from './support.mjs';

const CLIENTS = 200;

export default async function shutdown() {
  const server = await serve();
  const names = Array.from({ length: CLIENTS }, (_, number) => `client-${number}`);
  const clients = await Promise.all(names.map(name => Client.connect(server, name)));
  server.kill('SIGTERM');
  const closes = await Promise.all(clients.map(client => client.closed()));
  closes.forEach(({ code, reason }) => assert.equal(code, 1001, reason));
  assert.equal(await within(server.exited, 'the exit of the server'), 0);
}
