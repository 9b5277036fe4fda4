import { describe, expect, it, vi } from 'vitest';
import { holdSession, Windows } from '../src/windows.js';
import { settle } from './world.js';

/** Web Locks of one browser. */
class Locks {
  held = new Map<string, (reason: unknown) => void>();

  request(name: string, ...rest: unknown[]): Promise<unknown> {
    const work = rest.at(-1) as () => Promise<void>;
    const { steal } = (rest.length > 1 ? rest[0] : {}) as { steal?: boolean };
    const before = this.held.get(name);
    if (before && !steal) return new Promise(() => {});
    return new Promise((resolve, reject) => {
      before?.(new DOMException('stolen', 'AbortError'));
      this.held.set(name, reject);
      work().then(() => {
        if (this.held.get(name) === reject) this.held.delete(name);
        resolve(undefined);
      });
    });
  }

  async query() {
    return { held: [...this.held.keys()].map((name) => ({ name })), pending: [] };
  }
}

const browser = () => new Locks() as unknown as LockManager;

describe('windows', () => {
  it('sees the others of this browser, and who was first', async () => {
    const locks = browser();
    const [first, second] = [new Windows(locks), new Windows(locks)];
    expect(await first.look()).toEqual({ count: 1, first: true });
    first.enter('s1', 1_000);
    second.enter('s2', 2_000);
    expect(await first.look()).toEqual({ count: 2, first: true });
    expect(await second.look()).toEqual({ count: 2, first: false });
    first.leave();
    await settle();
    expect(await second.look()).toEqual({ count: 1, first: true });
  });

  it('tells two windows apart that came in the same moment', async () => {
    const locks = browser();
    const all = ['a', 'b', 'c'].map((id) => {
      const windows = new Windows(locks);
      windows.enter(id, 1_000);
      return windows;
    });
    const seen = await Promise.all(all.map((windows) => windows.look()));
    expect(seen.map(({ first }) => first)).toEqual([true, false, false]);
  });

  it('makes do without Web Locks', async () => {
    const windows = new Windows(undefined);
    windows.enter('s1', 1);
    expect(await windows.look()).toEqual({ count: 1, first: true });
    holdSession('s1', () => {}, undefined)();
  });

  it('gives a session to the newest window, and tells the one before', async () => {
    const locks = browser();
    const [lost, kept] = [vi.fn(), vi.fn()];
    holdSession('s1', lost, locks);
    const release = holdSession('s1', kept, locks);
    await settle();
    expect([lost.mock.calls.length, kept.mock.calls.length]).toEqual([1, 0]);
    release();
    await settle();
    holdSession('s1', () => {}, locks);
    await settle();
    expect(kept).not.toHaveBeenCalled();
  });
});
