// Addresses of the console, without loading the page anew.

import { BASE, isOwn, type Route, routeOf } from './lib/route';

let path = $state(location.pathname);
let search = $state(location.search);

export const router = {
  get route(): Route {
    return routeOf(path);
  },
  get path(): string {
    return path;
  },
  get query(): URLSearchParams {
    return new URLSearchParams(search);
  },
};

function read(): void {
  path = location.pathname;
  search = location.search;
}

export function go(to: string, { replace = false } = {}): void {
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  const isOtherPage = path !== location.pathname;
  read();
  if (isOtherPage) window.scrollTo(0, 0);
}

/** Sets what the address says after `?`, so that a view can be handed on; empty values are left out. */
export function setQuery(values: Record<string, string | null>): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(location.pathname + (text ? `?${text}` : '') + location.hash, { replace: true });
}

export function startRouter(): void {
  addEventListener('popstate', read);
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
    const url = new URL(link.href);
    if (!isOwn(url, location.origin)) return;
    // The log of a page that is open is found by the browser.
    if (url.pathname === location.pathname && url.search === location.search && url.hash) return;
    event.preventDefault();
    go(url.pathname + url.search + url.hash);
  });
  if (location.pathname === BASE) go(`${BASE}/${location.search}${location.hash}`, { replace: true });
}
