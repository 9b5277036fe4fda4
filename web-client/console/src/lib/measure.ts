// What was measured against which limit when a violation was established, traced to its line of the log.

import type { LogLine, Violation } from '../types';
import type { Folded } from './fold';
import type { Parameters } from './parameters';

export type Unit = 'duration' | 'rate' | 'count' | 'milli' | 'position';

export interface Measure {
  /** name of the sentence that says it: `measure.…` */
  key: string;
  value: number;
  limit: number;
  unit: Unit;
  /** further numbers of the sentence, ms */
  over?: number;
  n: number;
}

interface Facts {
  total_hours?: number;
  online_used_ms?: number;
  delivery?: string;
}

export function factsOf(lines: readonly LogLine[]): Facts {
  const opened = lines[0];
  return opened?.type === 'session.opened' ? (opened.data.facts ?? {}) : {};
}

/** The learner's online time in this project that can be credited at all, ms; null when nothing limits it. */
export function quotaMs(lines: readonly LogLine[], parameters: Parameters): number | null {
  const { delivery, total_hours } = factsOf(lines);
  if (delivery !== 'blended' || typeof total_hours !== 'number') return null;
  return Math.floor((total_hours * parameters.class_hour_ms * parameters.online_quota_milli) / 1000);
}

/** What would be credited if nothing stood against the session, in ms. */
export function wouldCreditMs(creditableMs: number, lines: readonly LogLine[], parameters: Parameters): number {
  const quota = quotaMs(lines, parameters);
  if (quota === null) return creditableMs;
  return Math.min(creditableMs, Math.max(0, quota - (factsOf(lines).online_used_ms ?? 0)));
}

/** Class hours as a verdict has them: cut, not rounded, to two decimals. */
export function classHours(ms: number, parameters: Parameters): number {
  return Math.floor((ms * 100) / parameters.class_hour_ms) / 100;
}

/** Null where a rule measures nothing: it is so or it is not. */
export function measureOf(
  violation: Violation,
  folded: Folded,
  lines: readonly LogLine[],
  parameters: Parameters,
): Measure | null {
  const at = folded.measures.get(violation.n);
  if (!at) return null;
  const { n, rule, cause } = violation;
  const of = (key: string, value: number, limit: number, unit: Unit, over?: number): Measure =>
    over === undefined ? { key, value, limit, unit, n } : { key, value, limit, unit, over, n };
  switch (`${rule}.${cause ?? ''}`) {
    case 'fast_forward.advance':
      return of('fast_forward.advance', at.advance, at.allowed, 'duration', at.dt);
    case 'fast_forward.rate':
      return of('fast_forward.rate', at.rate, parameters.max_rate_milli / 1000, 'rate');
    case 'fast_forward.seek':
      return of('fast_forward.seek', at.pos, at.reach + parameters.jump_tolerance_ms, 'position');
    case 'multi_window.hidden':
      return of('multi_window.hidden', at.hiddenPlay, parameters.hidden_grace_ms, 'duration');
    case 'multi_window.session':
      return of('multi_window.session', at.conflict, parameters.presence_tolerance_ms, 'duration');
    case 'multi_window.windows':
      return of('multi_window.windows', at.windows, 1, 'count');
    case 'face_liveness.unverified':
      return of('face_liveness.unverified', at.unverified, parameters.start_verify_ms, 'duration');
    case 'face_liveness.spoof':
      if (at.streak < parameters.max_face_failures) {
        return of('face_liveness.spoof', at.spoofs, parameters.max_spoofs, 'count');
      }
  }
  switch (rule) {
    case 'prompt_gap':
      return of('prompt_gap', at.sinceControl, parameters.prompt_max_gap_ms, 'duration');
    case 'face_liveness':
      return of('face_liveness', at.streak, parameters.max_face_failures, 'count');
    case 'face_unresolved':
      return at.streak >= parameters.max_face_failures - 1
        ? of('face_unresolved.streak', at.streak, parameters.max_face_failures - 1, 'count')
        : of('face_unresolved.window', at.failuresInWindow, parameters.face_window_failures, 'count');
    case 'face_passive':
      return of('face_passive', at.passive, parameters.passive_limit_milli, 'milli');
    case 'photo_missing': {
      const hour = Number(violation.detail?.class_hour ?? 0);
      const watched = Math.min(parameters.class_hour_ms, at.hourWatch - hour * parameters.class_hour_ms);
      return of('photo_missing', watched, parameters.photo_due_ms, 'duration');
    }
    case 'unfocused':
      return of('unfocused', at.blurPlay, parameters.blur_grace_ms, 'duration');
    case 'clock_tamper':
      return of('clock_tamper', at.lead, parameters.clock_lead_ms, 'duration');
    case 'online_quota': {
      const used = factsOf(lines).online_used_ms ?? 0;
      return of('online_quota', used + folded.creditableMs, quotaMs(lines, parameters) ?? 0, 'duration');
    }
  }
  return null;
}

export interface Card {
  rule: string;
  cause: string | null;
  violations: Violation[];
}

/** Violations by rule and cause, in the order in which each first happened. */
export function cards(violations: readonly Violation[]): Card[] {
  const found = new Map<string, Card>();
  for (const violation of violations) {
    const name = `${violation.rule}.${violation.cause ?? ''}`;
    const card = found.get(name);
    if (card) card.violations.push(violation);
    else found.set(name, { rule: violation.rule, cause: violation.cause, violations: [violation] });
  }
  return [...found.values()];
}

/** What speaks for the learner in this session, as counts; the page says each in words. */
export interface Favour {
  key: 'faces' | 'prompts' | 'credited' | 'errors' | 'reconnected';
  good: number;
  all: number;
}

export function inFavour(lines: readonly LogLine[], folded: Folded): Favour[] {
  const of = (type: string) => lines.filter((line) => line.type === type);
  const checks = of('face.checked');
  const resolved = of('prompt.resolved');
  const outcome = (all: LogLine[], word: string) => all.filter((line) => line.data.outcome === word).length;
  const played = folded.stretches.filter((stretch) => stretch.from.playing && stretch.kind !== 'jump');
  const length = (of: typeof played) => of.reduce((sum, { from, to }) => sum + (to.t - from.t), 0);
  const facts: Favour[] = [
    { key: 'faces', good: outcome(checks, 'match'), all: checks.length + of('capture.expired').length },
    { key: 'prompts', good: outcome(resolved, 'passed'), all: Math.max(resolved.length, of('prompt.issued').length) },
    { key: 'credited', good: length(played.filter(({ kind }) => kind === 'watched')), all: length(played) },
  ];
  const errors = outcome(checks, 'error');
  if (errors > 0) facts.push({ key: 'errors', good: errors, all: checks.length });
  const lost = of('connection.closed').length;
  if (lost > 0) facts.push({ key: 'reconnected', good: lost, all: lost });
  return facts.filter(({ good }) => good > 0);
}
