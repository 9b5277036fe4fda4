/** Photos on their way: committed to, sent once the commitment is on disk, kept until the server has the bytes. */

import type { Outbox } from './outbox.js';
import type { KeptPhoto, Store } from './store.js';
import { type CaptureMessage, photoFrame } from './wire.js';

/** Bytes of photos kept at most: a burst of the longest kind, twice. */
const BYTES_LIMIT = 8 * 1024 * 1024;
/** After these there is nothing left to send. */
const FOR_GOOD = ['capture_expired', 'capture_unknown', 'digest_mismatch', 'photo_too_large'];

export class Photos {
  /** captures whose bytes the server waits for on this connection */
  readonly #wanted = new Set<string>();

  readonly #store: Store;
  readonly #session: string;
  readonly #outbox: Outbox;
  readonly #kept: KeptPhoto[];

  constructor(store: Store, session: string, outbox: Outbox, kept: KeptPhoto[] = []) {
    this.#store = store;
    this.#session = session;
    this.#outbox = outbox;
    this.#kept = kept;
  }

  /** Commits to the bytes for a capture. Whether that could be done: an answer counts once, and room is limited. */
  submit(ct: number, capture: CaptureMessage, bytes: Uint8Array, sha256: string): boolean {
    const room = BYTES_LIMIT - this.#kept.reduce((sum, photo) => sum + photo.bytes.length, 0);
    if (this.has(capture.capture) || bytes.length > room) return false;
    const commitment = this.#outbox.push(ct, 'capture.submitted', { capture: capture.capture, sha256 });
    if (commitment === null) return false;
    const photo = { capture: capture.capture, nonce: capture.nonce, sha256, bytes, commitment };
    this.#kept.push(photo);
    this.#store.addPhoto(this.#session, photo);
    this.#wanted.add(photo.capture);
    return true;
  }

  has(capture: string): boolean {
    return this.#kept.some((photo) => photo.capture === capture);
  }

  /** A connection begins: the server will ask again for what it lacks. */
  resume(): void {
    this.#wanted.clear();
  }

  /** The server asks for a capture. Whether the page holds it already, and nobody needs to take another. */
  asked(capture: CaptureMessage): boolean {
    // One is asked for at a time: what became of the others was said while nobody could hear it.
    for (const other of this.#kept.filter((photo) => photo.capture !== capture.capture)) this.forget(other.capture);
    const photo = this.#kept.find((photo) => photo.capture === capture.capture);
    if (photo === undefined) return false;
    photo.nonce = capture.nonce;
    this.#wanted.add(photo.capture);
    return true;
  }

  /** The next binary message to send. */
  next(ct: number): Uint8Array<ArrayBuffer> | null {
    const due = ({ capture, commitment }: KeptPhoto) =>
      this.#wanted.has(capture) && this.#outbox.isAcknowledged(commitment);
    const photo = this.#kept.find(due);
    if (photo === undefined) return null;
    this.#wanted.delete(photo.capture);
    return photoFrame(photo.capture, photo.nonce, Math.floor(ct), photo.bytes);
  }

  /** The server has the bytes, or wants them no more. */
  forget(capture: string): void {
    const at = this.#kept.findIndex((photo) => photo.capture === capture);
    if (at < 0) return;
    this.#kept.splice(at, 1);
    this.#wanted.delete(capture);
    this.#store.dropPhoto(this.#session, capture);
  }

  refused(capture: string, code: string): void {
    if (FOR_GOOD.includes(code)) this.forget(capture);
  }
}
