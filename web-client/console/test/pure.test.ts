import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import jsQR from 'jsqr';
import { describe, expect, it, vi } from 'vitest';
import { base64, problemOf } from '../src/lib/attachments';
import { fold } from '../src/lib/fold';
import { ageAgainst, bytes, clockTime, duration, isoDay, percent } from '../src/lib/format';
import { add, lengthOutside } from '../src/lib/intervals';
import { action } from '../src/lib/keyboard';
import { parseLog } from '../src/lib/log';
import { cards, classHours, inFavour, measureOf, wouldCreditMs } from '../src/lib/measure';
import { DEFAULTS } from '../src/lib/parameters';
import { qrCode } from '../src/lib/qr';
import { href, isOwn, routeOf } from '../src/lib/route';
import { ticks, timeline } from '../src/lib/timeline';
import { type Fetched, Pages, scrollTo, visibleRows } from '../src/lib/virtual';
import type { LogLine, Verdict } from '../src/types';

const examples = fileURLToPath(new URL('../../../tests/examples/', import.meta.url));

function example(name: string) {
  const { lines } = parseLog(readFileSync(`${examples}${name}.jsonl`, 'utf8'));
  const verdict = JSON.parse(readFileSync(`${examples}${name}.verdict.json`, 'utf8')) as Verdict;
  return { lines, verdict, folded: fold(lines, DEFAULTS) };
}

describe('measures', () => {
  it('stand beyond their limit wherever the engine found a violation that is measured', () => {
    let seen = 0;
    for (let number = 1; number <= 27; number += 1) {
      const { lines, verdict, folded } = example(String(number).padStart(2, '0'));
      for (const violation of verdict.violations) {
        const measure = measureOf(violation, folded, lines, DEFAULTS);
        if (!measure) continue;
        seen += 1;
        expect(measure.n).toBe(violation.n);
        expect(measure.value, `${number} ${measure.key}`).toBeGreaterThanOrEqual(measure.limit);
      }
    }
    expect(seen).toBeGreaterThan(25);
  });

  it('gather violations by rule and cause', () => {
    const { verdict } = example('04');
    expect(cards(verdict.violations).map(({ rule, cause, violations }) => [rule, cause, violations.length])).toEqual([
      ['content_unapproved', null, 1],
      ['fast_forward', 'rate', 2],
      ['multi_window', 'hidden', 1],
      ['fast_forward', 'advance', 1],
    ]);
  });

  it('say what would be credited, cut by the quota', () => {
    const { lines } = example('24');
    expect(classHours(wouldCreditMs(2_618_000, lines, DEFAULTS), DEFAULTS)).toBe(1.09);
    const used = structuredClone(lines);
    Object.assign(used[0]!.data.facts, { delivery: 'blended', total_hours: 1, online_used_ms: 950_000 });
    expect(wouldCreditMs(2_618_000, used, DEFAULTS)).toBe(10_000);
  });

  it('find what speaks for the learner', () => {
    const { lines, folded } = example('25');
    const found = Object.fromEntries(inFavour(lines, folded).map(({ key, good, all }) => [key, [good, all]]));
    // None of one: that speaks for nobody.
    expect(found.faces).toBeUndefined();
    expect(found.prompts).toEqual([13, 13]);
  });
});

describe('the time axis', () => {
  it('has a mark for each check and prompt, each with its line', () => {
    const { lines, folded } = example('25');
    const axis = timeline(lines, folded);
    const of = (type: string) => lines.filter((line) => line.type === type).map(({ n }) => n);
    expect(axis.marks.filter(({ lane }) => lane === 'prompts').map(({ n }) => n)).toEqual(of('prompt.resolved'));
    expect(axis.marks.filter(({ lane }) => lane === 'captures').map(({ n }) => n)).toEqual(of('face.checked'));
  });

  it('shows where the connection was lost and where another session played', () => {
    const { lines, folded } = example('08');
    const spans = timeline(lines, folded).spans;
    expect(spans.filter(({ lane }) => lane === 'connection').map(({ kind }) => kind)).toEqual([
      'connected',
      'disconnected',
      'connected',
    ]);
    expect(spans.filter(({ kind }) => kind === 'conflict')).toHaveLength(3);
  });

  it('rings what a supervisor asked for', () => {
    const line = (n: number, type: string, data: object): LogLine => ({ n, at: n * 1000, src: 'server', type, data });
    const lines = [
      line(1, 'session.opened', { duration_ms: 60_000 }),
      line(2, 'capture.requested', { capture: 'a', reason: 'supervisor' }),
      line(3, 'face.checked', { capture: 'a', outcome: 'match' }),
      line(4, 'capture.requested', { capture: 'b', reason: 'random' }),
      line(5, 'capture.expired', { capture: 'b' }),
    ];
    const { marks } = timeline(lines, fold(lines, DEFAULTS));
    expect(marks.map(({ capture, human, tone }) => [capture, human, tone])).toEqual([
      ['a', true, 'good'],
      ['b', false, 'warn'],
    ]);
  });

  it('has round ticks', () => {
    expect(ticks(0, 60_000, 6)).toEqual([0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]);
    expect(ticks(61_000, 200_000, 3)).toEqual([120_000, 180_000]);
  });
});

