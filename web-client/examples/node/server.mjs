// A course platform's back end in Node: it opens sessions for its learners' pages, and believes no verdict whose signature
// does not hold. The API key stays here; a page gets a token that is good for one session.
//
//   INVIGIL_URL=https://invigil.example INVIGIL_KEY=ivk_… WEBHOOK_SECRET=whsec_… LESSON=… LEARNER=… PORT=3000 npm start
//
// With PAGES=FOLDER it serves the course pages in that folder as well.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { createClient, Refusal } from './rest.generated.js';

const { INVIGIL_URL, INVIGIL_KEY, WEBHOOK_SECRET, LESSON, LEARNER, PAGES, PORT = '3000' } = process.env;
const invigil = createClient({ url: INVIGIL_URL, key: INVIGIL_KEY });
const webhook = new Webhook(WEBHOOK_SECRET);
/** Verdicts by session: where a platform has its database. */
const verdicts = new Map();

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * What `getToken` of the page asks for. Here a platform looks up who is logged in and which lesson they chose, and that
 * the session which the page names is theirs.
 * @param {{ reason: 'start' | 'expired', session: string | null }} request
 * @returns {Promise<import('./rest.generated').OpenedStream>}
 */
async function access({ reason, session }) {
  if (session) {
    const { closed_at, learner } = await invigil.readSession({ id: session });
    if (learner !== LEARNER) throw new Refused(403, 'not your session');
    if (closed_at === null) return { session, ...(await invigil.issueToken({ id: session })) };
    if (reason === 'expired') throw new Refused(409, 'the session has ended');
  }
  return invigil.openSession({ body: { lesson: LESSON, learner: LEARNER } });
}

/** A verdict arrives, perhaps more than once: what is done with it must be the same the second time. */
function receive(body, headers) {
  let event;
  try {
    event = webhook.verify(body, headers);
  } catch {
    throw new Refused(401, 'the signature does not hold');
  }
  const { session, verdict } = event.data;
  verdicts.set(session, verdict);
  console.log(`verdict ${session} ${verdict.status}`);
}

async function read(request, limit = 1 << 20) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > limit) throw new Refused(413, 'too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.mp4': 'video/mp4' };

/** A file of the course pages. Parts of a film are answered too (Range), or nobody could jump in it. */
async function sendFile(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  // Normalised from the root, so that no `..` leads out of the folder.
  const path = join(PAGES, normalize(join('/', decodeURIComponent(pathname))));
  const type = TYPES[extname(path)];
  const { size } = (type && (await stat(path).catch(() => null))) || {};
  if (size === undefined) throw new Refused(404, 'no such page');
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = asked ? Number(asked[1]) : 0;
  const end = asked?.[2] ? Math.min(Number(asked[2]), size - 1) : size - 1;
  if (start > end) throw new Refused(416, 'the file is shorter');
  const part = asked && { 'content-range': `bytes ${start}-${end}/${size}` };
  const headers = { 'content-type': type, 'content-length': end - start + 1, 'accept-ranges': 'bytes', ...part };
  response.writeHead(asked ? 206 : 200, headers);
  createReadStream(path, { start, end }).pipe(response);
}

async function answer(request, response) {
  if (request.method === 'GET' && PAGES) return sendFile(request, response);
  const body = await read(request);
  if (request.method === 'POST' && request.url === '/token') {
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify(await access(JSON.parse(body))));
  }
  if (request.method === 'POST' && request.url === '/invigil-webhook') {
    receive(body, request.headers);
    return response.writeHead(204).end();
  }
  throw new Refused(404, 'no such path');
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    if (!(error instanceof Refused)) console.error(error);
    // What the server refuses the platform is for the platform's log, not for the learner.
    const status = error instanceof Refusal ? 502 : (error.status ?? 500);
    const words = error instanceof Refused ? error.message : 'something is wrong here';
    response.writeHead(status, { 'content-type': 'text/plain' }).end(words);
  });
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on ${PORT}`));
