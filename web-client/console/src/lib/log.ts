// A session's log as text, to lines.

import type { LogLine } from '../types';

/** The lines of a log in JSON Lines; one that cannot be read is left out, and counted. */
export function parseLog(text: string): { lines: LogLine[]; raw: Map<number, string>; unreadable: number } {
  const lines: LogLine[] = [];
  const raw = new Map<number, string>();
  let unreadable = 0;
  for (const written of text.split('\n')) {
    if (!written.trim()) continue;
    try {
      const line = JSON.parse(written) as LogLine;
      if (typeof line.n !== 'number' || typeof line.type !== 'string') throw new Error('no line of a log');
      lines.push({ ...line, data: line.data ?? {} });
      raw.set(line.n, written);
    } catch {
      unreadable += 1;
    }
  }
  return { lines, raw, unreadable };
}
