/** Why the player must stand still. While there is a reason it is kept paused; when the last goes, it goes on. */

import type { ServerPause } from './wire.js';

export type Hold =
  /** a prompt must be passed, too many answers were wrong, a face must be seen, nothing more can be credited */
  | ServerPause
  /** the session is not connected yet */
  | 'starting'
  /** the last prompt was not answered: the learner says that they are there with `ready()` */
  | 'unanswered'
  /** the page cannot be seen */
  | 'hidden'
  /** a photo is wanted, or was agreed on, and there is no picture */
  | 'camera'
  /** another window of this browser was first */
  | 'windows'
  /** the server has not been reached for 20 s */
  | 'connection';

export interface HeldPlayer {
  /** whether it plays now */
  playing(): boolean;
  pause(): void;
  play(): void;
}

export class Holds {
  readonly #reasons = new Set<Hold>();
  /** whether the learner would be watching if nothing stood in the way */
  #wantsPlay = false;

  readonly #player: HeldPlayer;
  readonly #changed: (reasons: readonly Hold[]) => void;

  constructor(player: HeldPlayer, changed: (reasons: readonly Hold[]) => void) {
    this.#player = player;
    this.#changed = changed;
  }

  has(reason: Hold): boolean {
    return this.#reasons.has(reason);
  }

  set(reason: Hold, on: boolean): void {
    if (this.#reasons.has(reason) === on) return;
    if (on) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    this.#changed(Object.freeze([...this.#reasons]));
    if (on) this.enforce();
    else if (this.#reasons.size === 0 && this.#wantsPlay) {
      this.#wantsPlay = false;
      this.#player.play();
    }
  }

  /** The server's word replaces the one before it. */
  setServer(pause: ServerPause | null): void {
    for (const reason of ['prompt', 'wrong_answers', 'capture', 'quota'] as const) {
      if (reason !== pause) this.set(reason, false);
    }
    if (pause) this.set(pause, true);
  }

  /** Whoever starts the player meanwhile has to wait, and is remembered. */
  enforce(): void {
    if (this.#reasons.size === 0 || !this.#player.playing()) return;
    this.#wantsPlay = true;
    this.#player.pause();
  }

  /** Lets go of the player as it stands. */
  release(): void {
    this.#wantsPlay = false;
    if (this.#reasons.size === 0) return;
    this.#reasons.clear();
    this.#changed(Object.freeze([]));
  }
}
