// Texts in the language that was chosen. Chinese comes with the page; English is fetched by those who read it.

import type { Language } from '../lib/format';
import { texts as chinese } from './zh-CN';

export type Key = keyof typeof chinese;
export type Texts = Record<Key, string>;
export type Values = Record<string, string | number>;

const REMEMBERED = 'invigil.language';

let texts: Texts = $state.raw(chinese);
let language: Language = $state('zh-CN');

function remembered(): string | null {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null;
  }
}

export function currentLanguage(): Language {
  return language;
}

export async function chooseLanguage(next: Language): Promise<void> {
  texts = next === 'en' ? (await import('./en')).texts : chinese;
  language = next;
  document.documentElement.lang = next;
  try {
    localStorage.setItem(REMEMBERED, next);
  } catch {
    // Asked for again next time.
  }
}

/** What was chosen before; Chinese for whoever never chose. */
export function startLanguage(): Promise<void> {
  return chooseLanguage(remembered() === 'en' ? 'en' : 'zh-CN');
}

export function fill(text: string, values: Values): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

export function t(key: Key, values: Values = {}): string {
  return fill(texts[key], values);
}

/** A text whose name ends in a word of the server's; the word itself when we know none for it. */
export function word(prefix: string, value: string | null | undefined, values: Values = {}): string {
  if (value === null || value === undefined) return '–';
  const text = (texts as Record<string, string>)[`${prefix}.${value}`];
  return text === undefined ? value : fill(text, values);
}

export function has(key: string): key is Key {
  return key in texts;
}
