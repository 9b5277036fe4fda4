// The lanes of the time axis, from a log's lines. Times are those at which things happened, ms since the Unix epoch.

import type { LogLine } from '../types';
import type { Folded, Stretch } from './fold';

export const LANES = ['position', 'visibility', 'captures', 'prompts', 'connection', 'windows', 'integrity'] as const;
export type Lane = (typeof LANES)[number];
export type Tone = 'good' | 'bad' | 'warn' | 'plain';

export interface Span {
  lane: Lane;
  from: number;
  to: number;
  tone: Tone;
  /** the line that began it, and where a mark leads */
  n: number;
  /** name of its words: `span.…` */
  kind: string;
  /** a supervisor's doing, not the schedule's */
  human: boolean;
}

export interface Mark {
  lane: Lane;
  at: number;
  tone: Tone;
  n: number;
  /** the line that it leads to; its words are the line's */
  line: LogLine;
  human: boolean;
  /** a capture's id, to show its photo */
  capture: string | null;
}

export interface Timeline {
  /** when the session was opened: the zero of the axis */
  begun: number;
  from: number;
  to: number;
  durationMs: number;
  stretches: Stretch[];
  spans: Span[];
  marks: Mark[];
}

const OUTCOME_TONE: Record<string, Tone> = { match: 'good', error: 'warn', unusable: 'warn', expired: 'warn' };

/** How an outcome of a face check is coloured: what the learner is not to blame for is no alarm. */
export function outcomeTone(outcome: string | null): Tone {
  if (outcome === null) return 'plain';
  return OUTCOME_TONE[outcome] ?? 'bad';
}

export function timeline(lines: readonly LogLine[], folded: Folded): Timeline {
  const first = lines[0];
  const last = lines.at(-1);
  const when = (line: LogLine) => folded.measures.get(line.n)?.t ?? line.at;
  const begun = first?.at ?? 0;
  const ended = Math.max(last?.at ?? 0, begun + 1000);
  // Room at both ends, so that what happens first and last is drawn whole.
  const margin = Math.max(500, Math.round((ended - begun) / 60));
  const spans: Span[] = [];
  const marks: Mark[] = [];
  const open = new Map<string, Span>();

  const begin = (key: string, lane: Lane, line: LogLine, kind: string, tone: Tone, human = false) => {
    open.set(key, { lane, from: when(line), to: ended, tone, n: line.n, kind, human });
  };
  const end = (key: string, at: number, change: Partial<Span> = {}) => {
    const span = open.get(key);
    if (!span) return;
    open.delete(key);
    spans.push({ ...span, to: Math.max(at, span.from), ...change });
  };
  const mark = (lane: Lane, line: LogLine, tone: Tone, human = false, capture: string | null = null) =>
    marks.push({ lane, at: when(line), tone, n: line.n, line, human, capture });

  const asked = new Map<string, string>();
  for (const line of lines) {
    const { data } = line;
    const at = when(line);
    switch (line.type) {
      case 'connection.opened':
        end('connection', at);
        end('away', at);
        begin('connection', 'connection', line, 'connected', 'good');
        break;
      case 'connection.closed':
        end('connection', at);
        begin('away', 'connection', line, 'disconnected', 'warn');
        break;
      case 'page': {
        end('page', at);
        const kind = data.visible !== true ? 'hidden' : data.focused !== true ? 'unfocused' : 'visible';
        begin('page', 'visibility', line, kind, kind === 'visible' ? 'good' : kind === 'hidden' ? 'bad' : 'warn');
        break;
      }
      case 'capture.requested':
        asked.set(String(data.capture), String(data.reason));
        begin(`c${data.capture}`, 'captures', line, 'capture', 'plain', data.reason === 'supervisor');
        break;
      case 'capture.expired':
      case 'face.checked': {
        const outcome = line.type === 'capture.expired' ? 'expired' : String(data.outcome);
        const human = asked.get(String(data.capture)) === 'supervisor';
        end(`c${data.capture}`, at, { tone: outcomeTone(outcome) });
        mark('captures', line, outcomeTone(outcome), human, String(data.capture));
        break;
      }
      case 'prompt.issued':
        begin(`p${data.prompt}`, 'prompts', line, 'prompt', 'plain', data.reason === 'supervisor');
        break;
      case 'prompt.resolved': {
        const tone = data.outcome === 'passed' ? 'good' : 'warn';
        const human = open.get(`p${data.prompt}`)?.human ?? false;
        end(`p${data.prompt}`, at, { tone });
        mark('prompts', line, tone, human);
        break;
      }
      case 'windows':
        end('windows', at);
        if (Number(data.count) > 1) begin('windows', 'windows', line, 'windows', 'bad');
        break;
      case 'presence.conflict':
        spans.push({
          lane: 'windows',
          from: Math.max(begun, Number(data.from_at)),
          to: Math.min(ended, Number(data.to_at)),
          tone: 'bad',
          n: line.n,
          kind: 'conflict',
          human: false,
        });
        break;
      case 'tamper':
        mark('integrity', line, 'bad');
        break;
      case 'gap':
        mark('integrity', line, 'warn');
        break;
      case 'session.closed':
        mark('connection', line, 'plain', data.reason === 'revoked');
        break;
    }
  }
  for (const key of [...open.keys()]) end(key, ended);
  return {
    begun,
    from: begun - margin,
    to: ended + margin,
    durationMs: Number(first?.data.duration_ms ?? 0),
    stretches: folded.stretches,
    spans: spans.sort((a, b) => a.from - b.from),
    marks,
  };
}

/** Round steps of time that fit an axis: the least that gives at most `most` ticks. */
const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400].map((s) => s * 1000);

export function ticks(from: number, to: number, most: number): number[] {
  const step = STEPS_MS.find((step) => (to - from) / step <= most) ?? 28_800_000;
  const result: number[] = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) result.push(tick);
  return result;
}
