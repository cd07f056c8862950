// A message that arrives a byte a second is cut off, though each byte, and each answered ping, is a sign of life.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterwards, serve, within } from './support.mjs';

const DEADLINE_MS = 3_000, PIECE_EVERY_MS = 1_000;
// Between any two bytes there is a ping, and a timeout is far away.
const HEARTBEATS = ['--heartbeat-interval', '400ms', '--heartbeat-timeout', '30s'];

export default async function dribble() {
  const server = await serve(['--assembly-deadline', `${DEADLINE_MS}ms`, ...HEARTBEATS]);
  const dribblers = [dribbler(server, oneFrame(), false), dribbler(server, fragments(), true)];
  const [, pongs] = await within(Promise.all(dribblers), 'the end of the dribblers');
  assert(pongs > 0, 'no ping came between the fragments');
}

// Frames by hand (RFC 6455 §5.2), masked with zeros.
const FIN = 0x80, CONTINUATION = 0, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;
const MASKED = 0x80, MASK = [0, 0, 0, 0], LETTER = 'a'.charCodeAt(0);

function* oneFrame() {
  yield [FIN | TEXT, MASKED | 100, ...MASK];
  for (;;) yield [LETTER];
}

function* fragments() {
  for (let opcode = TEXT; ; opcode = CONTINUATION) yield [opcode, MASKED | 1, ...MASK, LETTER];
}

/** Sends a piece a second until the server closes; returns how many pings it answered. */
async function dribbler(server, pieces, answersPings) {
  const socket = connect({ port: server.address.split(':')[1], host: '127.0.0.1' });
  afterwards(() => socket.destroy());
  const incoming = frames(socket);
  socket.write(`GET /ws?user_id=dribbler HTTP/1.1\r\nHost: ${server.address}\r\nConnection: Upgrade\r\n`
    + 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
  assert.equal((await incoming.next()).value.opcode, TEXT);
  const started = performance.now();
  const timer = setInterval(() => socket.write(Buffer.from(pieces.next().value)), PIECE_EVERY_MS);
  afterwards(() => clearInterval(timer));
  let pongs = 0;
  for (;;) {
    const { opcode, payload } = (await incoming.next()).value;
    if (opcode === PING && answersPings) {
      socket.write(Buffer.from([FIN | PONG, MASKED | payload.length, ...MASK, ...payload]));
      pongs += 1;
    }
    if (opcode === CLOSE) {
      assert.equal(payload.readUInt16BE(), 4104, payload.subarray(2).toString());
      assert(performance.now() - started >= DEADLINE_MS);
      return pongs;
    }
  }
}

/** The server's frames behind the response: whole, unmasked, and shorter than 64 KiB. */
async function* frames(socket) {
  let bytes = Buffer.alloc(0);
  const more = async () => { [bytes] = [Buffer.concat([bytes, (await once(socket, 'data'))[0]])]; };
  const take = async length => {
    while (bytes.length < length) await more();
    const taken = bytes.subarray(0, length);
    bytes = bytes.subarray(length);
    return taken;
  };
  while (!bytes.includes('\r\n\r\n')) await more();
  await take(bytes.indexOf('\r\n\r\n') + 4);
  for (;;) {
    const [first, short] = await take(2);
    const length = short < 126 ? short : (await take(2)).readUInt16BE();
    yield { opcode: first & 0x0f, payload: await take(length) };
  }
}
