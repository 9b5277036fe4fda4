// Why something was refused, in words of the page's language; what only this one refusal says stays as the server said it.

import { Refusal, Unreachable } from '../api';
import { has, t, word } from '../i18n/index.svelte';
import { duration } from './format';

export function explain(error: unknown): string {
  if (error instanceof Unreachable) return t('error.network');
  if (!(error instanceof Refusal)) return error instanceof Error ? error.message : String(error);
  const { code, detail, retryAfterMs, status } = error;
  const values = { detail, wait: duration(retryAfterMs ?? 0) };
  if (has(`refused.${code}`)) return word('refused', code, values);
  if (status >= 500) return t('error.server');
  return detail || t('error.server');
}
