/** Anything that plays a lesson, reduced to what is watched and steered. */

import { ProctorError } from '../errors.js';
import type { Natives } from '../realm.js';

/** What a player shows at a moment. */
export interface Reading {
  playing: boolean;
  /** position, ms */
  positionMs: number;
  /** 1 is normal speed */
  rate: number;
  ended?: boolean;
}

/** A player of your own: three methods. It is read once a second, and whenever `onChange` was called. */
export interface PlayerAdapter {
  /** the state now */
  read(): Reading;
  /** starts it; may return a promise that rejects when the browser does not let it */
  play(): void | Promise<void>;
  /** stops it */
  pause(): void;
  /** goes to a position; without it the learner is not brought back to where they were */
  seek?(positionMs: number): void;
  /** tells the player whom to call when something changed */
  onChange?(changed: () => void): void;
}

/** What `attach` takes: a video, a selector, a player of a known library, or an adapter. */
export type PlayerLike = HTMLMediaElement | string | PlayerAdapter | object;

/** What the observer watches. */
export interface Player {
  read(): Reading;
  play(): void | Promise<void>;
  pause(): void;
  seek(positionMs: number): void;
  setRate(rate: number): void;
  /** What the page's own getters claim that is not so. */
  lies(): string[];
  /** The element may have been replaced: looks again. */
  refresh(): void;
  /** Where the player is on the page; null when it has no element. */
  element(): HTMLElement | null;
  dispose(): void;
}

/** What may have happened; what did is read from the player. */
export type Hint = 'seeking' | 'ratechange' | 'play' | 'loadedmetadata' | 'other';
const HINTS: Record<string, Hint> = {
  play: 'play',
  playing: 'play',
  pause: 'other',
  ratechange: 'ratechange',
  seeking: 'seeking',
  seeked: 'other',
  ended: 'other',
  timeupdate: 'other',
  loadedmetadata: 'loadedmetadata',
};
/** Where players of known libraries keep their element: hls.js, Plyr and xgplayer, DPlayer and ArtPlayer, video.js. */
const PLACES = ['media', 'video', 'el_', 'root', 'template', '$video', 'container'];

function isMedia(value: unknown): value is HTMLMediaElement {
  return typeof HTMLMediaElement !== 'undefined' && value instanceof HTMLMediaElement;
}

/** The media element that `target` is, holds or shows; null when there is none (yet). */
export function findMedia(target: unknown, depth = 2): HTMLMediaElement | null {
  if (typeof target === 'string') return findMedia(document.querySelector(target), depth);
  if (target === null || typeof target !== 'object') return null;
  if (isMedia(target)) return target;
  const { querySelector, shadowRoot } = target as Partial<Element>;
  if (typeof querySelector === 'function') {
    const inside = (target as Element).querySelector<HTMLMediaElement>('video, audio');
    return inside ?? (shadowRoot ? findMedia(shadowRoot, depth) : null);
  }
  if (depth === 0) return null;
  for (const place of PLACES) {
    const found = findMedia((target as Record<string, unknown>)[place], depth - 1);
    if (found) return found;
  }
  return null;
}

function isAdapter(target: object): target is PlayerAdapter {
  const { read, play, pause } = target as Partial<PlayerAdapter>;
  return [read, play, pause].every((method) => typeof method === 'function');
}

export function makePlayer(target: PlayerLike, natives: Natives, hint: (hint: Hint) => void): Player {
  if (typeof target === 'object' && target !== null && !isMedia(target) && isAdapter(target)) {
    return fromAdapter(target, hint);
  }
  if (findMedia(target) === null) {
    const message =
      'attach: no <video> was found. Pass the element itself, a selector, a player (hls.js, video.js, Plyr, xgplayer, ' +
      'DPlayer, ArtPlayer) that has attached to its element, or an object with read(), play() and pause().';
    throw new ProctorError('bad_player', message);
  }
  return new MediaPlayer(target, natives, hint);
}

function fromAdapter(adapter: PlayerAdapter, hint: (hint: Hint) => void): Player {
  adapter.onChange?.(() => hint('other'));
  const nothing = () => {};
  return {
    read: () => adapter.read(),
    play: () => adapter.play(),
    pause: () => adapter.pause(),
    seek: (positionMs) => adapter.seek?.(positionMs),
    setRate: nothing,
    lies: () => [],
    refresh: nothing,
    element: () => null,
    dispose: nothing,
  };
}

class MediaPlayer implements Player {
  #media!: HTMLMediaElement;
  #parent: ParentNode | null = null;
  #unlisten: (() => void)[] = [];

  readonly #target: PlayerLike;
  readonly #natives: Natives;
  readonly #hint: (hint: Hint) => void;

  constructor(target: PlayerLike, natives: Natives, hint: (hint: Hint) => void) {
    this.#target = target;
    this.#natives = natives;
    this.#hint = hint;
    this.refresh();
  }

  read(): Reading {
    const natives = this.#natives;
    const media = this.#media;
    const ended = natives.ended(media);
    return {
      playing: !natives.paused(media) && !ended,
      positionMs: Math.max(0, natives.currentTime(media) * 1000),
      rate: natives.playbackRate(media),
      ended,
    };
  }

  play(): Promise<void> {
    return this.#natives.play(this.#media);
  }

  pause(): void {
    this.#natives.pause(this.#media);
  }

  seek(positionMs: number): void {
    this.#natives.setCurrentTime(this.#media, positionMs / 1000);
  }

  setRate(rate: number): void {
    this.#natives.setPlaybackRate(this.#media, rate);
  }

  lies(): string[] {
    const natives = this.#natives;
    const media = this.#media;
    const lies: string[] = [];
    // Read one right after the other: within a task these do not change by themselves.
    if (media.playbackRate !== natives.playbackRate(media)) lies.push('playback_rate_overridden');
    if (Math.abs(media.currentTime - natives.currentTime(media)) > 0.5) lies.push('position_overridden');
    if (media.paused !== natives.paused(media)) lies.push('paused_overridden');
    return lies;
  }

  refresh(): void {
    const found = this.#find();
    if (found === null || found === this.#media) return;
    this.dispose();
    this.#media = found;
    this.#parent = found.parentNode;
    const listen = ([type, hint]: [string, Hint]) => this.#natives.listen(found, type, () => this.#hint(hint));
    this.#unlisten = Object.entries(HINTS).map(listen);
  }

  /** The library's element as it is now; for a plain one that was replaced, what stands in its place. */
  #find(): HTMLMediaElement | null {
    const found = findMedia(this.#target);
    if (found !== null && (found.isConnected || found !== this.#media)) return found;
    return (this.#parent?.isConnected && findMedia(this.#parent)) || found;
  }

  element(): HTMLElement {
    return this.#media;
  }

  dispose(): void {
    for (const stop of this.#unlisten) stop();
    this.#unlisten = [];
  }
}
