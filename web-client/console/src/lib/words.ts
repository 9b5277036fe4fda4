// Lines of a log, rules and measures in words.

import { currentLanguage, has, t, type Values, word } from '../i18n/index.svelte';
import type { Clause, LogLine, Masked, RuleCount, Violation } from '../types';
import { ageAgainst, clockTime, date, dateTime, duration, shortDateTime } from './format';
import type { Measure } from './measure';

export const at = {
  dateTime: (ms: number | null | undefined) => (typeof ms === 'number' ? dateTime(ms, currentLanguage()) : '–'),
  short: (ms: number | null | undefined) => (typeof ms === 'number' ? shortDateTime(ms, currentLanguage()) : '–'),
  date: (ms: number | null | undefined) => (typeof ms === 'number' ? date(ms, currentLanguage()) : '–'),
  clock: (ms: number | null | undefined) => (typeof ms === 'number' ? clockTime(ms, currentLanguage()) : '–'),
};

/** A learner of whom no name is known is called by the end of their number: the beginning is everybody's. */
export function learnerName({ id, masked }: Masked): string {
  return masked ?? t('learner.unnamed', { id: id.slice(-6) });
}

export function ruleName(rule: string): string {
  return word('rule', rule);
}

export function causeName(rule: string, cause: string | null): string | null {
  if (cause === null) return null;
  return has(`cause.${rule}.${cause}`) ? t(`cause.${rule}.${cause}` as never) : word('cause', cause);
}

export function ruleInWords({ rule, cause }: Pick<RuleCount, 'rule' | 'cause'>): string {
  const why = causeName(rule, cause);
  return why ? `${ruleName(rule)} · ${why}` : ruleName(rule);
}

export function dueInWords(due: number, now: number): string {
  const { kind, unit, count } = ageAgainst(due, now);
  return word(`age.${kind}`, unit, { count });
}

export function clauseSource(clause: Clause): string {
  const { source, document = '', item = '' } = clause;
  // An item may name its document itself.
  return source ?? (item.startsWith(document) ? item : `${document} ${item}`.trim());
}

/** The clause of a violation: its own, or what the pack says about the rule. */
export function clauseOf(violation: Violation, clauses: Record<string, Clause> | null): Clause | null {
  const own = violation.clause;
  const pack = clauses?.[violation.rule] ?? null;
  if (own && typeof own === 'object') return own;
  if (typeof own === 'string') return pack ?? { source: '', text: own };
  return pack;
}

function measured(value: number, unit: Measure['unit']): string {
  if (unit === 'duration' || unit === 'position') return duration(value);
  if (unit === 'rate') return value.toFixed(3).replace(/\.?0+$/, '');
  if (unit === 'milli') return (value / 1000).toFixed(2);
  return String(value);
}

export function measureInWords(measure: Measure): string {
  const values: Values = { value: measured(measure.value, measure.unit), limit: measured(measure.limit, measure.unit) };
  if (measure.over !== undefined) values.over = duration(measure.over);
  return word('measure', measure.key, values);
}

export function lineInWords({ type, data }: LogLine): string {
  const pos = duration(Number(data.pos_ms ?? 0));
  switch (type) {
    case 'heartbeat':
      return t('log.heartbeat', { pos, state: t(data.playing ? 'state.playing' : 'state.paused') });
    case 'playback':
      return word('log.playback', String(data.event), {
        pos,
        rate: Number(data.rate ?? 1),
        from: duration(Number(data.from_ms ?? 0)),
      });
    case 'page':
      return t(!data.visible ? 'log.page.hidden' : data.focused ? 'log.page.visible' : 'log.page.unfocused');
    case 'capture.requested':
      return t('log.capture.requested', { reason: word('reason', data.reason) });
    case 'face.checked': {
      const why = data.reason ? ` · ${word('why', data.reason)}` : '';
      return t('log.face.checked', { outcome: word('outcome', data.outcome) }) + why;
    }
    case 'prompt.resolved':
      return t('log.prompt.resolved', { outcome: word('outcome', data.outcome) });
    case 'presence.conflict':
      return t('log.presence.conflict', { length: duration(Number(data.to_at) - Number(data.from_at)) });
    case 'session.closed':
      return t('log.session.closed', { reason: word('closed', data.reason) });
    case 'windows':
      return t('log.windows', { count: Number(data.count) });
    case 'tamper':
      return t('log.tamper', { what: word('cause', data.what) });
    case 'gap':
      return t('log.gap', { lost: Number(data.lost) });
  }
  return has(`log.${type}`) ? t(`log.${type}` as never) : t('log.other', { type });
}
