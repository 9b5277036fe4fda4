// A platform's back end: what it asks of the REST API to have somebody learn.
import { readFile } from 'node:fs/promises';

const RIGHT = 'right';
/** Whether `text` answers every question of these courses. */
export const isRight = (text) => text === RIGHT;

export class Api {
  constructor(url, key) {
    this.base = `${url}/api/v1`;
    this.key = key;
  }

  async send(method, path, body, type = 'application/json') {
    const headers = { authorization: `Bearer ${this.key}`, ...(body !== undefined && { 'content-type': type }) };
    const answer = await fetch(this.base + path, {
      method,
      headers,
      body: type === 'application/json' ? JSON.stringify(body) : body,
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}: ${text}`);
    // A log is lines of JSON, to be kept as they are.
    return answer.headers.get('content-type') === 'application/json' ? JSON.parse(text) : text;
  }
}

let people = 0;

/** A number that is well-formed (GB 11643) and belongs to nobody: whoever has it was born in 1901. */
function inventedIdNumber() {
  people += 1;
  const body = `110101190101${String((people % 28) + 1).padStart(2, '0')}${String(people % 1000).padStart(3, '0')}`;
  const weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
  const sum = weights.reduce((sum, weight, index) => sum + weight * Number(body[index]), 0);
  return body + '10X98765432'[sum % 11];
}

/** A platform with an approved course on a server. */
export class Platform {
  static async join(server, { lessonMs, origins }) {
    const operator = new Api(server.url, await server.operatorKey());
    const { id } = await operator.send('POST', '/platforms', { name: '青田在线' });
    const { key } = await operator.send('POST', `/platforms/${id}/keys`, { label: 'e2e' });
    const platform = new Platform();
    platform.api = new Api(server.url, key);
    await platform.api.send('PUT', '/platform/origins', { origins });
    Object.assign(platform, { id, operator, lessonMs });
    Object.assign(platform, await platform.#course(true));
    return platform;
  }

  /** One more course, for the same learners; nobody may have two subsidised ones at once. */
  async further() {
    const platform = Object.assign(new Platform(), this);
    return Object.assign(platform, await platform.#course(false));
  }

  async #course(subsidised) {
    const question = (text) => ({ text, options: ['wrong a', RIGHT, 'wrong b', 'wrong c'], right: 1 });
    const project = await this.api.send('POST', '/projects', {
      name: '电工（五级）',
      total_hours: 40,
      delivery: 'blended',
      policy: 'e2e',
      region: '411300',
      occupation: '电工',
      level: 5,
      certificate: 'skill_level',
      online_hours: 16,
      practice_hours: 24,
      class_hour_ms: 2_400_000,
      teachers: 4,
      benches: 4,
      subsidised,
      lessons: [
        {
          title: '安全用电',
          kind: 'theory',
          duration_ms: this.lessonMs,
          questions: ['一', '二', '三', '四'].map(question),
        },
      ],
    });
    await this.operator.send('PUT', `/projects/${project.id}/approval`, { approved: true, document: '开班批复1号' });
    const lesson = project.lessons[0].id;
    const approval = { approved: true, number: '审1号', date: '2026-01-05', office: '省技能办' };
    await this.operator.send('PUT', `/lessons/${lesson}/approval`, approval);
    return { project: project.id, lesson };
  }

  /** A learner of the course, known by the photo in a file, and by name if they have one. */
  async enrol(photo, name) {
    const { id } = await this.api.send('POST', '/learners', { id_number: inventedIdNumber(), ...(name && { name }) });
    await this.api.send('PUT', `/learners/${id}/photo`, await readFile(photo), 'image/jpeg');
    await this.admit(id);
    return id;
  }

  /** Somebody who is known takes part. */
  async admit(learner) {
    await this.api.send('POST', `/projects/${this.project}/enrolments`, { learner });
  }

  /** `{session, token, url}` for the learner's page. */
  open(learner) {
    return this.api.send('POST', '/sessions', { lesson: this.lesson, learner });
  }

  /** A further token. */
  renew(session) {
    return this.api.send('POST', `/sessions/${session}/tokens`, {});
  }

  /** Has webhooks sent to `url`. */
  async tell(url) {
    await this.api.send('PUT', '/platform/webhook', { url });
  }

  /** The token of the link by which the learner of a closed session sees it. */
  async appealToken(session) {
    const { url } = await this.api.send('POST', `/sessions/${session}/appeal-link`, {});
    return new URL(url).hash.slice(1);
  }

  session(session) {
    return this.api.send('GET', `/sessions/${session}`);
  }

  verdict(session) {
    return this.api.send('GET', `/sessions/${session}/verdict`);
  }

  /** What is on record, event by event. */
  async log(session) {
    const lines = await this.api.send('GET', `/sessions/${session}/log`);
    return lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  }
}
