/** The client's clock `ct` of a session: it goes on across a reload, and never backwards. */

import type { Clock } from './clock.js';
import type { SessionRecord } from './store.js';

/** A wall clock that says more than this passed between two loads of a page was set meanwhile. */
const RELOAD_LIMIT_MS = 24 * 3_600_000;

export class Timeline {
  readonly #base: number;
  readonly #since: number;

  readonly #clock: Clock;

  constructor(clock: Clock, record: SessionRecord) {
    this.#clock = clock;
    // Within a page the monotonic clock counts; only from one page to the next there is none but the machine's.
    const byWall = clock.wall() - record.zero;
    const passed = byWall - record.ct;
    this.#base = passed >= 0 && passed <= RELOAD_LIMIT_MS ? byWall : record.ct;
    this.#since = clock.now();
  }

  ct(): number {
    return Math.floor(this.#base + this.#clock.now() - this.#since);
  }

  /** Notes where it stands, so that the next page goes on from there. */
  note(record: SessionRecord): void {
    record.ct = Math.max(record.ct, this.ct());
    record.zero = this.#clock.wall() - this.ct();
  }
}