describe('formats', () => {
  it('durations', () => {
    expect([0, 940, 10_000, 12_340, 59_960, 61_000, 3_723_000, -5_000].map(duration)).toEqual([
      '0:00',
      '0:00.9',
      '0:10',
      '0:12.3',
      '0:60',
      '1:01',
      '1:02:03',
      '−0:05',
    ]);
  });

  it('times and days in China', () => {
    expect(clockTime(Date.UTC(2026, 0, 1, 16, 5, 9), 'zh-CN')).toBe('00:05:09');
    expect(isoDay(Date.UTC(2026, 0, 1, 16, 0, 0))).toBe('2026-01-02');
  });

  it('ages in the largest unit that tells something', () => {
    expect(ageAgainst(60_000 * 30, 0)).toEqual({ kind: 'left', unit: 'minute', count: 30 });
    expect(ageAgainst(0, 3_600_000 * 5)).toEqual({ kind: 'late', unit: 'hour', count: 5 });
    expect(ageAgainst(86_400_000 * 3, 0)).toEqual({ kind: 'left', unit: 'day', count: 3 });
  });

  it('shares and sizes', () => {
    expect([percent(1, 3), percent(0, 0), bytes(900), bytes(2048), bytes(1_500_000)]).toEqual([
      '33.3%',
      '–',
      '900 B',
      '2.0 KB',
      '1.4 MB',
    ]);
  });
});

describe('intervals', () => {
  it('merge where they touch, and tell what is new', () => {
    expect(
      add(
        [
          [0, 10],
          [20, 30],
        ],
        [10, 20],
      ),
    ).toEqual([[0, 30]]);
    expect(add([[5, 6]], [0, 1])).toEqual([
      [0, 1],
      [5, 6],
    ]);
    expect(
      lengthOutside(
        [[0, 100]],
        [
          [10, 20],
          [90, 200],
        ],
      ),
    ).toBe(80);
  });
});

describe('keys', () => {
  const bindings = { j: 'down', '?': 'help' } as const;
  it('mean something, unless somebody writes or the browser is meant', () => {
    expect(action({ key: 'J' }, bindings)).toBe('down');
    expect(action({ key: '?' }, bindings)).toBe('help');
    expect(action({ key: 'j', ctrlKey: true }, bindings)).toBeNull();
    expect(action({ key: 'j', isComposing: true }, bindings)).toBeNull();
    expect(action({ key: 'j', target: { tagName: 'TEXTAREA' } }, bindings)).toBeNull();
    expect(action({ key: 'j', target: { tagName: 'INPUT', type: 'search' } }, bindings)).toBeNull();
    expect(action({ key: 'j', target: { tagName: 'INPUT', type: 'radio' } }, bindings)).toBe('down');
  });
});

