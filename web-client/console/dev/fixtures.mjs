// Dossiers, queue and the rest, made of tests/examples: the logs and verdicts are real, the names around them are invented.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const examples = join(root, 'tests/examples');
const HOUR = 3_600_000;

const PLATFORMS = ['青田在线', '豫职云课堂', '闽学通'].map((name, index) => ({ id: `platform-${index + 1}`, name }));
const PROJECTS = [
  { id: 'project-1', name: '电工（五级）', region: '411300' },
  { id: 'project-2', name: '家政服务员（四级）', region: '411300' },
  { id: 'project-3', name: '互联网营销师（五级）', region: '350100' },
];
const LESSONS = ['安全用电常识', '家庭照护基础', '直播间搭建与选品', '触电急救'].map((title, index) => ({
  id: `lesson-${index + 1}`,
  title,
}));
const LEARNERS = ['李*', '王*明', '张*', '陈*华', '赵*', '孙*丽', '周*', '吴*军'].map((masked, index) => ({
  id: `learner-${index + 1}`,
  masked,
}));

const packText = readFileSync(join(root, 'src/policy/packs/henan-2022.toml'), 'utf8');

/** The clauses of a pack, as its text has them. */
function clausesOf(text) {
  const clauses = {};
  for (const [, rule, source, words] of text.matchAll(/\[clause\.(\w+)\]\nsource = "(.*)"\ntext = "(.*)"/g)) {
    clauses[rule] = { source, text: words };
  }
  return clauses;
}
export const clauses = clausesOf(packText);

const SEVERE = ['face_liveness', 'fast_forward', 'multi_window', 'platform_banned'];
const severityOf = (verdict) =>
  verdict.violations.some(({ rule }) => SEVERE.includes(rule))
    ? 'high'
    : verdict.violations.length > 1
      ? 'medium'
      : 'low';

