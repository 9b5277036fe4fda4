/** What a page may ask for, checked before anything begins. */

import { ProctorError } from './errors.js';
import { STREAM_PATH } from './wire.js';

/** Why a session and a token are wanted. */
export interface TokenRequest {
  /** `start`: the lesson begins or the page was loaded again; `expired`: the token is no longer good */
  reason: 'start' | 'expired';
  /**
   * The session that this page held last, or null. While it is open and the learner's own, a further token for it is
   * the answer (`POST /api/v1/sessions/{id}/tokens`); otherwise, for `start`, a new session (`POST /api/v1/sessions`).
   */
  session: string | null;
}

/** What the platform's back end got from the server; the answer of either request, passed on as it is, will do. */
export interface Access {
  /** the session's id; may be left out of an answer to `expired` */
  session?: string;
  token: string;
  /** where to stream; may be left out when `endpoint` is set */
  url?: string;
}

/** Consent that was given before, on another page. */
export interface ConsentGiven {
  /** the text that was agreed to, whole: the log keeps its digest */
  text: string;
  /** its language, as `zh-CN` */
  language: string;
}

export interface ProctorOptions {
  /** Asks the platform's own back end for a session and a token. Never put an API key into a page. */
  getToken(request: TokenRequest): Promise<Access>;
  /** Address of the invigil server, `https://proctor.example`; left out, that of `getToken` is used. */
  endpoint?: string;
  /**
   * Address of `invigil-worker.js` on this page's own site; left out, beside this script. Null, or when it cannot be
   * loaded: the page's own timers are used, which a hidden page slows down.
   */
  workerUrl?: string | null;
  /**
   * The learner's interface: its address or a function that loads it (`() => import('@invigil/web/ui')`); left out,
   * `invigil-ui.js` beside this script. False: the page shows everything itself.
   */
  ui?: string | false | (() => Promise<unknown>);
  /** Language of the interface; left out, by the browser's. */
  locale?: 'zh-CN' | 'en';
  /** Texts of the interface to replace, by key (see `ui/texts.ts`). */
  texts?: Record<string, string>;
  /** Whether photos will be asked for. Left out: yes. */
  camera?: boolean;
  /** Consent: `ask` (left out), given already, or false for none. */
  consent?: 'ask' | false | ConsentGiven;
  /**
   * Whether the learner is kept from what would count against them: jumps ahead and other speeds are taken back, a
   * second window is kept paused. Left out: yes. False: it is only reported.
   */
  guide?: boolean;
}

const bad = (field: string, message: string) => new ProctorError('bad_option', `createProctor: ${message}`, field);

export function checkOptions(options: ProctorOptions): void {
  if (typeof options?.getToken !== 'function') {
    throw bad('getToken', 'getToken must be a function that asks your back end for { session, token, url }');
  }
  if (options.endpoint !== undefined) streamUrl(options.endpoint);
  const { ui, consent, locale } = options;
  if (ui !== undefined && ui !== false && typeof ui !== 'string' && typeof ui !== 'function') {
    throw bad('ui', 'ui must be an address, a function that loads it, or false');
  }
  if (locale !== undefined && locale !== 'zh-CN' && locale !== 'en') throw bad('locale', 'locale is zh-CN or en');
  if (typeof consent === 'object' && (!consent.text || !consent.language)) {
    throw bad('consent', 'consent that was given needs the text that was agreed to, and its language');
  }
}

/** The address of the stream: `https` becomes `wss`, and the path is added when there is none. */
export function streamUrl(address: string, page: string = globalThis.location?.href): string {
  let url: URL;
  try {
    url = new URL(address, page);
  } catch {
    throw bad('endpoint', `"${address}" is not an address, like https://proctor.example`);
  }
  const protocol = url.protocol.replace('http', 'ws');
  if (!/^wss?:$/.test(protocol)) throw bad('endpoint', `"${address}" must begin with https:// or wss://`);
  // Browsers take loopback for as safe as TLS.
  if (protocol === 'ws:' && page?.startsWith('https:') && !/^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)) {
    throw bad('endpoint', `a page on https may not stream to "${address}"; serve the server over https as well`);
  }
  url.protocol = protocol;
  if (url.pathname === '/') url.pathname = STREAM_PATH;
  return url.href;
}

/** What `getToken` gave, checked. */
export function checkAccess(access: Access, request: TokenRequest, endpoint: string | undefined) {
  const session = access?.session ?? (request.reason === 'expired' ? request.session : undefined);
  if (typeof access?.token !== 'string' || typeof session !== 'string') {
    const message = 'getToken must give { session, token, url }, as POST /api/v1/sessions answered your back end';
    throw new ProctorError('token_failed', message, typeof session === 'string' ? 'token' : 'session');
  }
  const address = endpoint ?? access.url;
  if (address === undefined && request.reason === 'start') {
    throw new ProctorError('token_failed', 'getToken gave no url, and the option endpoint is not set', 'url');
  }
  return { session, token: access.token, url: address === undefined ? '' : streamUrl(address) };
}
