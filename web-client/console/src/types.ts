// What the server says, as its API has it. Times are milliseconds since the Unix epoch.

export type Role = 'supervisor' | 'auditor' | 'administrator' | 'staff';

export interface Account {
  id: string;
  name: string;
  role: Role;
  region: string | null;
  platform: string | null;
  totp: boolean;
  created_at: number;
}

export interface ListedAccount extends Account {
  disabled_at: number | null;
}

export interface Page<Item> {
  items: Item[];
  next?: string | null;
  total?: number;
}

export interface Named {
  id: string;
  name: string;
}

export interface Titled {
  id: string;
  title: string;
}

export interface Masked {
  id: string;
  masked: string | null;
}

export interface Project extends Named {
  region?: string | null;
}

export type Tab = 'review' | 'appeals' | 'live' | 'decided';
export type Severity = 'high' | 'medium' | 'low';
export type Status = 'open' | 'valid' | 'review' | 'invalid';
export type DecisionKind = 'uphold' | 'overturn' | 'need_more';

export interface RuleCount {
  rule: string;
  cause: string | null;
  count: number;
}

export interface QueueItem {
  session: string;
  tab: Tab;
  platform: Named;
  project: Project;
  lesson: Titled;
  learner: Masked;
  status: Status | null;
  verdict_version: number | null;
  rules: RuleCount[];
  severity: Severity;
  opened_at: number;
  closed_at: number | null;
  due_at: number | null;
  overdue: boolean;
  appeal: { at: number } | null;
  proposed: { by: string | Named; decision: DecisionKind } | null;
}

export type QueueCounts = Record<Tab | 'overdue', number>;

export interface LiveItem {
  session: string;
  platform: Named;
  project: Project;
  lesson: Titled & { duration_ms?: number };
  learner: Masked;
  opened_at: number;
  watched_ms: number;
  position_ms: number | null;
  playing: boolean;
  hidden: boolean;
  connected: boolean;
  prompts: { asked: number; answered: number; missed: number };
  photos: { taken: number; matched: number; failed: number };
  rules: string[];
  severity: Severity;
}

export interface Clause {
  source?: string;
  document?: string;
  item?: string;
  text: string;
}

export interface Violation {
  rule: string;
  cause: string | null;
  at: number;
  n: number;
  clause?: Clause | string | null;
  detail?: Record<string, number | string> | null;
}

export interface Verdict {
  session: string;
  policy: string;
  status: Status;
  watched_ms: number;
  watch_ms: number;
  creditable_ms: number;
  credited_ms: number;
  credited_hours: number;
  completed: boolean;
  coverage: [number, number][];
  furthest_ms: number;
  violations: Violation[];
  violations_total: number;
  carried: Record<string, unknown>;
  log_digest: string;
}

export interface VerdictVersion {
  version: number;
  status: Status;
  created_at: number;
  body: Verdict;
  decided_by: Named | string | null;
}

export type PhotoState = 'kept' | 'deleted' | 'none';

/** Where the face that was compared is, in thousandths of its photo's width and height. */
export interface Compared {
  frame: number;
  left_milli: number;
  top_milli: number;
  width_milli: number;
  height_milli: number;
}

export interface Capture {
  capture: string;
  reason: string;
  requested_at: number | null;
  deadline_at: number | null;
  submitted_at: number | null;
  at: number | null;
  n: number | null;
  outcome: string | null;
  cause: string | null;
  similarity_milli: number | null;
  threshold_milli: number | null;
  /** how many faces were found */
  faces: number | null;
  compared: Compared | null;
  frames: number;
  digest: string | null;
  photo: PhotoState;
  deleted_at?: number | null;
}

export interface Decision {
  id: string;
  session: string;
  version: number;
  decision: DecisionKind;
  reason: string;
  note: string | null;
  by: Named;
  at: number;
  state: 'proposed' | 'final';
  confirms: string | null;
  made_version: number | null;
}

export interface Attachment {
  id: string;
  name: string;
  type: string;
  size: number;
}

export interface Appeal {
  id: string;
  at: number;
  /** null once the learner is forgotten */
  statement: string | null;
  attachments: Attachment[];
  state: 'open' | 'decided';
  due_at: number | null;
}

