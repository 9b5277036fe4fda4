// The server's API as a page calls it: the cookie says who, a header says that a page of ours asked.

import type { FieldMap } from './lib/json';

const BASE = '/api/v1';

/** What the server refused, in its own words. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    /** last part of the problem's type, such as `stale` */
    readonly code: string,
    readonly detail: string,
    readonly field: string | null,
    readonly retryAfterMs: number | null,
    readonly body: FieldMap,
  ) {
    super(detail || code || String(status));
  }
}

/** The network, not the server, is why there is no answer. */
export class Unreachable extends Error {}

type Query = Record<string, string | number | boolean | null | undefined>;

let onSignedOut: () => void = () => {};

/** What is to be done when the server no longer knows who asks. */
export function whenSignedOut(then: () => void): void {
  onSignedOut = then;
}

export function address(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return `${BASE}${path}${text ? `?${text}` : ''}`;
}

export async function refusalOf(answer: Response): Promise<Refusal> {
  let body: FieldMap = {};
  try {
    body = (await answer.json()) as FieldMap;
  } catch {
    // A proxy's page, or nothing at all: the status has to do.
  }
  const type = typeof body.type === 'string' ? body.type : '';
  const code = type.split(/[/:#]/).pop() ?? '';
  const errors = Array.isArray(body.errors) ? (body.errors[0] as FieldMap | undefined) : undefined;
  const field = body.field ?? errors?.field;
  const seconds = Number(answer.headers.get('retry-after'));
  const fromHeader = seconds > 0 ? seconds * 1000 : null;
  const detail = [body.detail ?? body.title, errors?.problem].filter((text) => typeof text === 'string').join(' ');
  const retryAfterMs = typeof body.retry_after_ms === 'number' ? body.retry_after_ms : fromHeader;
  return new Refusal(answer.status, code, detail, typeof field === 'string' ? field : null, retryAfterMs, body);
}

interface Options {
  query?: Query | undefined;
  body?: unknown;
  /** an appeal's token, in place of the cookie */
  token?: string | undefined;
  signal?: AbortSignal | undefined;
}

async function ask(method: string, path: string, { query, body, token, signal }: Options): Promise<Response> {
  const headers: Record<string, string> = {};
  if (method !== 'GET') headers['X-Invigil-Console'] = '1';
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (token) headers.Authorization = `Appeal ${token}`;
  const init: RequestInit = { method, headers, credentials: token ? 'omit' : 'same-origin', cache: 'no-store' };
  if (body !== undefined) init.body = JSON.stringify(body);
  if (signal) init.signal = signal;
  let answer: Response;
  try {
    answer = await fetch(address(path, query), init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Unreachable(String(error));
  }
  if (answer.ok) return answer;
  const refusal = await refusalOf(answer);
  // A wrong password is no reason to leave: the cookie is still good.
  const isGone = refusal.status === 401 && !['wrong-login', 'code-needed'].includes(refusal.code);
  if (isGone && !token) onSignedOut();
  throw refusal;
}

export async function get<Answer>(path: string, query?: Query, options: Options = {}): Promise<Answer> {
  const answer = await ask('GET', path, { ...options, query });
  return (await answer.json()) as Answer;
}

export async function text(path: string, options: Options = {}): Promise<string> {
  return (await ask('GET', path, options)).text();
}

/** A photo, and when it was deleted if it was: then there is none. */
export async function photo(path: string, options: Options = {}): Promise<Blob> {
  return (await ask('GET', path, options)).blob();
}

export async function send<Answer = void>(
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: unknown,
  token?: string,
): Promise<Answer> {
  const answer = await ask(method, path, { body, token });
  const said = await answer.text();
  const isJson = answer.headers.get('content-type')?.includes('json');
  return (said && isJson ? JSON.parse(said) : undefined) as Answer;
}

/** All items of a listing, page by page, up to `most`. */
export async function all<Item>(path: string, query: Query = {}, most = 2000): Promise<Item[]> {
  const items: Item[] = [];
  let after: string | null | undefined;
  do {
    const page: { items: Item[]; next?: string | null } = await get(path, { ...query, after, limit: 100 });
    items.push(...page.items);
    after = page.next;
  } while (after && items.length < most);
  return items;
}