function rulesOf(violations) {
  const counts = new Map();
  for (const { rule, cause } of violations) {
    const key = `${rule}|${cause}`;
    counts.set(key, { rule, cause, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}

function capturesOf(lines) {
  const captures = new Map();
  for (const { n, at, type, data } of lines) {
    if (!data.capture) continue;
    const of = captures.get(data.capture) ?? {
      capture: data.capture,
      reason: 'random',
      requested_at: null,
      deadline_at: null,
      submitted_at: null,
      at: null,
      n: null,
      outcome: null,
      cause: null,
      similarity_milli: null,
      threshold_milli: null,
      faces: null,
      compared: null,
      frames: 1,
      digest: null,
      photo: 'none',
    };
    if (type === 'capture.requested')
      Object.assign(of, { reason: data.reason, requested_at: at, deadline_at: data.deadline_at });
    if (type === 'capture.submitted') of.submitted_at = at;
    if (type === 'capture.expired') Object.assign(of, { at, n, outcome: 'expired' });
    if (type === 'face.checked') {
      const similarity = data.similarity === undefined ? null : Math.round(data.similarity * 1000);
      Object.assign(of, {
        at,
        n,
        outcome: data.outcome,
        digest: data.photo,
        similarity_milli: similarity,
        threshold_milli: 363,
        faces: data.faces ?? 1,
        compared: { frame: 1, left_milli: 350, top_milli: 220, width_milli: 300, height_milli: 480 },
        photo: data.photo ? 'kept' : 'none',
        frames: data.frames ?? 3,
      });
    }
    captures.set(data.capture, of);
  }
  return [...captures.values()];
}

export function load(now) {
  const sessions = new Map();
  const names = readdirSync(examples).filter((name) => name.endsWith('.jsonl'));
  names.forEach((file, index) => {
    const name = file.slice(0, -6);
    const text = readFileSync(join(examples, file), 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const log_digest = createHash('sha256').update(text).digest('hex');
    const verdict = JSON.parse(readFileSync(join(examples, `${name}.verdict.json`), 'utf8'));
    verdict.log_digest ??= log_digest;
    for (const violation of verdict.violations) violation.clause = clauses[violation.rule] ?? null;
    const first = lines[0];
    const closed = lines.at(-1).type === 'session.closed' ? lines.at(-1).at : null;
    const id = `session-${name}`;
    const learner = LEARNERS[index % LEARNERS.length];
    const session = {
      id,
      platform: PLATFORMS[index % 3],
      project: PROJECTS[index % 3],
      lesson: { ...LESSONS[index % 4], duration_ms: first.data.duration_ms },
      learner,
      opened_at: first.at,
      closed_at: closed,
      state: closed ? 'closed' : 'open',
      verdict_status: closed ? verdict.status : null,
    };
    const captures = capturesOf(lines);
    // One session of whose photos the retention has ended.
    if (name === '18') for (const capture of captures) if (capture.photo === 'kept') capture.photo = 'deleted';
    const appeal = ['19', '25'].includes(name)
      ? [
          {
            id: `appeal-${name}`,
            at: now - 5 * HOUR,
            statement:
              '那天家里停电，我用手机热点上网，摄像头画面很暗。学习的是我本人，可以和身份证照片比对。\n请监管员再看一下。',
            attachments: [{ id: 'a1', name: '停电通知.pdf', type: 'application/pdf', size: 183_402 }],
            state: 'open',
            due_at: now + 30 * HOUR,
          },
        ]
      : [];
    sessions.set(id, {
      text,
      tab: !closed ? 'live' : appeal.length > 0 ? 'appeals' : verdict.status === 'valid' ? 'decided' : 'review',
      severity: severityOf(verdict),
      rules: rulesOf(verdict.violations),
      dossier: {
        session,
        verdicts: closed
          ? [{ version: 1, status: verdict.status, created_at: closed + 2, body: verdict, decided_by: null }]
          : [],
        parameters: {},
        clauses,
        captures,
        enrolled: { version: 1, digest: 'f'.repeat(64), created_at: first.at - 40 * 24 * HOUR },
        decisions: [],
        appeals: appeal,
        makeups: [],
        earlier:
          index % 3 === 0
            ? []
            : [
                {
                  session: 'session-24',
                  lesson: LESSONS[0],
                  opened_at: first.at - 26 * HOUR,
                  status: 'valid',
                  credited_hours: 1.08,
                },
                {
                  session: 'session-25',
                  lesson: LESSONS[3],
                  opened_at: first.at - 50 * HOUR,
                  status: 'invalid',
                  credited_hours: 0,
                },
              ],
        findings: index % 5 === 0 ? ['finding-1'] : [],
        due_at: closed ? now + (index * 7 - 30) * HOUR : null,
        needs_second: appeal.length > 0,
        log_digest,
      },
    });
  });
  return sessions;
}

export function queueItem(entry) {
  const { session, verdicts, appeals, decisions, due_at } = entry.dossier;
  const proposal = decisions.findLast(({ state }) => state === 'proposed');
  return {
    session: session.id,
    tab: entry.tab,
    platform: session.platform,
    project: session.project,
    lesson: { id: session.lesson.id, title: session.lesson.title },
    learner: session.learner,
    status: verdicts.at(-1)?.status ?? 'open',
    verdict_version: verdicts.at(-1)?.version ?? null,
    rules: entry.rules,
    severity: entry.severity,
    opened_at: session.opened_at,
    closed_at: session.closed_at,
    due_at,
    overdue: due_at !== null && due_at < Date.now(),
    appeal: appeals[0] ? { at: appeals[0].at } : null,
    proposed: proposal ? { by: proposal.by.name, decision: proposal.decision } : null,
  };
}

export function liveItems(sessions) {
  const items = [...sessions.values()].slice(0, 9).map((entry, index) => {
    const { session } = entry.dossier;
    return {
      session: session.id,
      platform: session.platform,
      project: session.project,
      lesson: session.lesson,
      learner: session.learner,
      opened_at: Date.now() - (index + 2) * 240_000,
      watched_ms: (index + 1) * 200_000,
      position_ms: Math.min(session.lesson.duration_ms, (index + 1) * 11_000),
      playing: index % 3 !== 0,
      hidden: index === 4,
      connected: index !== 6,
      prompts: { asked: index, answered: index - (index > 5 ? 2 : 0), missed: index > 5 ? 2 : 0 },
      photos: { taken: index + 1, matched: index + 1 - (index === 5 ? 2 : 0), failed: index === 5 ? 2 : 0 },
      rules: [...new Set(entry.rules.map(({ rule }) => rule))],
      severity: entry.severity,
    };
  });
  const order = { high: 0, medium: 1, low: 2 };
  return items.sort((a, b) => b.rules.length - a.rules.length || order[a.severity] - order[b.severity]);
}

const people = join(root, 'models/cache/people');
function portraits(name) {
  const folder = join(people, name);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.jpg'))
    .map((file) => join(folder, file));
}
const enrolled = portraits('obama');
const others = portraits('biden');
/** A photo of the person or of another, as the check came out; null without `make models`. */
export function photo(outcome, index) {
  const files = outcome === 'mismatch' || outcome === 'spoof' ? others : enrolled;
  return files.length > 0 ? readFileSync(files[index % files.length]) : null;
}

export const findings = [
  {
    id: 'finding-1',
    kind: 'shared_device',
    subject: 'device:9f2c',
    severity: 'medium',
    state: 'open',
    count: 3,
    first_at: Date.now() - 90 * HOUR,
    last_at: Date.now() - 3 * HOUR,
    evidence: { learners: 9, window_days: 7, thresholds: { device_learners: 4 }, policy: 'henan-2022@1' },
    explanation: {
      code: 'device_learners',
      zh: '7 天内有 9 名学员使用同一台设备',
      en: '9 learners used one device within 7 days',
    },
    clause: {
      source: '福建八条措施 七',
      text: '设置风控预警功能，为参训人员身份识别、培训项目筛查比对、远程实时监管等提供技术支撑',
    },
    learners: LEARNERS.map(({ id }) => id),
    platforms: ['platform-1'],
    sessions: ['session-05', 'session-07', 'session-19'],
  },
  {
    id: 'finding-2',
    kind: 'answer_times',
    subject: 'learner:learner-2',
    severity: 'high',
    state: 'acknowledged',
    count: 1,
    first_at: Date.now() - 30 * HOUR,
    last_at: Date.now() - 30 * HOUR,
    evidence: { answers: 30, variation_milli: 41, thresholds: { answer_variation_milli: 90 } },
    explanation: {
      code: 'answers_regular',
      zh: '最近 30 次回答的用时过于均匀（4.1%）',
      en: 'the last 30 answers took oddly even times (4.1 %)',
    },
    clause: { source: '福建八条措施 七', text: '设置风控预警功能' },
    learners: ['learner-2'],
    platforms: ['platform-1'],
    sessions: ['session-24'],
  },
];

export const policies = readdirSync(join(root, 'src/policy/packs')).map((file) => {
  const text = readFileSync(join(root, 'src/policy/packs', file), 'utf8');
  const field = (name) => new RegExp(`^${name} = "?([^"\\n]+)"?`, 'm').exec(text)?.[1] ?? null;
  const until = field('effective_until');
  return {
    label: `${field('id')}@${field('version')}+${createHash('sha256').update(text).digest('hex')}`,
    id: field('id'),
    version: field('version'),
    document: `${field('document')} ${field('title')}`,
    effective_from: field('effective_from'),
    effective_until: until,
    in_force: until === null,
    text,
  };
});

export function figures(from, to) {
  const days = [];
  for (let day = Date.parse(from); day <= Date.parse(to); day += 24 * HOUR) {
    const index = day / (24 * HOUR);
    const sessions = 60 + Math.round(25 * Math.sin(index / 3.5)) + (index % 7);
    const invalid = 3 + (index % 4);
    const review = 4 + (index % 5);
    days.push({
      day: new Date(day).toISOString().slice(0, 10),
      sessions,
      valid: sessions - invalid - review,
      review,
      invalid,
    });
  }
  return {
    days,
    rules: [
      { rule: 'prompt_gap', count: 84 },
      { rule: 'face_liveness', count: 51 },
      { rule: 'multi_window', count: 33 },
      { rule: 'fast_forward', count: 12 },
      { rule: 'photo_missing', count: 4 },
    ],
    prompts: { asked: 4210, answered: 4011 },
    faces: [
      { cause: 'no_face', count: 61 },
      { cause: 'unusable', count: 40 },
      { cause: 'mismatch', count: 22 },
      { cause: 'expired', count: 19 },
      { cause: 'multiple_faces', count: 7 },
    ],
  };
}

export { LEARNERS, LESSONS, PLATFORMS, PROJECTS };
