// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';
import { findMedia, type Hint, makePlayer } from '../src/player/adapter.js';
import { captureNatives } from '../src/realm.js';

const natives = captureNatives(window as never);
let hints: Hint[];
const hint = (hint: Hint) => void hints.push(hint);
const video = (parent: Element = document.body) => parent.appendChild(document.createElement('video'));

beforeEach(() => {
  document.body.replaceChildren();
  hints = [];
});

describe('a player', () => {
  it('is found in whatever the known libraries hand out', () => {
    const holder = document.body.appendChild(document.createElement('div'));
    const film = video(holder);
    const found = {
      element: film,
      selector: 'video',
      holder,
      'hls.js': { media: film },
      Plyr: { elements: {}, media: film },
      xgplayer: { root: holder, media: film },
      DPlayer: { container: holder, video: film },
      ArtPlayer: { template: { $video: film } },
      'video.js': { el_: holder, play: () => {}, pause: () => {} },
    };
    for (const [name, player] of Object.entries(found)) expect(findMedia(player), name).toBe(film);
    const shadow = document.body.appendChild(document.createElement('x-player')).attachShadow({ mode: 'open' });
    const hidden = shadow.appendChild(document.createElement('video'));
    expect(findMedia(shadow.host)).toBe(hidden);
    for (const nothing of [null, 5, {}, { media: null }, 'audio', document.createElement('div')]) {
      expect(findMedia(nothing)).toBeNull();
    }
  });

  it('may be three methods', () => {
    let changed = () => {};
    const reading = { playing: true, positionMs: 7, rate: 1 };
    const adapter = {
      read: () => reading,
      play: () => {},
      pause: () => {},
      onChange: (then: () => void) => (changed = then),
    };
    const player = makePlayer(adapter as never, natives, hint);
    expect(player.read()).toEqual(reading);
    changed();
    player.seek(5);
    expect([hints, player.lies(), player.element()]).toEqual([['other'], [], null]);
  });

  it('is followed when its element is replaced, by the library or in its place', () => {
    const holder = document.body.appendChild(document.createElement('div'));
    const first = video(holder);
    const library = { media: first };
    const [byLibrary, plain] = [makePlayer(library, natives, hint), makePlayer(first, natives, () => {})];
    const second = document.createElement('video');
    first.replaceWith(second);
    library.media = second;
    byLibrary.refresh();
    plain.refresh();
    expect([byLibrary.element(), plain.element()]).toEqual([second, second]);
    first.dispatchEvent(new Event('seeking'));
    expect(hints).toEqual([]);
    for (const type of ['playing', 'ratechange', 'seeking', 'seeked', 'timeupdate'])
      second.dispatchEvent(new Event(type));
    expect(hints).toEqual(['play', 'ratechange', 'seeking', 'other', 'other']);
    byLibrary.dispose();
    second.dispatchEvent(new Event('seeking'));
    expect(hints).toHaveLength(5);
  });

  it('is read past what a page has patched, and the lie is named', () => {
    const film = video();
    film.playbackRate = 2;
    const player = makePlayer(film, natives, hint);
    expect(player.lies()).toEqual([]);
    Object.defineProperty(film, 'playbackRate', { get: () => 1, configurable: true });
    Object.defineProperty(film, 'paused', { get: () => !natives.paused(film), configurable: true });
    expect(film.playbackRate).toBe(1);
    expect(player.read().rate).toBe(2);
    expect(player.lies()).toEqual(['playback_rate_overridden', 'paused_overridden']);
    player.setRate(1);
    expect(player.read().rate).toBe(1);
  });
});
