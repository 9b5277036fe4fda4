/**
 * Follows a player and says what it did. Events of the page are hints that may be swallowed or made up: what is reported
 * is the difference between two readings, at a hint or at the latest after a second.
 */

import type { PlayerState } from '../wire.js';
import type { Player, Reading } from './adapter.js';

/** A position that is this far from where it should be was jumped to, ms: more than a busy page adds. */
const JUMP_AHEAD_MS = 1_000;
const JUMP_BACK_MS = 250;
/** A start that was noticed later than this is not told as one. */
const LATE_START_MS = 2_000;
/** The shortest stretch whose slope says something about speed. */
const SLOPE_LEAST_MS = 2_000;

export interface Seen extends PlayerState {
  ended: boolean;
}

export interface ObserverOwner {
  now(): number;
  /** `agoMs`: how long ago it happened. */
  playback(
    event: 'play' | 'pause' | 'rate' | 'ended' | 'seek',
    state: PlayerState,
    agoMs: number,
    fromMs?: number,
  ): void;
}

export class Observer {
  /** how far the learner has got, ms: as the server counts it */
  furthestMs = 0;
  #last: (Seen & { atMs: number }) | null = null;
  #seekFrom: number | null = null;
  /** start of the stretch whose slope is measured, on the timers' clock */
  #slope: { atMs: number; posMs: number } | null = null;

  readonly #owner: ObserverOwner;

  constructor(
    readonly player: Player,
    owner: ObserverOwner,
  ) {
    this.#owner = owner;
  }

  /** What the player shows, without drawing conclusions. */
  read(): Seen {
    const { playing, positionMs, rate, ended = false }: Reading = this.player.read();
    return { playing, pos_ms: Math.max(0, Math.floor(positionMs)), rate, ended };
  }

  /** Where the player should stand, if it went on as it did when it was last looked at. */
  expected(): number {
    const last = this.#last;
    if (last === null) return this.read().pos_ms;
    return Math.floor(last.pos_ms + (last.playing ? (this.#owner.now() - last.atMs) * last.rate : 0));
  }

  /** The player began to jump: remembers from where. */
  seeking(): void {
    if (this.#last !== null) this.#seekFrom ??= this.expected();
  }

  /** The jump is taken back before anybody learned from it. */
  seekUndone(): void {
    this.#seekFrom = null;
  }

  /** The next reading is a first one: nothing is said of how it came about. */
  begin(): void {
    this.#last = null;
    this.#seekFrom = null;
    this.#slope = null;
  }

  /** Reads the player and reports what it did since it was last read. */
  look(): PlayerState {
    const seen = this.read();
    const last = this.#last;
    const atMs = this.#owner.now();
    this.#last = { ...seen, atMs };
    if (last === null) return this.#first(seen);
    const elapsedMs = atMs - last.atMs;
    const ranMs = seen.pos_ms - last.pos_ms;
    if (this.#seekFrom !== null || this.#jumped(last, seen, elapsedMs)) this.#jump(last, seen, elapsedMs);
    else this.#ran(last, seen, ranMs, elapsedMs);
    if (seen.rate !== last.rate) this.#owner.playback('rate', state(seen), 0);
    return state(seen);
  }

  #first(seen: Seen): PlayerState {
    if (seen.playing) this.#owner.playback('play', state(seen), 0);
    return state(seen);
  }

  #jumped(last: Seen, seen: Seen, elapsedMs: number): boolean {
    const ranMs = seen.pos_ms - last.pos_ms;
    const mayRunMs = last.playing || seen.playing ? elapsedMs * Math.max(last.rate, seen.rate, 1) : 0;
    return ranMs < -JUMP_BACK_MS || ranMs > mayRunMs + JUMP_AHEAD_MS;
  }

  #jump(last: Seen, seen: Seen, elapsedMs: number): void {
    const from = this.#seekFrom ?? Math.floor(last.pos_ms + (last.playing ? elapsedMs * last.rate : 0));
    this.#seekFrom = null;
    this.#slope = null;
    const isOne = Math.abs(seen.pos_ms - from) >= JUMP_BACK_MS;
    if (isOne) this.#owner.playback('seek', state(seen), 0, from);
    else if (last.playing) this.#advance(seen.pos_ms - last.pos_ms, seen);
    if (seen.playing !== last.playing || seen.ended !== last.ended) this.#turn(seen);
  }

  #ran(last: Seen, seen: Seen, ranMs: number, elapsedMs: number): void {
    if (last.playing) {
      this.#advance(ranMs, seen);
      if (!seen.playing) this.#turn(seen);
      return;
    }
    // It began before we noticed. Told as it was, or what ran meanwhile would look like a jump.
    const agoMs = ranMs > 0 && ranMs <= LATE_START_MS ? Math.min(elapsedMs, ranMs / (seen.rate || 1)) : 0;
    if (seen.playing || agoMs > 0) {
      const begun = { playing: true, pos_ms: agoMs > 0 ? last.pos_ms : seen.pos_ms, rate: seen.rate };
      this.#owner.playback('play', begun, agoMs);
      this.#advance(agoMs > 0 ? ranMs : 0, seen);
      if (!seen.playing) this.#turn(seen);
    }
  }

  #turn(seen: Seen): void {
    this.#slope = null;
    this.#owner.playback(seen.playing ? 'play' : seen.ended ? 'ended' : 'pause', state(seen), 0);
  }

  #advance(ranMs: number, seen: Seen): void {
    this.furthestMs = Math.max(this.furthestMs, Math.min(seen.pos_ms, this.furthestMs + Math.max(0, ranMs)));
  }

  /**
   * Speed since the last call, thousandths: the position's slope against the timers' clock. Nothing when the player
   * did not run all the time, or was moved.
   */
  speed(atMs: number): number | null {
    const posMs = this.#last?.playing ? this.#last.pos_ms : null;
    const before = this.#slope;
    this.#slope = posMs === null ? null : { atMs, posMs };
    if (before === null || posMs === null || atMs - before.atMs < SLOPE_LEAST_MS) return null;
    return Math.round(((posMs - before.posMs) * 1000) / (atMs - before.atMs));
  }
}

function state({ playing, pos_ms, rate }: Seen): PlayerState {
  return { playing, pos_ms, rate };
}
