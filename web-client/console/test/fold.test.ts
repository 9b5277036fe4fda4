import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fold } from '../src/lib/fold';
import { parseLog } from '../src/lib/log';
import { DEFAULTS, parametersOf } from '../src/lib/parameters';

const examples = fileURLToPath(new URL('../../../tests/examples/', import.meta.url));
const names = readdirSync(examples)
  .filter((name) => name.endsWith('.jsonl'))
  .map((name) => name.slice(0, -6));

describe('the log as the page reads it', () => {
  it.each(names)('comes to the sums of the verdict of example %s', (name) => {
    const { lines, unreadable } = parseLog(readFileSync(`${examples}${name}.jsonl`, 'utf8'));
    const verdict = JSON.parse(readFileSync(`${examples}${name}.verdict.json`, 'utf8'));
    const folded = fold(lines, DEFAULTS);
    expect(unreadable).toBe(0);
    expect({
      watch_ms: folded.watchMs,
      watched_ms: folded.watchedMs,
      creditable_ms: folded.creditableMs,
      furthest_ms: folded.furthest,
      coverage: folded.coverage,
      since_control_ms: folded.sinceControl,
      excess_ms: folded.excess,
    }).toEqual({
      watch_ms: verdict.watch_ms,
      watched_ms: verdict.watched_ms,
      creditable_ms: verdict.creditable_ms,
      furthest_ms: verdict.furthest_ms,
      coverage: verdict.coverage,
      since_control_ms: verdict.carried.since_control_ms,
      excess_ms: verdict.carried.excess_ms,
    });
  });

  it('dates every violation as the engine does', () => {
    for (const name of names) {
      const { lines } = parseLog(readFileSync(`${examples}${name}.jsonl`, 'utf8'));
      const { violations } = JSON.parse(readFileSync(`${examples}${name}.verdict.json`, 'utf8'));
      const folded = fold(lines, DEFAULTS);
      for (const { n, at } of violations) expect(folded.measures.get(n)?.t).toBe(at);
    }
  });

  it('takes the parameters that a pack says, and no others', () => {
    expect(parametersOf({ prompt_max_gap_ms: 9, unknown: 3, gap_limit_ms: 'x' })).toEqual({
      ...DEFAULTS,
      prompt_max_gap_ms: 9,
    });
  });
});
