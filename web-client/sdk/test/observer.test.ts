import { beforeEach, describe, expect, it } from 'vitest';
import { Observer } from '../src/player/observer.js';
import { Film, ManualClock } from './world.js';

let clock: ManualClock;
let film: Film;
let observer: Observer;
let told: unknown[];

beforeEach(() => {
  clock = new ManualClock();
  film = new Film(clock);
  told = [];
  observer = new Observer(film, {
    now: () => clock.nowMs,
    playback: (event, { playing, pos_ms, rate }, agoMs, fromMs) => {
      told.push([
        event,
        playing,
        pos_ms,
        rate,
        ...(agoMs ? [{ agoMs }] : []),
        ...(fromMs === undefined ? [] : [{ fromMs }]),
      ]);
    },
  });
  observer.look();
});

/** Lets time pass as a page looks at its player: once a second. */
async function watch(ms: number): Promise<void> {
  for (; ms > 0; ms -= 1_000) {
    await clock.pass(Math.min(ms, 1_000));
    observer.look();
  }
}

describe('observer', () => {
  it('tells of starts, stops and speeds, and of nothing while all goes on', async () => {
    film.play();
    observer.look();
    await watch(10_000);
    film.setRate(2);
    await watch(2_000);
    film.pause();
    observer.look();
    await watch(60_000);
    expect(told).toEqual([
      ['play', true, 0, 1],
      ['rate', true, 12_000, 2],
      ['pause', false, 14_000, 2],
    ]);
    expect(observer.furthestMs).toBe(14_000);
  });

  it('tells of a start that it noticed late as it was, so that nothing seems to be jumped over', async () => {
    await watch(5_000);
    film.play();
    await clock.pass(400);
    observer.look();
    expect(told).toEqual([['play', true, 0, 1, { agoMs: 400 }]]);
    expect(observer.furthestMs).toBe(400);
    film.pause();
    observer.look();
    film.play();
    await clock.pass(300);
    film.pause();
    observer.look();
    expect(told.slice(1)).toEqual([
      ['pause', false, 400, 1],
      ['play', true, 400, 1, { agoMs: 300 }],
      ['pause', false, 700, 1],
    ]);
  });

  it('never leaves behind what was played between two looks, however often it is stopped', async () => {
    for (let k = 0; k < 50; k++) {
      film.play();
      await clock.pass(120);
      observer.look();
      film.pause();
      observer.look();
    }
    expect(observer.furthestMs).toBe(observer.read().pos_ms);
  });

  it('tells a jump with where it began, once, at its end', async () => {
    film.play();
    observer.look();
    await watch(10_000);
    await clock.pass(500);
    observer.seeking();
    film.seek(3_000);
    observer.seeking();
    film.seek(4_000);
    observer.look();
    expect(told.slice(1)).toEqual([['seek', true, 4_000, 1, { fromMs: 10_500 }]]);
    expect(observer.furthestMs).toBe(10_000);
  });

  it('finds a jump that no event told of', async () => {
    film.play();
    observer.look();
    await watch(5_000);
    film.seek(100_000);
    await watch(1_000);
    film.pause();
    observer.look();
    film.seek(50_000);
    observer.look();
    expect(told.slice(1)).toEqual([
      ['seek', true, 101_000, 1, { fromMs: 6_000 }],
      ['pause', false, 101_000, 1],
      ['seek', false, 50_000, 1, { fromMs: 101_000 }],
    ]);
    expect(observer.furthestMs, 'a jump is not watching').toBe(5_000);
  });

  it('takes a page that stood still for a while for what it is', async () => {
    film.play();
    observer.look();
    await clock.pass(8_000);
    observer.look();
    expect([told.length, observer.furthestMs]).toEqual([1, 8_000]);
  });

  it('measures the speed that the position has, whatever the rate says', async () => {
    film.play();
    observer.look();
    observer.speed(0);
    film.pos = 0;
    await watch(5_000);
    expect(observer.speed(5_000)).toBe(1_000);
    // The rate that is read stays 1, while the film runs three times as fast: small steps, no jump.
    for (let k = 0; k < 20; k++) {
      await clock.pass(250);
      film.pos += 500;
      observer.look();
    }
    expect(observer.speed(10_000)).toBe(3_000);
    expect(told).toHaveLength(1);
    film.pause();
    observer.look();
    expect(observer.speed(15_000)).toBeNull();
    film.play();
    observer.look();
    expect(observer.speed(20_000), 'a stretch begins').toBeNull();
    expect(observer.speed(20_500), 'too short to say').toBeNull();
  });

  it('tells the end of the film', async () => {
    film.seek(film.lengthMs - 1_500);
    observer.begin();
    film.play();
    observer.look();
    await watch(3_000);
    expect(told.at(-1)).toEqual(['ended', false, film.lengthMs, 1]);
  });
});
