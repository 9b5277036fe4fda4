// What the whole console knows: who is here, which time it is, how it is drawn, and what was just said.

import { get, Refusal, whenSignedOut } from './api';
import type { Account, QueueItem } from './types';

type Theme = 'light' | 'dark' | null;

const THEME = 'invigil.theme';

export const app = $state({
  account: null as Account | null,
  isKnown: false,
  /** why it is not known who is here */
  failure: null as unknown,
  now: Date.now(),
  theme: null as Theme,
  toast: null as { text: string; tone: 'good' | 'bad' } | null,
  helpIsOpen: false,
});

/** The sessions of the queue that was looked at last, so that a session page knows its neighbours. */
export const visited = { items: [] as QueueItem[], address: '', session: null as string | null };

export async function findAccount(): Promise<void> {
  try {
    app.account = await get<Account>('/account');
    app.failure = null;
  } catch (error) {
    app.account = null;
    app.failure = error instanceof Refusal && error.status === 401 ? null : error;
  }
  app.isKnown = true;
}

/** Whether who is here may see photos of learners. */
export function maySeePhotos(): boolean {
  return app.account !== null && app.account.role !== 'administrator';
}

export function mayDecide(): boolean {
  return app.account?.role === 'supervisor';
}

let toastTimer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string, tone: 'good' | 'bad' = 'good'): void {
  app.toast = { text, tone };
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => {
    app.toast = null;
  }, 6000);
}

export function chooseTheme(theme: Theme): void {
  app.theme = theme;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem(THEME, theme);
    else localStorage.removeItem(THEME);
  } catch {
    // As the system has it, next time.
  }
}

export function isDark(): boolean {
  return (app.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
}

export function startState(): void {
  let theme: string | null = null;
  try {
    theme = localStorage.getItem(THEME);
  } catch {
    // As the system has it.
  }
  if (theme === 'light' || theme === 'dark') chooseTheme(theme);
  setInterval(() => {
    app.now = Date.now();
  }, 15_000);
  whenSignedOut(() => {
    app.account = null;
  });
}
