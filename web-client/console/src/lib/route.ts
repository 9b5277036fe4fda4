// Which page an address means.

export const BASE = '/console';

export type Route =
  | { page: 'queue' }
  | { page: 'session'; id: string }
  | { page: 'print'; id: string }
  | { page: 'live' }
  | { page: 'platforms' }
  | { page: 'platform'; id: string }
  | { page: 'findings' }
  | { page: 'policies' }
  | { page: 'policy'; label: string }
  | { page: 'learner'; id: string }
  | { page: 'access' }
  | { page: 'accounts' }
  | { page: 'account' }
  | { page: 'appeal' }
  | { page: 'unknown' };

export function routeOf(pathname: string): Route {
  const path = pathname.startsWith(BASE) ? pathname.slice(BASE.length) : pathname;
  let parts: string[];
  try {
    parts = path.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return { page: 'unknown' };
  }
  const [section, id, rest] = parts;
  if (parts.length === 0) return { page: 'queue' };
  if (parts.length === 1) {
    switch (section) {
      case 'queue':
      case 'login':
        return { page: 'queue' };
      case 'live':
      case 'platforms':
      case 'findings':
      case 'policies':
      case 'accounts':
      case 'account':
      case 'appeal':
        return { page: section };
      case 'access-log':
        return { page: 'access' };
    }
  }
  if (id && parts.length === 2) {
    if (section === 'sessions') return { page: 'session', id };
    if (section === 'platforms') return { page: 'platform', id };
    if (section === 'learners') return { page: 'learner', id };
    if (section === 'policies') return { page: 'policy', label: id };
  }
  if (section === 'sessions' && id && rest === 'print' && parts.length === 3) return { page: 'print', id };
  return { page: 'unknown' };
}

export function href(...parts: string[]): string {
  return `${BASE}/${parts.map(encodeURIComponent).join('/')}`;
}

/** An address within the console is one that its own router opens. */
export function isOwn(url: URL, origin: string): boolean {
  return url.origin === origin && (url.pathname === BASE || url.pathname.startsWith(`${BASE}/`));
}
