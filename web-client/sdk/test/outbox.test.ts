import { describe, expect, it } from 'vitest';
import { EVENTS_LIMIT, Outbox } from '../src/outbox.js';
import { MEMORY_ONLY } from '../src/store.js';
import { record } from './world.js';

const rest = (outbox: Outbox) => {
  const all: { seq: number; ct: number; type: string; data: unknown }[] = [];
  for (let text = outbox.next(); text !== null; text = outbox.next()) all.push(JSON.parse(text));
  return all;
};

describe('outbox', () => {
  it('numbers events from what the server has, and forgets what is acknowledged', () => {
    const outbox = new Outbox(MEMORY_ONLY, record());
    outbox.resume(0);
    const first = outbox.push(10, 'windows', { count: 1 });
    outbox.push(20, 'windows', { count: 2 });
    expect(rest(outbox).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(outbox.next()).toBeNull();
    outbox.acknowledge(1);
    expect(outbox.isAcknowledged(first!)).toBe(true);
    expect(outbox.empty).toBe(false);
    outbox.resume(1);
    expect(rest(outbox)).toEqual([{ seq: 2, ct: 20, type: 'windows', data: { count: 2 } }]);
    outbox.acknowledge(2);
    outbox.acknowledge(1);
    expect([outbox.empty, outbox.acknowledged]).toEqual([true, 2]);
  });

  it('never takes an event that was not sent for one that the server has', () => {
    const kept = [
      { number: 8, ct: 80, type: 'windows', data: { count: 1 } },
      { number: 9, ct: 90, type: 'windows', data: { count: 2 } },
    ];
    // The page before this one was told of 7, and sent two more; a third was sent and is not in its store.
    const outbox = new Outbox(MEMORY_ONLY, record({ acknowledged: 7, forgotten: 7, ct: 90 }), kept);
    outbox.push(100, 'windows', { count: 3 });
    outbox.resume(10);
    expect(rest(outbox)).toEqual([{ seq: 11, ct: 100, type: 'windows', data: { count: 3 } }]);
  });

  it('keeps its clock from falling, also behind what an earlier page used', () => {
    const outbox = new Outbox(MEMORY_ONLY, record({ ct: 500 }));
    outbox.push(400.7, 'windows', { count: 1 });
    outbox.push(600.7, 'windows', { count: 1 });
    outbox.push(599, 'windows', { count: 1 });
    expect(rest(outbox).map(({ ct }) => ct)).toEqual([500, 600, 600]);
  });

  it('says how much it lost when it was full', () => {
    const outbox = new Outbox(MEMORY_ONLY, record());
    for (let count = 1; count <= EVENTS_LIMIT; count++) expect(outbox.push(count, 'windows', { count })).not.toBeNull();
    expect(outbox.push(5_000, 'windows', { count: 0 })).toBeNull();
    expect(outbox.push(6_000, 'windows', { count: 0 })).toBeNull();
    rest(outbox);
    outbox.acknowledge(100);
    outbox.push(7_000, 'windows', { count: 9 });
    expect(rest(outbox)).toEqual([
      { seq: EVENTS_LIMIT + 1, ct: 6_000, type: 'gap', data: { lost: 2, from_ct: 5_000, to_ct: 6_000 } },
      { seq: EVENTS_LIMIT + 2, ct: 7_000, type: 'windows', data: { count: 9 } },
    ]);
  });
});