export interface Dossier {
  session: {
    id: string;
    platform: Named;
    project: Project;
    lesson: Titled & { duration_ms: number };
    learner: Masked;
    opened_at: number;
    closed_at: number | null;
    state: 'open' | 'closed';
    verdict_status: Status | null;
  };
  verdicts: VerdictVersion[];
  parameters: Record<string, unknown> | null;
  clauses: Record<string, Clause> | null;
  captures: Capture[];
  enrolled: { version: number; digest: string; created_at: number } | null;
  decisions: Decision[];
  appeals: Appeal[];
  makeups: { id: string; reference: string; office?: string; reason: string; created_at: number }[];
  earlier: {
    session: string;
    lesson: Titled | string;
    opened_at: number;
    status: Status | null;
    credited_hours: number | null;
  }[];
  findings: string[];
  due_at: number | null;
  needs_second: boolean;
  log_digest: string;
}

export interface DecisionReason {
  code: string;
  decision: DecisionKind;
}

export interface Finding {
  id: string;
  kind: string;
  subject: string;
  severity: Severity;
  state: string;
  count: number;
  first_at: number;
  last_at: number;
  evidence: Record<string, unknown>;
  explanation: { code: string; zh: string; en: string };
  clause: { source: string; text: string };
  learners: string[];
  platforms: string[];
  sessions: string[];
}

export interface PlatformRecord {
  id: string;
  name: string;
  status: 'active' | 'suspended' | 'unregistered' | 'banned';
  status_reason?: string | null;
  status_document?: string | null;
  banned_from?: string | null;
  banned_until?: string | null;
  created_at: number;
}

export interface PlatformDecision {
  id: string;
  status: PlatformRecord['status'];
  decided_at: number;
  decided_by: string;
  document?: string | null;
  reason?: string | null;
  banned_until?: string | null;
}

export interface Figures {
  days: { day: string; sessions: number; valid: number; review: number; invalid: number }[];
  rules: { rule: string; count: number }[];
  prompts: { asked: number; answered: number } | null;
  faces: { cause: string; count: number }[];
}

export interface ProjectRecord {
  id: string;
  name: string;
  platform: string;
  policy: string;
  approved: boolean;
  approval_document?: string | null;
  region?: string | null;
  occupation?: string | null;
  total_hours: number;
  online_hours?: number | null;
  lessons?: LessonRecord[];
}

export interface LessonRecord {
  id: string;
  title: string;
  position: number;
  duration_ms: number;
  kind: string;
  content_approved: boolean;
  approval_number?: string | null;
}

export interface Policy {
  label: string;
  id: string;
  version: string | null;
  document: string | null;
  title?: string;
  effective_from: string | null;
  effective_until: string | null;
  in_force: boolean;
}

export interface Overview {
  learner: Masked;
  enrolments: {
    project: Named;
    platform: Named;
    hours_online: number | null;
    hours_left: number | null;
    quota_ms: number | null;
    used_ms: number;
    lessons_completed: number;
    lessons: number;
  }[];
  sessions: {
    session?: string;
    id?: string;
    lesson: Titled | string;
    opened_at: number;
    status?: Status | null;
    verdict_status?: Status | null;
    credited_hours?: number | null;
  }[];
  findings: (string | Finding)[];
  photos: { kept: number; oldest_at: number | null; retained_until: number | null };
  consent: { at: number; session: string } | null;
}

export interface Access {
  id: string;
  at: number;
  account: string | null;
  name: string | null;
  role: string | null;
  kind: string;
  subject: string | null;
  detail: unknown;
}

export interface AppealView {
  session: {
    opened_at: number;
    closed_at: number | null;
    lesson: string | { title: string };
    platform: string | { name: string };
    project: string | { name: string };
  };
  verdict: {
    status: Status;
    credited_hours: number;
    violations: Violation[];
  };
  recorded: { kind: string; count: number }[];
  captures: { capture: string; at: number | null; outcome: string | null; photo: PhotoState }[];
  appeal: Appeal | null;
  decisions: { decision: DecisionKind; reason: string; at: number }[];
  expires_at: number;
}

/** A line of a session's log. */
export interface LogLine {
  n: number;
  at: number;
  src: 'server' | 'client';
  seq?: number;
  ct?: number;
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a line holds depends on its type, and unknown fields are kept.
  data: Record<string, any>;
}
