/** The messages of docs/protocol.md, as this client reads and writes them: the server's own types, and what is binary. */

import type { ClientEvent, Heartbeat, Movement, PauseReason, ServerMessage } from './wire.generated.js';

export const SUBPROTOCOL = 'invigil.v1';
export const STREAM_PATH = '/v1/stream';

export type { ServerMessage };
/** A move that a capture may ask for. Left and right are the learner's own. */
export type Challenge = Movement;
/** Why the server wants the player to stand still. */
export type ServerPause = PauseReason;
/** What the player shows. */
export type PlayerState = Heartbeat;

type Of<Message, Type> = Extract<Message, { type: Type }>;
export type WelcomeMessage = Of<ServerMessage, 'welcome'>;
export type PromptMessage = Of<ServerMessage, 'prompt'>;
export type CaptureMessage = Of<ServerMessage, 'capture'>;

/** Client events (docs/rules.md, section 1), by type. A heartbeat also says the speed that was measured, for the record. */
export type ClientEvents = {
  [Type in ClientEvent['type']]: Of<ClientEvent, Type>['data'];
} & { heartbeat: { speed_milli?: number } };

/** The binary message that carries a photo: length of the header, header, photo. */
export function photoFrame(capture: string, nonce: string, ct: number, photo: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = new TextEncoder().encode(JSON.stringify({ capture, nonce, ct }));
  const frame = new Uint8Array(4 + header.length + photo.length);
  new DataView(frame.buffer).setUint32(0, header.length);
  frame.set(header, 4);
  frame.set(photo, 4 + header.length);
  return frame;
}

/** A frame of a capture. */
export interface Shot {
  /** when the camera took it, ms, with any zero */
  atMs: number;
  /** a JPEG */
  bytes: Uint8Array;
}

/**
 * What is sent for a capture: the photo itself when there is one, otherwise the container of several, `IVB1`, their
 * count, and for each its time since the first (ms, strictly increasing) and its length, big-endian, before its bytes.
 */
export function submission(shots: readonly Shot[]): Uint8Array {
  const first = shots[0];
  if (first === undefined) throw new RangeError('a capture needs a photo');
  if (shots.length === 1) return first.bytes;
  const bytes = new Uint8Array(5 + shots.reduce((sum, shot) => sum + 8 + shot.bytes.length, 0));
  const view = new DataView(bytes.buffer);
  bytes.set([0x49, 0x56, 0x42, 0x31, shots.length]);
  let at = 5;
  let before = -1;
  for (const shot of shots) {
    before = Math.max(before + 1, Math.round(shot.atMs - first.atMs));
    view.setUint32(at, before);
    view.setUint32(at + 4, shot.bytes.length);
    bytes.set(shot.bytes, at + 8);
    at += 8 + shot.bytes.length;
  }
  return bytes;
}
