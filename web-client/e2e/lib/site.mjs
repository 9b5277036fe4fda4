// The platform's web site: a course page under a strict content security policy, and a back end that opens sessions.
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const page = fileURLToPath(new URL('../page/', import.meta.url));
const TYPES = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  m3u8: 'application/vnd.apple.mpegurl',
  ts: 'video/mp2t',
};
/** Files of players as their packages have them. */
const LIBRARIES = { 'hls.mjs': 'hls.js', 'video.min.js': 'video.js' };
const { resolve: packageOf } = createRequire(import.meta.url);

export class Site {
  /** sessions in the order in which they were opened */
  sessions = [];

  static async open(cleanup) {
    const site = new Site();
    const listener = createServer((request, response) => {
      site.#answer(request, response).catch((error) => {
        if (!response.headersSent) response.writeHead(502, { 'content-type': 'text/plain' });
        response.end(String(error));
      });
    });
    await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve));
    site.origin = `http://127.0.0.1:${listener.address().port}`;
    cleanup.defer(() => {
      listener.closeAllConnections();
      listener.close();
    });
    return site;
  }

  /**
   * What the course is: the platform, its learner, the film, perhaps a folder with the same film as a stream, and the
   * server as pages reach it (`host:port`).
   */
  teach({ platform, learner, film, stream, server, wire }) {
    Object.assign(this, { platform, learner, film, stream, server, wire: wire ?? server.address });
  }

  get course() {
    return `${this.origin}/course.html`;
  }

  #policy(library) {
    // What hls.js plays is put together in the page.
    const media = library === 'hls' ? ' blob:' : '';
    return (
      `default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; media-src 'self'${media}; img-src 'self'; ` +
      `connect-src 'self' ws://${this.wire}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`
    );
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.origin);
    if (pathname === '/token')
      return this.#token(request, response, searchParams.get('course') === 'second' ? this.second : this.platform);
    if (pathname === '/lesson.mp4') return this.#film(request, response);
    if (pathname.startsWith('/sdk/v1/')) return this.#sdk(pathname, response);
    const body = await readFile(this.#file(pathname)).catch(() => null);
    if (body === null) return response.writeHead(404).end();
    const type = TYPES[pathname.split('.').pop()];
    const policy = this.#policy(searchParams.get('player'));
    response.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(body);
  }

  #file(pathname) {
    const name = pathname.split('/').pop();
    if (pathname.startsWith('/stream/')) return join(this.stream, name);
    return LIBRARIES[name] ? join(dirname(packageOf(LIBRARIES[name])), name) : page + name;
  }

  /** The session that this browser holds goes on; otherwise a new one. As docs/integrate.md says. */
  async #token(request, response, platform) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { session } = JSON.parse(Buffer.concat(chunks).toString());
    const isOpen = session !== null && (await platform.session(session)).closed_at === null;
    const access = isOpen ? { session, ...(await platform.renew(session)) } : await platform.open(this.learner);
    if (!isOpen) this.sessions.push(access.session);
    const url = `ws://${this.wire}/v1/stream`;
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...access, url }));
  }

  /** The server's own files, from this site: browsers start a worker only from the page's own. */
  async #sdk(pathname, response) {
    const answer = await fetch(`${this.server.url}${pathname}`);
    const type = answer.headers.get('content-type');
    // A worker has a policy of its own: that of its file.
    const headers = { 'content-type': type, 'content-security-policy': "default-src 'none'" };
    response.writeHead(answer.status, headers).end(Buffer.from(await answer.arrayBuffer()));
  }

  async #film(request, response) {
    const { size } = await stat(this.film);
    const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const [from, to] = asked ? [Number(asked[1]), asked[2] ? Number(asked[2]) : size - 1] : [0, size - 1];
    const headers = { 'content-type': 'video/mp4', 'accept-ranges': 'bytes', 'content-length': to - from + 1 };
    if (asked) headers['content-range'] = `bytes ${from}-${to}/${size}`;
    response.writeHead(asked ? 206 : 200, headers);
    createReadStream(this.film, { start: from, end: to })
      .on('error', () => response.destroy())
      .pipe(response);
  }
}