describe('long lists', () => {
  it('show what is within the window, and little more', () => {
    expect(visibleRows(0, 500, 50, 100_000, 8)).toEqual({ first: 0, end: 18 });
    expect(visibleRows(4_999_500, 500, 50, 100_000, 8)).toEqual({ first: 99_982, end: 100_000 });
    expect(visibleRows(900, 500, 50, 3, 8)).toEqual({ first: 3, end: 3 });
  });

  it('scroll only when a row is not seen whole', () => {
    expect(scrollTo(3, 0, 500, 50)).toBeNull();
    expect(scrollTo(10, 0, 500, 50)).toBe(50);
    expect(scrollTo(2, 400, 500, 50)).toBe(100);
  });

  function listing(count: number) {
    const asked: number[] = [];
    const fetchPage = vi.fn(async (after: string | null, limit: number): Promise<Fetched<number>> => {
      asked.push(limit);
      const from = Number(after ?? 0);
      const items = Array.from({ length: Math.min(limit, count - from) }, (_, index) => from + index);
      const next = from + limit < count ? String(from + limit) : null;
      return { items, next, total: count };
    });
    return { asked, fetchPage };
  }

  it('fetch pages in order, once each, as far as is asked', async () => {
    const { asked, fetchPage } = listing(1000);
    const pages = new Pages(fetchPage, () => {}, 100, 200);
    await Promise.all([pages.want(50), pages.want(450)]);
    expect(pages.items).toEqual(Array.from({ length: pages.items.length }, (_, index) => index));
    expect(pages.items.length).toBeGreaterThanOrEqual(450);
    expect(pages.items.length).toBeLessThan(700);
    expect(pages.total).toBe(1000);
    expect(Math.max(...asked)).toBeLessThanOrEqual(200);
    await pages.want(5000);
    expect([pages.items.length, pages.isComplete, pages.total]).toEqual([1000, true, 1000]);
  });

  it('stop at an error, and go on from there when asked again', async () => {
    const { fetchPage } = listing(300);
    const pages = new Pages(fetchPage, () => {}, 100, 200);
    await pages.want(100);
    fetchPage.mockRejectedValueOnce(new Error('lost'));
    await pages.want(150);
    expect([pages.items.length, (pages.error as Error).message]).toEqual([100, 'lost']);
    await pages.retry();
    expect([pages.items.length, pages.error]).toEqual([200, null]);
  });

  it('drop what arrives after they were left', async () => {
    const { fetchPage } = listing(300);
    const pages = new Pages(fetchPage, () => {}, 100, 200);
    const coming = pages.want(100);
    pages.stop();
    await coming;
    expect(pages.items).toEqual([]);
  });
});

describe('addresses', () => {
  it('mean pages', () => {
    expect(routeOf('/console/')).toEqual({ page: 'queue' });
    expect(routeOf('/console/sessions/a%2Fb')).toEqual({ page: 'session', id: 'a/b' });
    expect(routeOf('/console/sessions/a/print')).toEqual({ page: 'print', id: 'a' });
    expect(routeOf('/console/policies/henan-2022%401%2Bff')).toEqual({ page: 'policy', label: 'henan-2022@1+ff' });
    expect(routeOf('/console/sessions/%E0%A4%A')).toEqual({ page: 'unknown' });
    expect(routeOf('/console/nothing')).toEqual({ page: 'unknown' });
    expect(routeOf(href('policies', 'a@1+b/c'))).toEqual({ page: 'policy', label: 'a@1+b/c' });
  });

  it('are the console’s own only below its path', () => {
    const origin = 'https://invigil.example';
    expect(isOwn(new URL(`${origin}/console/queue`), origin)).toBe(true);
    expect(isOwn(new URL(`${origin}/consoles`), origin)).toBe(false);
    expect(isOwn(new URL('https://other.example/console/'), origin)).toBe(false);
  });
});

describe('attachments', () => {
  const file = (name: string, type = 'image/png', size = 10) => ({ name, type, size });
  it('are refused before they are sent', () => {
    expect(problemOf([file('a'), file('b'), file('c')])).toBeNull();
    expect(problemOf([file('a'), file('b'), file('c'), file('d')])).toEqual({ kind: 'tooMany' });
    expect(problemOf([file('a', 'image/png', 1024 * 1024 + 1)])).toEqual({ kind: 'tooBig', name: 'a' });
    expect(problemOf([file('a', 'text/html')])).toEqual({ kind: 'wrongType', name: 'a' });
  });

  it('go as base64, also when they are large', () => {
    const bytes = new Uint8Array(20_000).map((_, index) => index % 251);
    expect(base64(bytes)).toBe(Buffer.from(bytes).toString('base64'));
  });
});

describe('a code for telephones', () => {
  it('says what was put into it, to a reader that is not ours', () => {
    const uri = 'otpauth://totp/invigil:li?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=invigil';
    const { size, path } = qrCode(uri);
    const scale = 4;
    const pixels = new Uint8ClampedArray((size * scale) ** 2 * 4).fill(255);
    for (const [, x, y, length] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
      for (let row = Number(y) * scale; row < (Number(y) + 1) * scale; row += 1) {
        const from = row * size * scale + Number(x) * scale;
        for (let pixel = from; pixel < from + Number(length) * scale; pixel += 1) pixels.set([0, 0, 0], pixel * 4);
      }
    }
    expect(jsQR(pixels, size * scale, size * scale)?.data).toBe(uri);
  });
});
