// Answers the console's part of the API from fixtures, under the very policy that the product sends. See README.md beside it.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fixtures from './fixtures.mjs';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const PASSWORD = 'dev-password';
const REASONS = {
  uphold: ['evidence_sufficient', 'admitted'],
  overturn: ['identity_confirmed', 'technical_fault', 'rule_misapplied', 'disability_or_health', 'network'],
  need_more: ['await_learner', 'await_platform', 'photo_unclear'],
};

const accounts = ['supervisor', 'second', 'auditor', 'administrator', 'staff', 'totp'].map((name) => ({
  id: `account-${name}`,
  name,
  role: ['second', 'totp'].includes(name) ? 'supervisor' : name,
  region: ['supervisor', 'second', 'totp'].includes(name) ? '4113' : null,
  platform: name === 'staff' ? 'platform-1' : null,
  totp: name === 'totp',
  disabled_at: null,
  created_at: Date.now() - 9e9,
}));

const sessions = fixtures.load(Date.now());
const streams = new Set();
let rows = 0;
const many = new Map();

class Problem extends Error {
  constructor(status, code, detail = code, more = {}) {
    super(detail);
    Object.assign(this, {
      status,
      body: { type: `urn:invigil:problem:${code}`, title: code, status, detail, ...more },
    });
  }
}

