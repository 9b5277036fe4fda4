// What the server tells while a page is open: one stream for all pages, opened by the first that listens.

import { address } from './api';

/** `regained`: the stream is back after it was lost; what was told meanwhile was not heard. */
type Told = 'queue' | 'live' | 'regained';
type Listener = (data: unknown) => void;

/** How long until a stream that the server refused is asked for again. A lost one the browser asks for by itself. */
const AGAIN_AFTER_MS = 10_000;

const listeners = new Map<Told, Set<Listener>>();
let source: EventSource | null = null;
let again: ReturnType<typeof setTimeout> | undefined;

export const stream = $state({ isLost: false });

function tell(name: Told, data: unknown): void {
  for (const listener of listeners.get(name) ?? []) listener(data);
}

function open(): void {
  const opened = new EventSource(address('/events'));
  source = opened;
  opened.onopen = () => {
    if (stream.isLost) tell('regained', null);
    stream.isLost = false;
  };
  opened.onerror = () => {
    stream.isLost = true;
    if (opened.readyState === EventSource.CLOSED && source === opened) again = setTimeout(open, AGAIN_AFTER_MS);
  };
  for (const name of ['queue', 'live'] as const) {
    opened.addEventListener(name, (event) => tell(name, JSON.parse((event as MessageEvent<string>).data)));
  }
}

function close(): void {
  clearTimeout(again);
  source?.close();
  source = null;
  stream.isLost = false;
}

/** Tells `listener` of each event called `name`, until the function that it returns is called. */
export function listen(name: Told, listener: Listener): () => void {
  const all = listeners.get(name) ?? new Set();
  all.add(listener);
  listeners.set(name, all);
  if (!source) open();
  return () => {
    all.delete(listener);
    if ([...listeners.values()].every(({ size }) => size === 0)) close();
  };
}
