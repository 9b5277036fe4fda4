/** The messages as this client writes them down, held against the server's own types (docs/protocol.schema.json). */

import { expectTypeOf, test } from 'vitest';
import type * as server from '../src/wire.generated.js';
import type { ClientEvents, ServerMessage } from '../src/wire.js';

type DataOf<Type extends keyof ClientEvents> = Extract<server.ClientEvent, { type: Type }>['data'];

test('whatever the server sends is a message that this client knows', () => {
  expectTypeOf<server.ServerMessage>().toExtend<ServerMessage>();
  expectTypeOf<server.ServerMessage['type']>().toEqualTypeOf<ServerMessage['type']>();
});

test('whatever this client reports is what the server reads', () => {
  expectTypeOf<keyof ClientEvents>().toEqualTypeOf<server.ClientEvent['type']>();
  expectTypeOf<ClientEvents>().toExtend<{ [Type in keyof ClientEvents]: DataOf<Type> }>();
});
