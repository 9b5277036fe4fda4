/** The messages of docs/protocol.md, as this client reads and writes them. */

export const SUBPROTOCOL = 'invigil.v1';
export const STREAM_PATH = '/v1/stream';

/** What the player shows. */
export interface PlayerState {
  playing: boolean;
  /** position in the lesson, whole ms */
  pos_ms: number;
  /** 1 is normal */
  rate: number;
}

/** Client events (docs/rules.md, section 1), by type. */
export interface ClientEvents {
  heartbeat: PlayerState & { speed_milli?: number };
  playback: PlayerState & { event: 'play' | 'pause' | 'rate' | 'ended' | 'seek'; from_ms?: number };
  page: PlayerState & { visible: boolean; focused: boolean };
  windows: { count: number };
  'capture.submitted': { capture: string; sha256: string };
  'prompt.answered': { prompt: string; answer: string };
  tamper: { what: string };
  gap: { lost: number; from_ct: number; to_ct: number };
  consent: { text_sha256: string; language: string };
}

/** A move that a capture may ask for. Left and right are the learner's own. */
export type Challenge = 'turn_left' | 'turn_right' | 'look_up' | 'look_down' | 'blink_twice';

export interface WelcomeMessage {
  type: 'welcome';
  session: string;
  acknowledged: number;
  duration_ms: number;
  furthest_ms: number;
  position_ms: number;
  heartbeat_ms: number;
  pause: ServerPause | null;
}

/** Why the server wants the player to stand still. */
export type ServerPause = 'prompt' | 'wrong_answers' | 'capture' | 'quota';

export interface PromptMessage {
  type: 'prompt';
  prompt: string;
  kind: 'choice' | 'sum';
  text: string;
  options?: string[] | null;
  /** base64 of a PNG */
  picture?: string | null;
  answer_within_ms: number;
}

export interface CaptureMessage {
  type: 'capture';
  capture: string;
  nonce: string;
  reason: string;
  commit_within_ms: number;
  send_within_ms: number;
  bytes_limit: number;
  pixels_limit: number;
  committed?: string | null;
  frames?: number;
  frame_every_ms?: number;
  challenge?: Challenge | null;
}

export interface ErrorMessage {
  type: 'error';
  code: string;
  field: string | null;
  detail: string;
  retry_after_ms: number | null;
  capture: string | null;
}

export interface ClosedMessage {
  type: 'closed';
  reason: string;
  verdict: unknown;
}

export type ServerMessage =
  | { type: 'challenge'; nonce: string; server: string }
  | { type: 'ping'; id: number }
  | WelcomeMessage
  | { type: 'ack'; seq: number }
  | { type: 'renew'; token: string; expires_in_ms: number }
  | { type: 'go_away'; reason: string; url: string | null; reconnect_in_ms: number }
  | ClosedMessage
  | PromptMessage
  | { type: 'prompt.closed'; prompt: string; outcome: string }
  | CaptureMessage
  | { type: 'photo.received'; capture: string }
  | { type: 'capture.closed'; capture: string; outcome: string; advice: string | null }
  | { type: 'pause'; reason: ServerPause }
  | { type: 'play' }
  | { type: 'warning'; rule: string; cause: string | null; since_ms?: number }
  | { type: 'notice'; code: string; detail: string }
  | ErrorMessage;

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
