import { beforeEach, describe, expect, it } from 'vitest';
import { type Hold, Holds } from '../src/holds.js';

let playing: boolean;
let seen: readonly Hold[];
let holds: Holds;

beforeEach(() => {
  playing = true;
  seen = [];
  holds = new Holds(
    {
      playing: () => playing,
      pause: () => {
        playing = false;
      },
      play: () => {
        playing = true;
      },
    },
    (reasons) => {
      seen = reasons;
    },
  );
});

describe('holds', () => {
  it('lets the film go on when the last reason is gone', () => {
    holds.set('hidden', true);
    holds.set('camera', true);
    expect([playing, seen]).toEqual([false, ['hidden', 'camera']]);
    holds.set('hidden', false);
    expect(playing).toBe(false);
    holds.set('camera', false);
    expect([playing, seen]).toEqual([true, []]);
  });

  it('does not start a film that the learner had stopped', () => {
    playing = false;
    holds.set('hidden', true);
    holds.set('hidden', false);
    expect(playing).toBe(false);
  });

  it('stops whoever starts it meanwhile, and remembers that they wanted to', () => {
    playing = false;
    holds.set('camera', true);
    playing = true;
    holds.enforce();
    expect(playing).toBe(false);
    holds.set('camera', false);
    expect(playing).toBe(true);
  });

  it('has one word of the server at a time', () => {
    holds.setServer('prompt');
    holds.setServer('capture');
    expect(seen).toEqual(['capture']);
    holds.set('unanswered', true);
    holds.setServer(null);
    expect([seen, playing]).toEqual([['unanswered'], false]);
    holds.release();
    expect([seen, playing]).toEqual([[], false]);
  });
});