const tell = (event, data) => {
  for (const stream of streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
};

function page(items, query) {
  const after = Number(query.get('after') ?? 0);
  const limit = Number(query.get('limit') ?? 100);
  const next = after + limit < items.length ? String(after + limit) : null;
  return { items: items.slice(after, after + limit), next, total: items.length };
}

function queue(query) {
  const tab = query.get('tab') ?? 'review';
  let items = [...sessions.values()].filter((entry) => entry.tab === tab).map(fixtures.queueItem);
  if (rows > 0 && items.length > 0) {
    const one = (_, index) => ({ ...items[index % items.length], opened_at: 1_750_000_000_000 + index * 61_000 });
    if (!many.has(tab + rows)) many.set(tab + rows, Array.from({ length: rows }, one));
    items = many.get(tab + rows);
  }
  for (const name of ['platform', 'project', 'learner'])
    if (query.get(name)) items = items.filter((item) => item[name].id === query.get(name));
  if (query.get('severity')) items = items.filter(({ severity }) => severity === query.get('severity'));
  if (query.get('rule')) items = items.filter(({ rules }) => rules.some(({ rule }) => rule === query.get('rule')));
  return page(items, query);
}

function counts() {
  const of = (tab) => [...sessions.values()].filter((entry) => entry.tab === tab).length;
  const overdue = [...sessions.values()].filter(
    ({ tab, dossier }) => tab === 'review' && dossier.due_at < Date.now(),
  ).length;
  return { review: of('review'), appeals: of('appeals'), live: of('live'), decided: of('decided'), overdue };
}

function entryOf(id) {
  const entry = sessions.get(id);
  if (!entry) throw new Problem(404, 'not-found', `no session ${id}`);
  return entry;
}

function decide(id, body, account) {
  const entry = entryOf(id);
  const { dossier } = entry;
  const latest = dossier.verdicts.at(-1);
  if (body.verdict_version !== latest.version) throw new Problem(409, 'stale');
  const proposal = dossier.decisions.findLast(({ state }) => state === 'proposed') ?? null;
  const isOpen = proposal && !dossier.decisions.some(({ confirms }) => confirms === proposal.id);
  const confirms = isOpen && proposal.decision === body.decision ? proposal : null;
  if (confirms?.by.id === account.id) throw new Problem(409, 'second-person');
  const state = dossier.needs_second && !confirms ? 'proposed' : 'final';
  const made = state === 'final' && body.decision !== 'need_more' ? latest.version + 1 : null;
  const decision = {
    id: `d${dossier.decisions.length + 1}`,
    session: id,
    version: latest.version,
    decision: body.decision,
    reason: body.reason,
    note: body.note,
    by: { id: account.id, name: account.name },
    at: Date.now(),
    state,
    confirms: confirms?.id ?? null,
    made_version: made,
  };
  dossier.decisions.push(decision);
  if (made) {
    const status = body.decision === 'overturn' ? 'valid' : 'invalid';
    const credited_hours = status === 'valid' ? Math.floor((latest.body.creditable_ms * 100) / 2_400_000) / 100 : 0;
    dossier.verdicts.push({
      version: made,
      status,
      created_at: Date.now(),
      body: { ...latest.body, status, credited_hours },
      decided_by: decision.by,
    });
    for (const appeal of dossier.appeals) appeal.state = 'decided';
    entry.tab = 'decided';
  }
  tell('queue', { session: id, tab: entry.tab });
  return decision;
}

function appealView(entry) {
  const { session, verdicts, captures, appeals, decisions } = entry.dossier;
  const { status, credited_hours, violations } = verdicts.at(-1).body;
  const counts = new Map();
  for (const line of entry.text.trim().split('\n')) {
    const { type } = JSON.parse(line);
    counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return {
    session: {
      opened_at: session.opened_at,
      closed_at: session.closed_at,
      lesson: session.lesson.title,
      platform: session.platform.name,
      project: session.project.name,
    },
    verdict: { status, credited_hours, violations },
    recorded: [...counts].map(([kind, count]) => ({ kind, count })),
    captures: captures.map(({ capture, at, outcome, photo }) => ({ capture, at, outcome, photo })),
    appeal: appeals[0] ?? null,
    decisions: decisions
      .filter(({ state }) => state === 'final')
      .map(({ decision, reason, at }) => ({ decision, reason, at })),
    expires_at: Date.now() + 9e8,
  };
}

const projects = fixtures.PROJECTS.map((project, index) => ({
  ...project,
  platform: fixtures.PLATFORMS[index].id,
  policy: 'henan-2022',
  approved: index !== 1,
  approval_document: index !== 1 ? '开班批复〔2026〕17号' : null,
  total_hours: 40,
  online_hours: 16,
}));
const lessonsOf = () =>
  fixtures.LESSONS.map((lesson, index) => ({
    ...lesson,
    position: index + 1,
    duration_ms: 2_400_000,
    kind: 'theory',
    content_approved: index !== 3,
    approval_number: index !== 3 ? `审${index + 1}号` : null,
  }));

function frame(entry, capture, index) {
  const found = entry.dossier.captures.find((one) => one.capture === capture);
  if (!found) throw new Problem(404, 'not-found');
  if (found.photo === 'deleted') throw new Problem(410, 'deleted', 'deleted', { deleted_at: Date.now() - 9e8 });
  return image(fixtures.photo(found.outcome, Number(capture.replace(/\D/g, '')) + Number(index)));
}

function image(bytes) {
  if (!bytes) throw new Problem(404, 'not-found', 'run make models');
  return { type: 'image/jpeg', body: bytes };
}

function learnerView(id) {
  const learner = fixtures.LEARNERS.find((one) => one.id === id) ?? fixtures.LEARNERS[0];
  const own = [...sessions.values()]
    .filter(({ dossier }) => dossier.session.learner.id === learner.id)
    .map(({ dossier }) => dossier);
  return {
    learner,
    enrolments: [
      {
        project: fixtures.PROJECTS[0],
        platform: fixtures.PLATFORMS[0],
        hours_online: 5.25,
        hours_left: 10.75,
        quota_ms: 38_400_000,
        used_ms: 12_600_000,
        lessons_completed: 3,
        lessons: 8,
      },
    ],
    sessions: own.map(({ session, verdicts }) => ({
      session: session.id,
      lesson: session.lesson,
      opened_at: session.opened_at,
      status: verdicts.at(-1)?.status ?? null,
      credited_hours: verdicts.at(-1)?.body.credited_hours ?? null,
    })),
    findings: learner.id === 'learner-2' ? ['finding-2'] : [],
    photos: { kept: 17, oldest_at: Date.now() - 5e9, retained_until: Date.now() + 6e10 },
    consent: { at: Date.now() - 5e9, session: 'session-01' },
  };
}

const kinds = ['login', 'photo', 'enrolled_photo', 'decision', 'export', 'login_failed', 'person', 'appeal'];
const accesses = Array.from({ length: 240 }, (_, index) => ({
  id: String(index),
  at: Date.now() - index * 613_000,
  account: accounts[index % 3].id,
  name: accounts[index % 3].name,
  role: accounts[index % 3].role,
  kind: kinds[index % 8],
  subject: `session-${String((index % 27) + 1).padStart(2, '0')}`,
  detail: index % 8 === 1 ? { capture: 'c2', frame: 0 } : null,
}));

/** Path patterns, and what answers them. */
const ROUTES = [
  ['GET', /^\/account$/, ({ account }) => account],
  ['GET', /^\/accounts$/, () => page(accounts, new URLSearchParams())],
  [
    'GET',
    /^\/access-log$/,
    ({ query }) =>
      page(
        accesses.filter(({ kind }) => !query.get('kind') || kind === query.get('kind')),
        query,
      ),
  ],
  ['GET', /^\/queue$/, ({ query }) => queue(query)],
  ['GET', /^\/queue\/counts$/, counts],
  ['GET', /^\/live$/, () => ({ items: fixtures.liveItems(sessions) })],
  [
    'GET',
    /^\/decision-reasons$/,
    () => Object.entries(REASONS).flatMap(([decision, codes]) => codes.map((code) => ({ code, decision }))),
  ],
  ['GET', /^\/sessions\/([^/]+)\/dossier$/, ({ part }) => entryOf(part[1]).dossier],
  ['GET', /^\/sessions\/([^/]+)\/log$/, ({ part }) => ({ type: 'application/jsonl', body: entryOf(part[1]).text })],
  [
    'GET',
    /^\/sessions\/([^/]+)\/captures\/([^/]+)\/frames\/(\d+)$/,
    ({ part }) => frame(entryOf(part[1]), part[2], part[3]),
  ],
  ['GET', /^\/learners\/([^/]+)\/enrolled-photo$/, () => image(fixtures.photo('match', 0))],
  ['GET', /^\/learners\/([^/]+)\/overview$/, ({ part }) => learnerView(part[1])],
  ['GET', /^\/learners\/([^/]+)\/person$/, () => ({ name: '李明', id_number: '11010119010101123X' })],
  ['POST', /^\/sessions\/([^/]+)\/decisions$/, ({ part, body, account }) => decide(part[1], body, account)],
  ['POST', /^\/sessions\/([^/]+)\/(prompt|capture)$/, () => null],
  [
    'GET',
    /^\/findings$/,
    ({ query }) =>
      page(
        fixtures.findings.filter(
          ({ platforms, state }) =>
            (!query.get('platform') || platforms.includes(query.get('platform'))) &&
            (!query.get('state') || state === query.get('state')),
        ),
        query,
      ),
  ],
  [
    'GET',
    /^\/platforms$/,
    () =>
      page(
        fixtures.PLATFORMS.map((platform, index) => ({
          ...platform,
          status: ['active', 'suspended', 'banned'][index],
          status_reason: index === 1 ? '满意度低于 85%，整改一个月' : null,
          banned_until: index === 2 ? '2028-03-01' : null,
          created_at: Date.now() - 3e10,
        })),
        new URLSearchParams(),
      ),
  ],
  [
    'GET',
    /^\/platforms\/([^/]+)$/,
    ({ part }) => ({ ...fixtures.PLATFORMS.find(({ id }) => id === part[1]), status: 'active', created_at: 0 }),
  ],
  [
    'GET',
    /^\/platforms\/([^/]+)\/status$/,
    () =>
      page(
        [
          {
            id: '1',
            status: 'active',
            decided_at: Date.now() - 2e10,
            decided_by: 'operator',
            reason: '纳入目录',
            document: '豫人社〔2026〕3号',
          },
        ],
        new URLSearchParams(),
      ),
  ],
  ['GET', /^\/platforms\/([^/]+)\/figures$/, ({ query }) => fixtures.figures(query.get('from'), query.get('to'))],
  ['GET', /^\/projects$/, () => page(projects, new URLSearchParams())],
  [
    'GET',
    /^\/projects\/([^/]+)$/,
    ({ part }) => ({ ...projects.find(({ id }) => id === part[1]), lessons: lessonsOf() }),
  ],
  ['GET', /^\/policies$/, () => fixtures.policies.map(({ text, ...rest }) => rest)],
  [
    'GET',
    /^\/policies\/([^/]+)$/,
    ({ part }) => ({ type: 'application/toml', body: fixtures.policies.find(({ label }) => label === part[1]).text }),
  ],
];

async function appeal(request, path, body) {
  const token = /^Appeal (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const entry = sessions.get(token);
  if (!entry) throw new Problem(401, 'unauthorized');
  if (path === '/appeal' && request.method === 'POST') {
    const attachments = body.attachments.map(({ name, type, data }, index) => ({
      id: `a${index}`,
      name,
      type,
      size: Math.floor((data.length * 3) / 4),
    }));
    const made = {
      id: 'appeal-new',
      at: Date.now(),
      statement: body.statement,
      attachments,
      state: 'open',
      due_at: Date.now() + 4e8,
    };
    entry.dossier.appeals.push(made);
    Object.assign(entry, { tab: 'appeals' });
    entry.dossier.needs_second = true;
    tell('queue', { session: token, tab: 'appeals' });
    return made;
  }
  const frameOf = /^\/appeal\/captures\/([^/]+)\/frames\/(\d+)$/.exec(path);
  return frameOf ? frame(entry, frameOf[1], frameOf[2]) : appealView(entry);
}

async function api(request, response, path, query) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks)) : null;
  if (path.startsWith('/appeal')) return appeal(request, path, body);
  const cookie = /invigil_console=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  const account = accounts.find(({ name }) => name === cookie);
  if (request.method !== 'GET' && request.headers['x-invigil-console'] !== '1') throw new Problem(403, 'cross-site');
  if (path === '/login') {
    const found = accounts.find(({ name }) => name === body.name);
    if (!found || body.password !== PASSWORD) throw new Problem(401, 'wrong-login');
    if (found.totp && body.code === undefined) throw new Problem(401, 'code-needed');
    if (found.totp && body.code !== '123456') throw new Problem(401, 'wrong-login');
    response.setHeader('set-cookie', `invigil_console=${found.name}; HttpOnly; SameSite=Strict; Path=/`);
    return found;
  }
  if (!account) throw new Problem(401, 'unauthorized');
  if (path === '/logout') {
    response.setHeader('set-cookie', 'invigil_console=; Max-Age=0; Path=/');
    return null;
  }
  if (path === '/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(': here\n\n');
    streams.add(response);
    request.on('close', () => streams.delete(response));
    return undefined;
  }
  for (const [method, pattern, answer] of ROUTES) {
    const part = method === request.method && pattern.exec(path)?.map(decodeURIComponent);
    if (part) return answer({ part, query, body, account });
  }
  throw new Problem(404, 'not-found', `${request.method} ${path}`);
}

