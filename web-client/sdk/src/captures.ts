/** Answers captures: waits for the camera, announces a move, takes the frames, hands them over. One at a time. */

import type { Camera } from './camera.js';
import type { Clock } from './clock.js';
import { type CaptureMessage, type Challenge, submission } from './wire.js';

/** How long a move is shown before the first frame: time to read it. */
const LEAD_MS = 2_000;
/** Kept back from the time to commit, for the network. */
const RESERVE_MS = 3_000;
/** A burst has at most so many frames. */
const FRAMES_LIMIT = 16;
const RETRY_MS = 500;

export interface CaptureSeen {
  readonly capture: string;
  readonly reason: string;
  /** the move that is asked for, or null */
  readonly challenge: Challenge | null;
  /** `waiting` for the camera, `announced`, `taking` the frames, `sent` */
  readonly step: 'waiting' | 'announced' | 'taking' | 'sent';
  /** how long the step takes, ms */
  readonly forMs: number;
}

export interface CapturesOwner {
  submit(capture: CaptureMessage, bytes: Uint8Array): Promise<boolean>;
  changed(capture: CaptureSeen | null): void;
  failed(error: unknown): void;
}

export class Captures {
  #current: { message: CaptureMessage; deadlineMs: number } | null = null;
  #busy = false;

  readonly #camera: Camera;
  readonly #clock: Clock;
  readonly #owner: CapturesOwner;

  constructor(camera: Camera, clock: Clock, owner: CapturesOwner) {
    this.#camera = camera;
    this.#clock = clock;
    this.#owner = owner;
  }

  /** Whether a photo is wanted that was not taken yet. */
  get wanted(): boolean {
    return this.#current !== null;
  }

  asked(message: CaptureMessage): void {
    const deadlineMs = this.#clock.now() + message.commit_within_ms;
    if (this.#current?.message.capture === message.capture) {
      // Asked again after a reconnect: what is being taken will do.
      Object.assign(this.#current, { message, deadlineMs });
      return;
    }
    this.#current = { message, deadlineMs };
    this.#show('waiting', message.commit_within_ms);
    void this.work();
  }

  closed(capture: string): void {
    if (this.#current?.message.capture === capture) this.#current = null;
    this.#owner.changed(null);
  }

  /** The session is over. */
  stop(): void {
    this.#current = null;
  }

  /** The camera has come on. */
  async work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#current && this.#camera.state.status === 'on') {
        const current = this.#current;
        if (this.#clock.now() > current.deadlineMs) break;
        if ((await this.#attempt(current.message, current.deadlineMs)) && this.#current === current)
          this.#current = null;
        else if (this.#current === current) await this.#pause(RETRY_MS);
      }
    } finally {
      this.#busy = false;
    }
  }

  async #attempt(message: CaptureMessage, deadlineMs: number): Promise<boolean> {
    const count = Math.min(FRAMES_LIMIT, Math.max(1, message.frames ?? 1));
    const everyMs = message.frame_every_ms ?? 0;
    const takesMs = (count - 1) * everyMs;
    try {
      const spareMs = deadlineMs - this.#clock.now() - takesMs - RESERVE_MS;
      if (message.challenge && spareMs > 0) {
        const leadMs = Math.min(LEAD_MS, spareMs);
        this.#show('announced', leadMs);
        await this.#pause(leadMs);
      }
      this.#show('taking', takesMs);
      const shots = await this.#camera.shoot(count, everyMs, message.bytes_limit, message.pixels_limit);
      // Asked for anew meanwhile, the nonce may be another; the session has the newest.
      if (this.#current?.message.capture !== message.capture) return true;
      const sent = await this.#owner.submit(this.#current.message, submission(shots));
      if (sent) this.#show('sent', 0);
      return sent;
    } catch (error) {
      this.#owner.failed(error);
      return false;
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(ms, () => resolve()));
  }

  #show(step: CaptureSeen['step'], forMs: number): void {
    if (!this.#current) return;
    const { capture, reason, challenge = null } = this.#current.message;
    this.#owner.changed(Object.freeze({ capture, reason, challenge, step, forMs }));
  }
}
