// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from 'vitest';
import { Holds } from '../src/holds.js';
import { Lesson } from '../src/lesson.js';
import type { Natives } from '../src/realm.js';
import type { Session } from '../src/session.js';
import type { Windows } from '../src/windows.js';
import { Film, ManualClock, WELCOME } from './world.js';

/** A lesson with everything around it in the test's hand. */
class World {
  readonly clock = new ManualClock();
  readonly film = new Film(this.clock);
  readonly told: { type: string; data: Record<string, unknown>; ago: number }[] = [];
  readonly warned: string[] = [];
  readonly link = { downSinceMs: null as number | null, wakes: 0, wake: () => this.link.wakes++ };
  visible = true;
  focused = true;
  windows = { count: 1, first: true };
  lesson!: Lesson;
  readonly holds = new Holds(
    {
      playing: () => this.film.read().playing,
      pause: () => {
        this.film.pause();
        this.lesson?.look();
      },
      play: () => this.film.play(),
    },
    () => {},
  );

  begin(guide = true, welcome: object = {}): this {
    Object.defineProperty(document, 'hidden', { get: () => !this.visible, configurable: true });
    Object.defineProperty(document, 'visibilityState', {
      get: () => (this.visible ? 'visible' : 'hidden'),
      configurable: true,
    });
    document.hasFocus = () => this.focused;
    performance.now = () => this.clock.nowMs;
    const natives = {
      now: () => this.clock.nowMs,
      visible: () => this.visible,
      focused: () => this.focused,
      hasFocus: () => this.focused,
      listen: (target: EventTarget, type: string, listener: (event: Event) => void) => {
        target.addEventListener(type, listener);
        return () => target.removeEventListener(type, listener);
      },
    } as unknown as Natives;
    const session = {
      link: this.link,
      note: () => {},
      report: (type: string, data: Record<string, unknown>, ago = 0) => this.told.push({ type, data, ago }),
    } as unknown as Session;
    const windows = { look: async () => this.windows } as unknown as Windows;
    const { clock, holds } = this;
    const warn = (code: string) => void this.warned.push(code);
    const parts = { natives, clock, session, holds, windows, guide, warn, progress: () => {} };
    this.lesson = new Lesson(parts, { ...WELCOME, ...welcome });
    this.lesson.begin(this.film);
    return this;
  }

  play(): void {
    this.film.play();
    this.lesson.hint('play');
  }

