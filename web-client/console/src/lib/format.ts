// Numbers and times as people read them. Days are days in China, as everywhere in invigil.

export type Language = 'zh-CN' | 'en';

const ZONE = 'Asia/Shanghai';
const cache = new Map<string, Intl.DateTimeFormat>();

function formatter(language: Language, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = language + JSON.stringify(options);
  let found = cache.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(language === 'en' ? 'en-GB' : language, { timeZone: ZONE, ...options });
    cache.set(key, found);
  }
  return found;
}

export function dateTime(at: number, language: Language): string {
  return formatter(language, {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(at);
}

export function shortDateTime(at: number, language: Language): string {
  return formatter(language, {
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(at);
}

export function date(at: number, language: Language): string {
  return formatter(language, { year: 'numeric', month: '2-digit', day: '2-digit' }).format(at);
}

export function clockTime(at: number, language: Language): string {
  return formatter(language, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(at);
}

/** `2026-11-22`, in China. */
export function isoDay(at: number): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone: ZONE }).format(at);
}

/** A position or a length as `1:02:03`, `2:03` or `0:03.4`. */
export function duration(ms: number): string {
  const sign = ms < 0 ? '−' : '';
  const all = Math.abs(ms);
  if (all < 60_000) {
    const tenths = Math.round(all / 100) / 10;
    return `${sign}0:${tenths < 10 ? '0' : ''}${Number.isInteger(tenths) ? tenths : tenths.toFixed(1)}`;
  }
  const seconds = Math.round(all / 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${sign}${h}:${two(m)}:${two(s)}` : `${sign}${m}:${two(s)}`;
}

export function hours(value: number): string {
  return value.toFixed(2);
}

export function percent(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((part * 1000) / whole) / 10}%` : '–';
}

export interface Age {
  /** `late`: past its time */
  kind: 'left' | 'late';
  unit: 'day' | 'hour' | 'minute';
  count: number;
}

/** How long until `due`, or since, in the largest unit that is not nothing. */
export function ageAgainst(due: number, now: number): Age {
  const minutes = Math.max(1, Math.round(Math.abs(due - now) / 60_000));
  const kind = due < now ? 'late' : 'left';
  if (minutes >= 48 * 60) return { kind, unit: 'day', count: Math.floor(minutes / 1440) };
  if (minutes >= 100) return { kind, unit: 'hour', count: Math.round(minutes / 60) };
  return { kind, unit: 'minute', count: minutes };
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  if (size < 1024 * 1024) return `${(size / 1024).toFixed(1)} KB`;
  return `${(size / 1024 / 1024).toFixed(1)} MB`;
}

/** Every day from one to another, both as `2026-03-01`; at most `most`. */
export function daysBetween(from: string, to: string, most = 92): string[] {
  const days: string[] = [];
  for (let at = Date.parse(from); at <= Date.parse(to) && days.length < most; at += 86_400_000) {
    days.push(new Date(at).toISOString().slice(0, 10));
  }
  return days;
}