async function file(path, response) {
  const name = normalize(path.slice('/console/'.length));
  const found = await readFile(join(dist, name)).catch(() => null);
  const isFile = found !== null && extname(name) !== '';
  response.writeHead(200, {
    'content-type': isFile ? TYPES[extname(name)] : TYPES['.html'],
    'content-security-policy': CSP,
  });
  response.end(isFile ? found : await readFile(join(dist, 'index.html')));
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname === '/dev') {
    rows = Number(url.searchParams.get('rows') ?? rows);
    if (url.searchParams.has('tell'))
      tell('queue', { session: `new-${Date.now()}`, tab: url.searchParams.get('tell') });
    return response.end('ok');
  }
  if (!url.pathname.startsWith('/api/v1/')) return file(url.pathname, response);
  try {
    const answer = await api(request, response, url.pathname.slice('/api/v1'.length), url.searchParams);
    if (answer === undefined) return;
    if (answer === null) response.writeHead(204).end();
    else if (answer.type && answer.body !== undefined && !answer.id)
      response.writeHead(200, { 'content-type': answer.type }).end(answer.body);
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  } catch (error) {
    const { status = 500, body = { type: 'about:blank', title: error.message } } = error;
    if (status === 500) console.error(error);
    response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body));
  }
});
server.listen(Number(process.env.PORT ?? 4180), '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${server.address().port}/console/`),
);