  of(type: string) {
    return this.told.filter((event) => event.type === type).map(({ data }) => data);
  }
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe('lesson', () => {
  it('begins where the lesson goes on, with the page and the windows', () => {
    world.begin(true, { position_ms: 60_000, furthest_ms: 90_000 });
    expect(world.film.pos).toBe(60_000);
    const state = { playing: false, pos_ms: 60_000, rate: 1 };
    expect(world.told.map(({ type, data }) => [type, data])).toEqual([
      ['page', { visible: true, focused: true, ...state }],
      ['windows', { count: 1 }],
    ]);
    world.play();
    expect(world.of('playback')).toEqual([{ event: 'play', playing: true, pos_ms: 60_000, rate: 1 }]);
  });

  it('goes there again when a player has loaded its film late, and not once it was played', async () => {
    world.begin(true, { position_ms: 60_000, furthest_ms: 90_000 });
    world.film.pos = 0;
    world.lesson.hint('loadedmetadata');
    expect(world.film.pos).toBe(60_000);
    world.play();
    await world.clock.pass(2_000);
    world.film.seek(10_000);
    world.lesson.hint('seeking');
    world.lesson.hint('other');
    world.lesson.hint('loadedmetadata');
    expect(world.film.pos).toBe(10_000);
  });

  it('beats while it plays and while it does not, with the speed that the position has', async () => {
    world.begin();
    await world.clock.pass(10_000);
    world.play();
    await world.clock.pass(15_000);
    expect(world.of('heartbeat')).toEqual([
      { playing: false, pos_ms: 0, rate: 1 },
      { playing: false, pos_ms: 0, rate: 1 },
      { playing: true, pos_ms: 5_000, rate: 1 },
      { playing: true, pos_ms: 10_000, rate: 1, speed_milli: 1_000 },
      { playing: true, pos_ms: 15_000, rate: 1, speed_milli: 1_000 },
    ]);
  });

  it('takes back a speed and a jump ahead before they count, and says why', async () => {
    world.begin();
    world.play();
    await world.clock.pass(20_000);
    world.film.setRate(2);
    world.lesson.hint('ratechange');
    expect(world.film.rate).toBe(1);
    world.film.seek(1_000_000);
    world.lesson.hint('seeking');
    expect(world.film.pos).toBe(20_000);
    world.film.seek(5_000);
    world.lesson.hint('seeking');
    world.lesson.hint('other');
    expect(world.warned).toEqual(['rate', 'seek_ahead']);
    await world.clock.pass(5_000);
    expect(world.of('playback').slice(1)).toEqual([
      { event: 'seek', from_ms: 20_000, playing: true, pos_ms: 5_000, rate: 1 },
    ]);
  });

  it('reports speed and jump when it is only to observe', async () => {
    world.begin(false);
    world.play();
    await world.clock.pass(20_000);
    world.film.setRate(2);
    world.lesson.hint('ratechange');
    world.film.seek(1_000_000);
    world.lesson.hint('seeking');
    world.lesson.hint('other');
    expect(world.of('playback').slice(1)).toEqual([
      { event: 'rate', playing: true, pos_ms: 20_000, rate: 2 },
      { event: 'seek', from_ms: 20_000, playing: true, pos_ms: 1_000_000, rate: 2 },
    ]);
    expect(world.warned).toEqual([]);
  });

  it('reports a speed that no event told of, and does not fight a page for ever', async () => {
    world.begin();
    world.play();
    await world.clock.pass(3_000);
    world.film.setRate(4);
    await world.clock.pass(1_000);
    expect(world.of('playback').slice(1)).toMatchObject([{ event: 'rate', rate: 4 }]);
    for (let k = 0; k < 100; k++) {
      world.film.setRate(4);
      world.lesson.hint('ratechange');
    }
    expect(world.warned.length).toBeLessThan(10);
    expect(world.of('playback').at(-1)).toMatchObject({ event: 'rate', rate: 4 });
  });

  it('stops the film of a page that cannot be seen, and says both', async () => {
    world.begin();
    world.play();
    await world.clock.pass(2_500);
    world.visible = false;
    document.dispatchEvent(new Event('visibilitychange'));
    expect(world.film.running).toBe(false);
    expect(world.told.slice(-2).map(({ type, data }) => [type, data])).toEqual([
      ['page', { visible: false, focused: false, playing: true, pos_ms: 2_500, rate: 1 }],
      ['playback', { event: 'pause', playing: false, pos_ms: 2_500, rate: 1 }],
    ]);
    world.visible = true;
    // The event was swallowed: the next look finds out.
    await world.clock.pass(1_000);
    expect(world.film.running).toBe(true);
  });

  it('warns who is elsewhere for long, halfway to the limit, once', async () => {
    world.begin();
    world.play();
    world.focused = false;
    await world.clock.pass(29_000);
    expect(world.warned).toEqual([]);
    await world.clock.pass(60_000);
    expect(world.warned).toEqual(['unfocused']);
  });

  it('holds the film of the second window, and lets it go on when the first is closed', async () => {
    world.begin();
    world.play();
    world.windows = { count: 2, first: false };
    await world.clock.pass(1_000);
    expect(world.film.running, 'a page that is loaded again is there twice for a moment').toBe(true);
    await world.clock.pass(1_500);
    expect([world.film.running, world.warned]).toEqual([false, ['other_window']]);
    await world.clock.pass(60_000);
    world.windows = { count: 1, first: true };
    await world.clock.pass(1_500);
    expect(world.film.running).toBe(true);
    expect(world.of('windows')).toEqual([{ count: 1 }]);
  });

  it('reports a second window that plays on all the same, and when it is over', async () => {
    world.begin(false);
    world.play();
    world.windows = { count: 2, first: false };
    await world.clock.pass(10_000);
    world.windows = { count: 1, first: true };
    await world.clock.pass(2_000);
    expect(world.of('windows')).toEqual([{ count: 1 }, { count: 2 }, { count: 1 }]);
  });

  it('leaves the first window alone', async () => {
    world.begin();
    world.play();
    world.windows = { count: 2, first: true };
    await world.clock.pass(60_000);
    expect([world.film.running, world.warned, world.of('windows')]).toEqual([true, ['other_window'], [{ count: 1 }]]);
  });

  it('stops the film when the server was away for 20 s', async () => {
    world.begin();
    world.play();
    world.link.downSinceMs = world.clock.nowMs;
    await world.clock.pass(19_000);
    expect(world.film.running).toBe(true);
    await world.clock.pass(2_000);
    expect(world.film.running).toBe(false);
    world.link.downSinceMs = null;
    await world.clock.pass(1_000);
    expect(world.film.running).toBe(true);
  });

  it('makes a new connection after a sleep, not after a clock that was set back', async () => {
    world.begin();
    await world.clock.pass(5_000);
    world.clock.wallMs -= 3_600_000;
    await world.clock.pass(5_000);
    expect(world.link.wakes).toBe(0);
    world.clock.wallMs += 3_600_000;
    await world.clock.pass(1_000);
    expect(world.link.wakes).toBe(1);
  });

  it('reports lies once, and nothing that is only unusual', async () => {
    world.begin();
    await world.clock.pass(30_000);
    expect(world.of('tamper')).toEqual([]);
    world.film.claims = ['playback_rate_overridden'];
    Object.defineProperty(document, 'hidden', { get: () => true, configurable: true });
    document.hasFocus = () => false;
    await world.clock.pass(5_000);
    expect(world.of('tamper')).toEqual([
      { what: 'playback_rate_overridden' },
      { what: 'visibility_overridden' },
      { what: 'focus_overridden' },
    ]);
    const zero = world.clock.nowMs;
    performance.now = () => zero + (world.clock.nowMs - zero) * 2;
    await world.clock.pass(20_000);
    expect(world.of('tamper').at(-1)).toEqual({ what: 'clock_overridden' });
    expect(world.of('tamper')).toHaveLength(4);
  });

  it('does not believe a rate that the position belies beat after beat', async () => {
    world.begin(false);
    world.play();
    for (let k = 0; k < 100; k++) {
      await world.clock.pass(200);
      world.film.pos += 200;
      world.lesson.hint('other');
    }
    expect(world.of('tamper')).toEqual([{ what: 'playback_rate_overridden' }]);
  });

  it('says where the player stood when it stops', async () => {
    world.begin();
    world.play();
    await world.clock.pass(1_500);
    world.lesson.stop();
    expect(world.told.at(-1)?.data).toEqual({ event: 'pause', playing: false, pos_ms: 1_500, rate: 1 });
    const count = world.told.length;
    await world.clock.pass(60_000);
    expect(world.told).toHaveLength(count);
  });
});
