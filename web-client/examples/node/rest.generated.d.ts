// Written by web-client/scripts/types.mjs from docs/openapi.json. Change that, not this.

/** Something that somebody was shown or did. */
export interface Access {
  /** identifier of the account or API key; empty: nobody who is known */
  account: string;
  /** ms since the Unix epoch */
  at: number;
  /** what else is to be said */
  detail: string;
  /** identifier */
  id: string;
  /** what it was */
  kind: AccessKind;
  /** the account's name at that time; empty for API keys */
  name: string;
  /** operator, supervisor, auditor, administrator, platform or staff; empty when nobody is known */
  role: string;
  /** the session, learner or list that it is about */
  subject: string;
}

/** What somebody was shown or did. */
export type AccessKind = "login" | "login_failed" | "photo" | "enrolled_photo" | "person" | "export" | "decision" | "appeal";

/** An account. */
export interface Account {
  /** ms since the Unix epoch */
  created_at: number;
  /** when it was disabled, ms since the Unix epoch; null: it may sign in */
  disabled_at?: number | null;
  /** identifier: decisions are on record by it */
  id: string;
  /** by which its holder signs in */
  name: string;
  /** of staff: the platform where they work */
  platform?: string | null;
  /** of a supervisor: what the region of their projects begins with; empty: everywhere */
  region: string;
  /** what its holder may do */
  role: AccountRole;
  /** whether one-time codes are asked for */
  totp: boolean;
}

export interface AccountChange {
  /** whether it may not sign in any more */
  disabled: boolean;
}

/** What the holder of an account may do. */
export type AccountRole = "supervisor" | "auditor" | "administrator" | "staff";

/** A key, as far as it can be shown after its making. */
export interface ApiKeyRecord {
  /** ms since the Unix epoch */
  created_at: number;
  /** identifier, to revoke it by */
  id: string;
  /** what its owner calls it */
  label: string;
  /** ms since the Unix epoch; null while it is valid */
  revoked_at?: number | null;
  /** what it is good for */
  role: KeyRole;
}

/** What a learner said to a session. */
export interface Appeal {
  /** ms since the Unix epoch */
  at: number;
  attachments: AppealAttachment[];
  /** by when it should be decided, ms since the Unix epoch */
  due_at: number;
  /** identifier */
  id: string;
  /** `open` or `decided` */
  state: string;
  /** null once the learner is forgotten */
  statement?: string | null;
}

/** What came with an appeal. */
export interface AppealAttachment {
  /** identifier */
  id: string;
  /** name of the file */
  name: string;
  /** bytes */
  size: number;
  /** `image/jpeg`, `image/png` or `application/pdf` */
  type: string;
}

export interface AppealLink {
  /** until when it is good, ms since the Unix epoch */
  expires_at: number;
  /** for the learner's browser: the token is behind the `#` */
  url: string;
}

export interface Assessment {
  /** the day on which the project's learners were assessed (考核结束), YYYY-MM-DD; null takes it back */
  assessed_on?: string | null;
}

/** A batch that nobody has answered in full. */
export interface BatchSummary {
  /** attempts made so far */
  attempts: number;
  /** why the last attempt failed */
  last_error?: string | null;
  /** when it is tried next, ms since the Unix epoch */
  next_attempt_at: number;
  /** by which the receiver knows it again */
  number: string;
}

/** A rule that forbids something. */
export interface BrokenRule {
  /** the clause that the rule follows from */
  clause: string;
  /** what it is about this time */
  detail: string;
  /** the rule, as docs/rules.md names it */
  rule: string;
}

/** The rules that forbid a request, if it is rules. */
export interface BrokenRules {
  /** the clause that the rule follows from */
  clause?: string | null;
  /** all of them, where several are checked together; the first is `rule` */
  refusals?: BrokenRule[];
  /** the rule that forbids it, as docs/rules.md names it */
  rule?: string | null;
}

/** The certificate at the end of a project. */
export type Certificate = "qualification" | "skill_level" | "special_ability" | "completion";

export interface Closing {
  /** why it ends */
  reason: RequestedReason;
}

export interface ContentApproval {
  /** false takes an approval back, and needs nothing else */
  approved: boolean;
  /** its day, YYYY-MM-DD */
  date?: string | null;
  /** number of the approval, at most 200 characters */
  number?: string | null;
  /** the office that gave it, at most 200 characters */
  office?: string | null;
}

/** Who decided. */
export interface DecidedBy {
  /** identifier of the account or API key */
  id: string;
  /** the account's name; empty for an API key */
  name: string;
}

/** A state that a finding had. */
export interface Decision {
  /** ms since the Unix epoch */
  at: number;
  /** identifier of the API key that decided; `engine`: new evidence opened it again */
  decided_by: string;
  /** why */
  note?: string | null;
  /** the state */
  state: string;
}

export interface DecisionReason {
  /** the code */
  code: string;
  /** which decision it is a reason for */
  decision: string;
}

/** Whether a decision stands. */
export type DecisionState = "proposed" | "final";

/** How a project is held. */
export type Delivery = "blended" | "online_only";

/** An enrolled face, by what names it. */
export interface EnrolledFace {
  /** the learner's random identifier */
  learner: string;
  /** SHA-256 hex of the enrolment photo */
  photo: string;
  /** the platform that gave it */
  platform: string;
  /** version of the enrolment photo */
  version: number;
}

/** A learner's part in a project. */
export interface Enrolment {
  /** the class (班) within the project; empty: its only one */
  class: string;
  /** ms since the Unix epoch; after a withdrawal, of the newest enrolment */
  created_at: number;
  /** identifier */
  id: string;
  /** the learner's random identifier */
  learner: string;
  /** online time credited in this project before it came to invigil, ms */
  prior_online_ms: number;
  /** the project */
  project: string;
  /** how often the learner was enrolled: 1, and one more for each time after a withdrawal */
  version: number;
  withdrawn?: EnrolmentWithdrawal | null;
}

/** How an enrolment came to its end. */
export interface EnrolmentWithdrawal {
  /** ms since the Unix epoch */
  at: number;
  /** who withdrew it */
  decided_as: KeyRole;
  /** the office's document */
  document?: string | null;
  /** why */
  reason: string;
}

/** A face of the set that is like one that was looked for. */
export interface FaceHit {
  /** the face that is like it */
  face: EnrolledFace;
  of?: EnrolledFace | null;
  /** cosine of the two faces, −1 to 1 */
  similarity: number;
}

/** What a search came to. */
export type FaceSearch = FaceSearchResult & {
  /** identifier of the search, as it is on record */
  id: string;
  /** the set */
  scope: string;
};

/** A search that was made. */
export interface FaceSearchRecord {
  /** identifier of the API key that asked; null: the engine */
  asked_by?: string | null;
  /** ms since the Unix epoch */
  at: number;
  /** comparisons */
  compared: number;
  /** false hits that were to be expected, thousandths of a millionth */
  expected_nano: number;
  /** hits */
  hits: number;
  /** identifier */
  id: string;
  /** `class`, `platform`, `device`, `address` or `chosen` */
  kind: string;
  /** whose face; null: a photo that was given, or every face of the set */
  learner?: string | null;
  /** the set, as it was asked for */
  scope: string;
  /** the least similarity that was a hit, thousandths */
  threshold_milli: number;
}

/** What came of a search, with what was to be expected of it. */
export interface FaceSearchResult {
  /** false hits a day that are allowed for this kind of search */
  allowed_false_hits_day: number;
  /** comparisons */
  compared: number;
  /** false hits to be expected of this search */
  expected_false_hits: number;
  /** false hits a day to be expected of as many searches like this one */
  expected_false_hits_day: number;
  /** the share of strangers who are as alike */
  false_match_rate: number;
  /** the share of the pairs of one person that are found at this threshold, of ordinary photos */
  found_share: number;
  /** the hits, the nearest first */
  hits: FaceHit[];
  /** faces of the set that another model has described: they must be enrolled again to be compared */
  other_model: number;
  /** searches a day that the threshold is made for */
  searches_day: number;
  /** the least similarity that is a hit, of photos of full size; smaller ones need more */
  threshold: number;
  /** faces of the set that could not be opened */
  unreadable: number;
}

/** What is wrong with one field of a request. */
export interface FieldProblem {
  /** the field, as in `lessons[2].title` */
  field: string;
  /** what is wrong with it */
  problem: string;
}

/** Something that a supervisor should look at. It invalidates nothing by itself. */
export interface Finding {
  /** what it rests on */
  clause: FindingClause;
  /** how often it was found */
  count: number;
  /** numbers, `thresholds`, and the `policy` that they are of, as of the newest time */
  evidence: Record<string, unknown>;
  /** what it says */
  explanation: FindingExplanation;
  /** when it was found first, ms since the Unix epoch, on the sessions' clock */
  first_at: number;
  /** identifier */
  id: string;
  /** what it is about */
  kind: string;
  /** when it was found last */
  last_at: number;
  /** learners concerned, at most 200 */
  learners: string[];
  /** platforms concerned */
  platforms: string[];
  /** sessions concerned, at most 200, the newest last */
  sessions: string[];
  /** `low`, `medium` or `high` */
  severity: string;
  /** `open`, `acknowledged`, `dismissed` or `confirmed` */
  state: string;
  /** about whom: with the code, what makes two findings the same */
  subject: string;
}

/** What the warnings rest on. */
export interface FindingClause {
  /** document and item */
  source: string;
  /** its words */
  text: string;
}

/** What a finding says: made from its code and its evidence. */
export interface FindingExplanation {
  /** what was found, as a word */
  code: string;
  /** in English */
  en: string;
  /** in Chinese */
  zh: string;
}

export type FindingWithHistory = Finding & {
  /** what was decided about it, oldest first */
  history: Decision[];
};

export type FirstStatus = "active" | "unregistered";

export type IssuedApiKey = ApiKeyRecord & {
  /** the key: it is shown this once */
  key: string;
};

export interface IssuedWebhook {
  /** checks signatures (Standard Webhooks, `whsec_…`): it is shown this once */
  secret: string;
  /** the address */
  url: string;
}

/** What whoever shows an API key, or signs in, may do. */
export type KeyRole = "operator" | "supervisor" | "auditor" | "platform" | "administrator" | "staff";

/** A learner, as one platform sees them. */
export interface Learner {
  /** when this platform first named the person, ms since the Unix epoch */
  created_at: number;
  /** this platform's own reference to the person */
  external_reference?: string | null;
  /** the random identifier, the same at every platform */
  id: string;
  /** version of the enrolment photo in force; 0 when there is none yet */
  photo_version: number;
}

/** A session in the ledger. */
export interface LedgerEntry {
  /** the learner's class within the project; empty: its only one */
  class: string;
  /** ms since the Unix epoch */
  closed_at: number;
  /** whether enough of the lesson has been watched, earlier sessions included */
  completed: boolean;
  /** what was newly watched in the time that it takes, ms */
  creditable_ms: number;
  /** the same in class hours, cut to two decimals */
  credited_hours: number;
  /** what counts, ms; under review: what would count */
  credited_ms: number;
  /** when this version was made, ms since the Unix epoch */
  decided_at: number;
  /** the platform's own reference to the learner */
  external_reference?: string | null;
  /** the learner's random identifier */
  learner: string;
  /** the lesson */
  lesson: string;
  /** its place in the project: 1, 2, 3 … */
  lesson_position: number;
  /** what it is called */
  lesson_title: string;
  /** SHA-256 of the sealed log */
  log_digest: string;
  makeup?: LedgerMakeup | null;
  /** ms since the Unix epoch */
  opened_at: number;
  /** the photos that were taken */
  photos: LedgerPhoto[];
  /** the platform */
  platform: string;
  /** what it is called */
  platform_name: string;
  /** the pack that the verdict was made by */
  policy: string;
  /** the project */
  project: string;
  /** what it is called */
  project_name: string;
  /** the project's region (GB/T 2260); empty when it was not said */
  region: string;
  /** who decided this version; null: the engine */
  reviewer?: string | null;
  /** the rules that were broken, each once */
  rules: string[];
  /** the session */
  session: string;
  /** `valid`, `review` or `invalid` */
  status: string;
  /** version of the verdict: the latest */
  version: number;
  /** how many violations there are */
  violations_total: number;
  /** watching time, ms */
  watch_ms: number;
  /** what was newly watched, ms of the lesson */
  watched_ms: number;
  /** when the learner's enrolment in the project was withdrawn, ms since the Unix epoch; null: it stands */
  withdrawn_at?: number | null;
}

/** The approval of a make-up lesson. */
export interface LedgerMakeup {
  /** identifier */
  id: string;
  /** the office that gave it */
  office: string;
  /** the approval's reference */
  reference: string;
}

/** A photo that was taken in the session. */
export interface LedgerPhoto {
  /** the capture that asked for it */
  capture: string;
  /** SHA-256 of the photo */
  digest: string;
}

/** Sums over some sessions of the ledger. */
export interface LedgerTotals {
  /** attendance (培训到课率): attended of due, cut to four decimals; null when nothing is due */
  attendance?: number | null;
  /** what was newly watched in the time that it takes, ms */
  creditable_ms: number;
  /** the same in class hours: the sum of what the verdicts say */
  credited_hours: number;
  /** what counts: that of valid sessions, ms */
  credited_ms: number;
  /** those that do not count */
  invalid: number;
  /** the learner, project, platform, region (`-`: not said), day (2026-03-01) or month (2026-03); empty: all together */
  key: string;
  /** those of them that a valid session has completed, make-ups included */
  lessons_attended?: number | null;
  /**
   * theory lessons of the projects, once for each learner whose enrolment stands; null by day and month, on which no
   * lesson is due
   */
  lessons_due?: number | null;
  /** what the project or platform is called */
  name?: string | null;
  /** the same in class hours */
  pending_hours: number;
  /** what would count, were all sessions under review found valid, ms */
  pending_ms: number;
  /** those that a person must decide */
  review: number;
  /** closed sessions */
  sessions: number;
  /** those that count */
  valid: number;
  /** what was newly watched, ms of the lessons */
  watched_ms: number;
  /** the same in class hours */
  withdrawn_hours: number;
  /** of what counts, that of learners whose enrolment in the project was withdrawn, ms */
  withdrawn_ms: number;
}

/** A lesson. Its questions are not shown: only how many there are. */
export interface Lesson {
  /** day of the approval, YYYY-MM-DD */
  approval_date?: string | null;
  /** number of the approval */
  approval_number?: string | null;
  /** the office that gave it */
  approval_office?: string | null;
  /** whether the office approved its content */
  content_approved: boolean;
  /** length of its video, ms */
  duration_ms: number;
  /** identifier */
  id: string;
  /** what it is */
  kind: LessonKind;
  /** 1, 2, 3 …: the order in which lessons are taken */
  position: number;
  /** how many questions there are for prompts */
  questions: number;
  /** what it is called */
  title: string;
}

/** What a lesson is. */
export type LessonKind = "theory" | "practice";

/** A part of a list, oldest first. */
export interface Listing_Access {
  /** the items */
  items: {
    /** identifier of the account or API key; empty: nobody who is known */
    account: string;
    /** ms since the Unix epoch */
    at: number;
    /** what else is to be said */
    detail: string;
    /** identifier */
    id: string;
    /** what it was */
    kind: AccessKind;
    /** the account's name at that time; empty for API keys */
    name: string;
    /** operator, supervisor, auditor, administrator, platform or staff; empty when nobody is known */
    role: string;
    /** the session, learner or list that it is about */
    subject: string;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Account {
  /** the items */
  items: {
    /** ms since the Unix epoch */
    created_at: number;
    /** when it was disabled, ms since the Unix epoch; null: it may sign in */
    disabled_at?: number | null;
    /** identifier: decisions are on record by it */
    id: string;
    /** by which its holder signs in */
    name: string;
    /** of staff: the platform where they work */
    platform?: string | null;
    /** of a supervisor: what the region of their projects begins with; empty: everywhere */
    region: string;
    /** what its holder may do */
    role: AccountRole;
    /** whether one-time codes are asked for */
    totp: boolean;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_ApiKeyRecord {
  /** the items */
  items: {
    /** ms since the Unix epoch */
    created_at: number;
    /** identifier, to revoke it by */
    id: string;
    /** what its owner calls it */
    label: string;
    /** ms since the Unix epoch; null while it is valid */
    revoked_at?: number | null;
    /** what it is good for */
    role: KeyRole;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Enrolment {
  /** the items */
  items: {
    /** the class (班) within the project; empty: its only one */
    class: string;
    /** ms since the Unix epoch; after a withdrawal, of the newest enrolment */
    created_at: number;
    /** identifier */
    id: string;
    /** the learner's random identifier */
    learner: string;
    /** online time credited in this project before it came to invigil, ms */
    prior_online_ms: number;
    /** the project */
    project: string;
    /** how often the learner was enrolled: 1, and one more for each time after a withdrawal */
    version: number;
    withdrawn?: EnrolmentWithdrawal | null;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_FaceSearchRecord {
  /** the items */
  items: {
    /** identifier of the API key that asked; null: the engine */
    asked_by?: string | null;
    /** ms since the Unix epoch */
    at: number;
    /** comparisons */
    compared: number;
    /** false hits that were to be expected, thousandths of a millionth */
    expected_nano: number;
    /** hits */
    hits: number;
    /** identifier */
    id: string;
    /** `class`, `platform`, `device`, `address` or `chosen` */
    kind: string;
    /** whose face; null: a photo that was given, or every face of the set */
    learner?: string | null;
    /** the set, as it was asked for */
    scope: string;
    /** the least similarity that was a hit, thousandths */
    threshold_milli: number;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Finding {
  /** the items */
  items: {
    /** what it rests on */
    clause: FindingClause;
    /** how often it was found */
    count: number;
    /** numbers, `thresholds`, and the `policy` that they are of, as of the newest time */
    evidence: Record<string, unknown>;
    /** what it says */
    explanation: FindingExplanation;
    /** when it was found first, ms since the Unix epoch, on the sessions' clock */
    first_at: number;
    /** identifier */
    id: string;
    /** what it is about */
    kind: string;
    /** when it was found last */
    last_at: number;
    /** learners concerned, at most 200 */
    learners: string[];
    /** platforms concerned */
    platforms: string[];
    /** sessions concerned, at most 200, the newest last */
    sessions: string[];
    /** `low`, `medium` or `high` */
    severity: string;
    /** `open`, `acknowledged`, `dismissed` or `confirmed` */
    state: string;
    /** about whom: with the code, what makes two findings the same */
    subject: string;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_LedgerEntry {
  /** the items */
  items: {
    /** the learner's class within the project; empty: its only one */
    class: string;
    /** ms since the Unix epoch */
    closed_at: number;
    /** whether enough of the lesson has been watched, earlier sessions included */
    completed: boolean;
    /** what was newly watched in the time that it takes, ms */
    creditable_ms: number;
    /** the same in class hours, cut to two decimals */
    credited_hours: number;
    /** what counts, ms; under review: what would count */
    credited_ms: number;
    /** when this version was made, ms since the Unix epoch */
    decided_at: number;
    /** the platform's own reference to the learner */
    external_reference?: string | null;
    /** the learner's random identifier */
    learner: string;
    /** the lesson */
    lesson: string;
    /** its place in the project: 1, 2, 3 … */
    lesson_position: number;
    /** what it is called */
    lesson_title: string;
    /** SHA-256 of the sealed log */
    log_digest: string;
    makeup?: LedgerMakeup | null;
    /** ms since the Unix epoch */
    opened_at: number;
    /** the photos that were taken */
    photos: LedgerPhoto[];
    /** the platform */
    platform: string;
    /** what it is called */
    platform_name: string;
    /** the pack that the verdict was made by */
    policy: string;
    /** the project */
    project: string;
    /** what it is called */
    project_name: string;
    /** the project's region (GB/T 2260); empty when it was not said */
    region: string;
    /** who decided this version; null: the engine */
    reviewer?: string | null;
    /** the rules that were broken, each once */
    rules: string[];
    /** the session */
    session: string;
    /** `valid`, `review` or `invalid` */
    status: string;
    /** version of the verdict: the latest */
    version: number;
    /** how many violations there are */
    violations_total: number;
    /** watching time, ms */
    watch_ms: number;
    /** what was newly watched, ms of the lesson */
    watched_ms: number;
    /** when the learner's enrolment in the project was withdrawn, ms since the Unix epoch; null: it stands */
    withdrawn_at?: number | null;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_LedgerTotals {
  /** the items */
  items: {
    /** attendance (培训到课率): attended of due, cut to four decimals; null when nothing is due */
    attendance?: number | null;
    /** what was newly watched in the time that it takes, ms */
    creditable_ms: number;
    /** the same in class hours: the sum of what the verdicts say */
    credited_hours: number;
    /** what counts: that of valid sessions, ms */
    credited_ms: number;
    /** those that do not count */
    invalid: number;
    /** the learner, project, platform, region (`-`: not said), day (2026-03-01) or month (2026-03); empty: all together */
    key: string;
    /** those of them that a valid session has completed, make-ups included */
    lessons_attended?: number | null;
    /**
     * theory lessons of the projects, once for each learner whose enrolment stands; null by day and month, on which no
     * lesson is due
     */
    lessons_due?: number | null;
    /** what the project or platform is called */
    name?: string | null;
    /** the same in class hours */
    pending_hours: number;
    /** what would count, were all sessions under review found valid, ms */
    pending_ms: number;
    /** those that a person must decide */
    review: number;
    /** closed sessions */
    sessions: number;
    /** those that count */
    valid: number;
    /** what was newly watched, ms of the lessons */
    watched_ms: number;
    /** the same in class hours */
    withdrawn_hours: number;
    /** of what counts, that of learners whose enrolment in the project was withdrawn, ms */
    withdrawn_ms: number;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Makeup {
  /** the items */
  items: {
    /** ms since the Unix epoch */
    created_at: number;
    /** identifier of the API key that entered it */
    created_by: string;
    /** the learner's enrolment in the project */
    enrolment: string;
    /** identifier */
    id: string;
    /** the lesson that is made up */
    lesson: string;
    /** the office that gave it */
    office: string;
    /** why the lesson was missed */
    reason: string;
    /** the approval's reference */
    reference: string;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_PersonAccess {
  /** the items */
  items: {
    /** ms since the Unix epoch */
    at: number;
    /** how much was shown */
    form: PersonForm;
    /** identifier */
    id: string;
    /** its role */
    role: KeyRole;
    /** identifier of the API key that they were shown to */
    shown_to: string;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Platform {
  /** the items */
  items: {
    /** the day of the violation, YYYY-MM-DD; null when the last decision was no ban */
    banned_from?: string | null;
    /** the day on which the ban ends by itself, YYYY-MM-DD; null when it was none */
    banned_until?: string | null;
    /** ms since the Unix epoch */
    created_at: number;
    /** identifier */
    id: string;
    /** what it is called */
    name: string;
    /** the status in force: a ban ends by itself */
    status: PlatformStatus;
    /** the document of that decision */
    status_document?: string | null;
    /** why it was decided last */
    status_reason?: string | null;
    /** why deliveries stopped; null while they have not. Setting the webhook again starts them again */
    webhook_disabled?: string | null;
    /** where its webhooks go; null when it has none */
    webhook_url?: string | null;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_PlatformDecision {
  /** the items */
  items: {
    /** of a ban: the day of the violation, YYYY-MM-DD */
    banned_from?: string | null;
    /** of a ban: the day on which it ends by itself, YYYY-MM-DD */
    banned_until?: string | null;
    /** ms since the Unix epoch */
    decided_at: number;
    /** identifier of the API key that decided; empty: not known */
    decided_by: string;
    /** the document that says so */
    document?: string | null;
    /** identifier */
    id: string;
    /** why */
    reason?: string | null;
    /** the status from then on */
    status: PlatformStatus;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_ProjectSummary {
  /** the items */
  items: (Plan & {
    /** the document of the last decision, whether it gave the approval or took it back */
    approval_document?: string | null;
    /** whether the office approved it */
    approved: boolean;
    /** when, ms since the Unix epoch */
    approved_at?: number | null;
    /** identifier of the API key that decided last */
    approved_by?: string | null;
    /** the day on which its learners were assessed, YYYY-MM-DD; null: not yet */
    assessed_on?: string | null;
    /** ms since the Unix epoch */
    created_at: number;
    /** how it is held */
    delivery: Delivery;
    /** identifier */
    id: string;
    /** what it is called */
    name: string;
    /** the platform that holds it */
    platform: string;
    /** identifier of the policy pack that judges its sessions */
    policy: string;
    /** class hours of the whole project, online and offline */
    total_hours: number;
  })[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

/** A part of a list, oldest first. */
export interface Listing_Session {
  /** the items */
  items: {
    /** ms since the Unix epoch; null while it is open */
    closed_at?: number | null;
    /** identifier */
    id: string;
    /** the learner */
    learner: string;
    /** the lesson */
    lesson: string;
    /** ms since the Unix epoch */
    opened_at: number;
    /** the platform that opened it */
    platform: string;
    /** the project */
    project: string;
    /** whether it is still open */
    state: SessionState;
    /** `valid`, `invalid` or `review`; null while it is open */
    verdict_status?: string | null;
  }[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
}

export interface Login {
  /** a one-time code, where the account asks for one */
  code?: string | null;
  /** the account's name */
  name: string;
  /** its password */
  password: string;
}

/** An approval to make a lesson up. */
export interface Makeup {
  /** ms since the Unix epoch */
  created_at: number;
  /** identifier of the API key that entered it */
  created_by: string;
  /** the learner's enrolment in the project */
  enrolment: string;
  /** identifier */
  id: string;
  /** the lesson that is made up */
  lesson: string;
  /** the office that gave it */
  office: string;
  /** why the lesson was missed */
  reason: string;
  /** the approval's reference */
  reference: string;
}

export interface MaskedLearner {
  /** identifier */
  id: string;
  /** enough of the name to be known by whoever knows them; null: it was never given, or the learner is forgotten */
  masked?: string | null;
}

/** A name with what it names. */
export interface Named {
  /** identifier */
  id: string;
  /** what it is called */
  name: string;
}

export interface NamedPerson {
  /** the platform's own reference to the person, at most 200 characters; replaces an earlier one */
  external_reference?: string | null;
  /** the citizen identification number (GB 11643): it is kept sealed, and shown to supervisors alone */
  id_number: string;
  /**
   * the person's name, at most 200 characters: kept and shown likewise. Who has been given a name cannot be given
   * another by a platform
   */
  name?: string | null;
}

export interface NamedProject {
  /** identifier */
  id: string;
  /** what it is called */
  name: string;
  /** GB/T 2260 code; empty: it does not say */
  region: string;
}

export interface NewAccount {
  /** by which its holder signs in, at most 60 characters */
  name: string;
  /** the first password, 12 to 200 characters */
  password: string;
  /** of staff, and nobody else: the platform where they work */
  platform?: string | null;
  /** of a supervisor, and nobody else: what the region of their projects begins with; empty: everywhere */
  region?: string | null;
  /** what its holder may do */
  role: AccountRole;
}

export interface NewApiKey {
  /** what its owner calls it, at most 200 characters */
  label: string;
}

export interface NewEnrolment {
  /** the class (班) within the project, at most 50 characters; its only one unless given */
  class?: string | null;
  /** the learner's id */
  learner: string;
  /** online time credited in this project before it came here, ms; 0 unless given */
  prior_online_ms?: number | null;
}

export interface NewFaceSearch {
  /**
   * whose enrolled face is looked for; with neither this nor `photo` all faces of the set are compared with each other,
   * at most 2 000
   */
  learner?: string | null;
  /** a photo of the face that is looked for: JPEG, PNG or WebP in base64 */
  photo?: string | null;
  /**
   * the set: `class:PROJECT`, `class:PROJECT/NAME`, `platform:ID`, `device:DIGEST`, `address:DIGEST` or
   * `learners:ID,ID,…` (at most 1 000)
   */
  scope: string;
}

export interface NewLesson {
  /** length of its video, ms: a second to a day */
  duration_ms: number;
  /** what it is */
  kind: LessonKind;
  /** at most 100 questions for prompts */
  questions?: NewQuestion[];
  /** what it is called, at most 200 characters */
  title: string;
}

export interface NewMakeup {
  /** the learner's enrolment in the project */
  enrolment: string;
  /** the lesson that is made up */
  lesson: string;
  /** the office that gave it, at most 200 characters */
  office: string;
  /** why the lesson was missed, at most 1000 characters */
  reason: string;
  /** the approval's reference, at most 200 characters */
  reference: string;
}

export interface NewOfficeKey {
  /** whose it is, at most 200 characters: decisions are on record by the key */
  label: string;
  /** what it is good for */
  role: OfficeRole;
}

export interface NewPlatform {
  /** what it is called, at most 200 characters */
  name: string;
  status?: FirstStatus | null;
}

export interface NewProject {
  /** benches (工位) of each class */
  benches?: number | null;
  certificate?: Certificate | null;
  /** length of a class hour, ms */
  class_hour_ms?: number | null;
  /** learners of each class; as many as the policy pack allows unless given */
  class_size?: number | null;
  /** how it is held */
  delivery: Delivery;
  /** 1 to 500 lessons, in the order in which they are taken */
  lessons: NewLesson[];
  /** level, 1 (senior technician) to 5 (beginner); 0, and unless given: none */
  level?: number | null;
  /** what it is called, at most 200 characters */
  name: string;
  /** occupation (职业/工种), at most 200 characters: its code, or its name as the catalogue has it */
  occupation?: string | null;
  /** class hours of `total_hours` that are held online */
  online_hours?: number | null;
  /** the policy pack that judges its sessions; the installation's default unless given */
  policy?: string | null;
  /** class hours of `total_hours` that are practice */
  practice_hours?: number | null;
  /** GB/T 2260 code of its county, city or province: 6 digits */
  region?: string | null;
  /** whether it is paid for by the state; true unless given */
  subsidised?: boolean | null;
  /** teachers of each class */
  teachers?: number | null;
  /** class hours of the whole project, online and offline: 1 to 10000 */
  total_hours: number;
}

export interface NewQuestion {
  /** four different answers, at most 200 characters each */
  options: string[];
  /** which of them is right, 0 to 3; it is never shown again */
  right: number;
  /** the question, at most 500 characters */
  text: string;
}

export interface NewSession {
  /** the learner, who is enrolled in the project and has an enrolment photo */
  learner: string;
  /** the lesson */
  lesson: string;
  /** the make-up (补课) under which it is held: one of this learner, project and lesson */
  makeup?: string | null;
  /** the project; may be left out, because a lesson belongs to one */
  project?: string | null;
}

export interface NewState {
  /** why, at most 1 000 characters */
  note?: string | null;
  /** `open`, `acknowledged`, `dismissed` or `confirmed` */
  state: string;
}

export interface NewWebhook {
  /** where verdicts are delivered: an https address */
  url: string;
}

export type OfficeRole = "supervisor" | "auditor";

export interface OpenAppeal {
  /** when it came, ms since the Unix epoch */
  at: number;
}

export type OpenedStream = StreamAccess & {
  /** how far into the lesson the learner may jump at once, ms of media */
  furthest_before_ms: number;
  /** online time that can still be credited in this project, ms; null when nothing limits it */
  online_left_ms?: number | null;
  /** the session */
  session: string;
};

export interface Origins {
  /** scheme and host of the platform's pages, as browsers send them: `https://learn.example`, at most 20 */
  origins: string[];
}

export interface PasswordAgain {
  /** the account's password */
  password: string;
}

export interface PasswordChange {
  /** the password from now on, 12 to 200 characters */
  new: string;
  /** the password so far */
  old: string;
}

export interface PendingTotp {
  /** to be typed into an authenticator app: it is shown this once */
  secret: string;
  /** the same, for apps that read it from a picture */
  uri: string;
}

/** That a person's name and number were shown. */
export interface PersonAccess {
  /** ms since the Unix epoch */
  at: number;
  /** how much was shown */
  form: PersonForm;
  /** identifier */
  id: string;
  /** its role */
  role: KeyRole;
  /** identifier of the API key that they were shown to */
  shown_to: string;
}

export interface PersonCorrection {
  /** the right name, at most 200 characters */
  name: string;
}

/** How much of a person is shown. */
export type PersonForm = "full" | "masked";

export interface PhotoInForce {
  /** the learner */
  id: string;
  /** version of the photo now in force */
  photo_version: number;
}

/** What a project's application says; null: it does not say. */
export interface Plan {
  /** benches (工位) of each class */
  benches?: number | null;
  /** the certificate at its end */
  certificate: Certificate;
  /** length of a class hour, ms */
  class_hour_ms?: number | null;
  /** learners of each class; null: as many as the policy pack allows */
  class_size?: number | null;
  /** level, 1 (senior technician) to 5 (beginner); 0: none */
  level: number;
  /** occupation (职业/工种) */
  occupation?: string | null;
  /** class hours that are held online */
  online_hours?: number | null;
  /** class hours of practice */
  practice_hours?: number | null;
  /** GB/T 2260 code of its county, city or province */
  region?: string | null;
  /** whether it is paid for by the state */
  subsidised: boolean;
  /** teachers of each class */
  teachers?: number | null;
}

/** A training platform. */
export interface Platform {
  /** the day of the violation, YYYY-MM-DD; null when the last decision was no ban */
  banned_from?: string | null;
  /** the day on which the ban ends by itself, YYYY-MM-DD; null when it was none */
  banned_until?: string | null;
  /** ms since the Unix epoch */
  created_at: number;
  /** identifier */
  id: string;
  /** what it is called */
  name: string;
  /** the status in force: a ban ends by itself */
  status: PlatformStatus;
  /** the document of that decision */
  status_document?: string | null;
  /** why it was decided last */
  status_reason?: string | null;
  /** why deliveries stopped; null while they have not. Setting the webhook again starts them again */
  webhook_disabled?: string | null;
  /** where its webhooks go; null when it has none */
  webhook_url?: string | null;
}

/** What was decided about a platform's status. */
export interface PlatformDecision {
  /** of a ban: the day of the violation, YYYY-MM-DD */
  banned_from?: string | null;
  /** of a ban: the day on which it ends by itself, YYYY-MM-DD */
  banned_until?: string | null;
  /** ms since the Unix epoch */
  decided_at: number;
  /** identifier of the API key that decided; empty: not known */
  decided_by: string;
  /** the document that says so */
  document?: string | null;
  /** identifier */
  id: string;
  /** why */
  reason?: string | null;
  /** the status from then on */
  status: PlatformStatus;
}

export interface PlatformName {
  /** what it is called, at most 200 characters */
  name: string;
}

/** Whether a platform may hold subsidised training. */
export type PlatformStatus = "active" | "suspended" | "unregistered" | "banned";

/** A policy pack. */
export interface PolicyPack {
  /** number of its document */
  document: string;
  /** the first day on which sessions are judged by it, YYYY-MM-DD */
  effective_from?: string | null;
  /** the last such day */
  effective_until?: string | null;
  /** identifier: projects choose by it */
  id: string;
  /** whether that is so today */
  in_force: boolean;
  /** what logs and verdicts call it */
  label: string;
  /** title of its document; empty when it is no document's */
  title: string;
  /** version; empty when it has none */
  version: string;
}

/** Why a request was refused. Nothing was changed, unless the detail says so. */
export type Problem = BrokenRules & {
  /** when it was deleted, ms since the Unix epoch */
  deleted_at?: number | null;
  /** what it is about this time */
  detail: string;
  /** the fields that are wrong */
  errors?: FieldProblem[];
  /** when to try again, ms from now */
  retry_after_ms?: number | null;
  /** the status of the answer */
  status: number;
  /** the same, in words */
  title: string;
  /** which problem it is: `urn:invigil:problem:` and a name that does not change */
  type: string;
};

export type Project = ProjectSummary & {
  /** in the order in which they are taken */
  lessons: Lesson[];
};

export interface ProjectApproval {
  /** false takes an approval back */
  approved: boolean;
  /** the document that says so, at most 200 characters; an approval needs one */
  document?: string | null;
}

/** A project without its lessons. */
export type ProjectSummary = Plan & {
  /** the document of the last decision, whether it gave the approval or took it back */
  approval_document?: string | null;
  /** whether the office approved it */
  approved: boolean;
  /** when, ms since the Unix epoch */
  approved_at?: number | null;
  /** identifier of the API key that decided last */
  approved_by?: string | null;
  /** the day on which its learners were assessed, YYYY-MM-DD; null: not yet */
  assessed_on?: string | null;
  /** ms since the Unix epoch */
  created_at: number;
  /** how it is held */
  delivery: Delivery;
  /** identifier */
  id: string;
  /** what it is called */
  name: string;
  /** the platform that holds it */
  platform: string;
  /** identifier of the policy pack that judges its sessions */
  policy: string;
  /** class hours of the whole project, online and offline */
  total_hours: number;
};

export interface Proposal {
  by: DecidedBy;
  /** what is proposed */
  decision: string;
}

/** How many sessions wait. */
export interface QueueCounts {
  /** with an appeal that is open */
  appeals: number;
  /** decided */
  decided: number;
  /** in progress */
  live: number;
  /** of review and appeals, past their due time */
  overdue: number;
  /** under review */
  review: number;
}

/** A session that waits for a person, or was decided. */
export interface QueueItem {
  appeal?: OpenAppeal | null;
  /** ms since the Unix epoch */
  closed_at?: number | null;
  /** by when it should be decided, ms since the Unix epoch; null once it is decided */
  due_at?: number | null;
  learner: MaskedLearner;
  lesson: TitledLesson;
  /** ms since the Unix epoch */
  opened_at: number;
  /** whether that is past */
  overdue: boolean;
  platform: Named;
  project: NamedProject;
  proposed?: Proposal | null;
  /** what was broken, in the order of the first violations */
  rules: BrokenRule[];
  /** the session */
  session: string;
  /** how much it weighs */
  severity: Severity;
  /** of the newest verdict */
  status: string;
  /** which list it is in */
  tab: QueueTab;
  /** the newest version of the verdict */
  verdict_version: number;
}

export interface QueuePage {
  /** by due time, then weight, then age */
  items: QueueItem[];
  /** give this as `after` for what follows; null when nothing does */
  next?: string | null;
  /** how many there are in all */
  total: number;
}

/** A list of sessions that people look after. */
export type QueueTab = "review" | "appeals" | "decided";

/** Something that was or is to be reported. */
export interface ReportItem {
  /** number of the batch that it is in, or was in last */
  batch?: string | null;
  /** when it happened, ms since the Unix epoch */
  created_at: number;
  /** when it was acknowledged or refused, ms since the Unix epoch */
  finished_at?: number | null;
  /** identifier: 1, 2, 3 …, in the order of happening */
  id: number;
  /** what it is */
  kind: ReportKind;
  /** why it was refused */
  reason?: string | null;
  /** where it stands */
  state: ReportState;
  /** the enrolment, the withdrawal, or the session */
  subject: string;
  /** version of the enrolment or verdict; 1 for a withdrawal */
  version: number;
}

/** What is reported. */
export type ReportKind = "enrolment" | "withdrawal" | "verdict";

/** Where an item stands. */
export type ReportState = "pending" | "acknowledged" | "refused";

/** The state of the reports. */
export interface ReportSummary {
  /** items that the receiver has */
  acknowledged: number;
  batch?: BatchSummary | null;
  /** items that wait */
  pending: number;
  /** items that were refused */
  refused: number;
  /** since when things are queued, ms since the Unix epoch; null while reporting is off */
  since?: number | null;
}

export interface Reports {
  /** items, oldest first */
  items: ReportItem[];
  /** give this as `after` for what follows; null when nothing does */
  next?: number | null;
  /** how the reports stand */
  summary: ReportSummary;
}

export type RequestedReason = "left" | "revoked";

export interface Session {
  /** ms since the Unix epoch; null while it is open */
  closed_at?: number | null;
  /** identifier */
  id: string;
  /** the learner */
  learner: string;
  /** the lesson */
  lesson: string;
  /** ms since the Unix epoch */
  opened_at: number;
  /** the platform that opened it */
  platform: string;
  /** the project */
  project: string;
  /** whether it is still open */
  state: SessionState;
  /** `valid`, `invalid` or `review`; null while it is open */
  verdict_status?: string | null;
}

/** A decision about a session. */
export interface SessionDecision {
  /** ms since the Unix epoch */
  at: number;
  by: DecidedBy;
  /** the proposal that it confirms */
  confirms?: string | null;
  /** `uphold`, `overturn` or `need_more` */
  decision: string;
  /** identifier */
  id: string;
  /** the version of the verdict that it made */
  made_version?: number | null;
  /** what else was said; null for platforms, and once the learner is forgotten */
  note?: string | null;
  /** why, by its code */
  reason: string;
  /** the session */
  session: string;
  /** whether it stands */
  state: DecisionState;
  /** the version of the verdict that was decided about */
  version: number;
}

export type SessionState = "open" | "closed";

/** How much something weighs, as a number in the records: what weighs most comes first. */
export type Severity = "high" | "medium" | "low";

export interface ShownPerson {
  /** how much is shown: all to the operator and to supervisors */
  form: PersonForm;
  /** the ID number */
  id_number: string;
  /** the learner */
  learner: string;
  /** the name; null when no platform has given it */
  name?: string | null;
}

export interface StatusDecision {
  /** number or name of the document that says so, at most 200 characters; a ban needs one */
  document?: string | null;
  /** why, at most 1000 characters */
  reason: string;
  /** the status from now on: later sessions are judged by it */
  status: PlatformStatus;
  /** of a ban, and of nothing else: the day of the violation, YYYY-MM-DD. The ban counts from there, and ends by itself */
  violation_on?: string | null;
}

export interface StreamAccess {
  /** the WebSocket subprotocol */
  subprotocol: string;
  /** for the learner's page, and only for this session; it is shown this once */
  token: string;
  /** ms since the Unix epoch; the stream renews it while it is connected */
  token_expires_at: number;
  /** where the learner's page streams */
  url: string;
}

export interface TitledLesson {
  /** identifier */
  id: string;
  /** what it is called */
  title: string;
}

export interface TotpCode {
  /** the six digits that the app shows */
  code: string;
}

export interface WantedAppeal {
  /** at most 3 */
  attachments?: WantedAttachment[];
  /** what the learner has to say, 1 to 4000 characters */
  statement: string;
}

export interface WantedAttachment {
  /** at most 1 MiB, in base 64 */
  data: string;
  /** name of the file, at most 120 characters */
  name: string;
  /** `image/jpeg`, `image/png` or `application/pdf` */
  type: string;
}

export interface WantedDecision {
  /** `uphold`, `overturn` or `need_more` */
  decision: string;
  /** what else is to be said, at most 1000 characters; for the office alone */
  note?: string;
  /** one of the codes of `GET /decision-reasons` */
  reason: string;
  /** the version of the verdict that was looked at */
  verdict_version: number;
}

export interface Withdrawing {
  /** the office's document, at most 200 characters */
  document?: string | null;
  /** why, at most 1000 characters */
  reason: string;
}

/** The server refused: its problem says why, and which field is wrong. */
export class Refusal extends Error {
  readonly status: number;
  readonly problem: Problem;
}

/** One function for each operation. */
export interface Client {
  /** Allows a learner to make a lesson up, before the final assessment (operator, supervisor) */
  allowMakeup(given: {
    /** the project */
    id: string;
    body: NewMakeup;
  }): Promise<Makeup>;

  /** Takes a photo of the learner now (operator, supervisor) */
  askCapture(given: {
    /** the session */
    id: string;
  }): Promise<void>;

  /** Shows the learner a prompt now (operator, supervisor) */
  askPrompt(given: {
    /** the session */
    id: string;
  }): Promise<void>;

  /** Makes a secret for one-time codes, in force once a code of it was shown (accounts) */
  beginTotp(): Promise<PendingTotp>;

  /** Disables an account, which signs it out at once, or lets it sign in again (operator, administrator) */
  changeAccount(given: {
    /** the account */
    id: string;
    body: AccountChange;
  }): Promise<Account>;

  /** Changes the password; every other browser is signed out (accounts) */
  changePassword(given: {
    body: PasswordChange;
  }): Promise<void>;

  /** Takes the webhook away; what was not delivered yet is not */
  clearWebhook(): Promise<void>;

  /** Closes a session; its verdict is on record when this answers (not auditors) */
  closeSession(given: {
    /** the session */
    id: string;
    body: Closing;
  }): Promise<Session>;

  /** Has one-time codes asked for from now on (accounts) */
  confirmTotp(given: {
    body: TotpCode;
  }): Promise<void>;

  /** Corrects a learner's name (operator, supervisor) */
  correctPerson(given: {
    /** the learner */
    id: string;
    body: PersonCorrection;
  }): Promise<void>;

  /** How many sessions wait */
  countQueue(): Promise<QueueCounts>;

  /** Makes an account (operator, administrator) */
  createAccount(given: {
    body: NewAccount;
  }): Promise<Account>;

  /** Gives a platform a key, which is shown this once (operator) */
  createApiKey(given: {
    /** the platform */
    id: string;
    body: NewApiKey;
  }): Promise<IssuedApiKey>;

  /** Gives a supervisor or an auditor a key, which is shown this once (operator) */
  createOfficeKey(given: {
    body: NewOfficeKey;
  }): Promise<IssuedApiKey>;

  /** Adds a platform (operator) */
  createPlatform(given: {
    body: NewPlatform;
  }): Promise<Platform>;

  /** Makes a project; it awaits the office's approval */
  createProject(given: {
    body: NewProject;
  }): Promise<Project>;

  /** Says what was made of a warning (operator, supervisor) */
  decideFinding(given: {
    /** the finding */
    id: string;
    body: NewState;
  }): Promise<FindingWithHistory>;

  /** Approves a lesson's content, or takes the approval back (operator, supervisor) */
  decideLesson(given: {
    /** the lesson */
    id: string;
    body: ContentApproval;
  }): Promise<void>;

  /** Decides a platform's status (operator, supervisor) */
  decidePlatformStatus(given: {
    /** the platform */
    id: string;
    body: StatusDecision;
  }): Promise<Platform>;

  /** Approves a project's plan, or takes the approval back (operator, supervisor) */
  decideProject(given: {
    /** the project */
    id: string;
    body: ProjectApproval;
  }): Promise<void>;

  /** Decides about a closed session (operator, supervisor) */
  decideSession(given: {
    /** the session */
    id: string;
    body: WantedDecision;
  }): Promise<SessionDecision>;

  /** Has no more one-time codes asked for (accounts) */
  endTotp(given: {
    body: PasswordAgain;
  }): Promise<void>;

  /** Enrols a learner in an approved project */
  enrolLearner(given: {
    /** the project */
    id: string;
    body: NewEnrolment;
  }): Promise<Enrolment>;

  /** Forgets a learner for good */
  forgetLearner(given: {
    /** the learner */
    id: string;
  }): Promise<void>;

  /** A further token for an open session: when a page is loaded again after its token expired */
  issueToken(given: {
    /** the session */
    id: string;
  }): Promise<StreamAccess>;

  /** The ledger as a sheet for Excel and WPS, with its sums beneath */
  ledgerSheet(given?: {
    /** sessions of this learner */
    learner?: string;
    /** sessions of this project */
    project?: string;
    /** sessions of this platform */
    platform?: string;
    /** sessions of projects whose region begins with these digits (GB/T 2260) */
    region?: string;
    /** opened on this day in China or later, as in 2026-03-01 */
    from?: string;
    /** opened on this day in China or before */
    to?: string;
    /** sessions whose latest verdict is this */
    status?: "valid" | "review" | "invalid";
  }): Promise<string>;

  /** All accounts (operator, administrator) */
  listAccounts(given?: {
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Account>;

  /** A platform's keys, without the keys themselves (operator) */
  listApiKeys(given: {
    /** the platform */
    id: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_ApiKeyRecord>;

  /** The reasons that decisions are given */
  listDecisionReasons(): Promise<DecisionReason[]>;

  /** The enrolments of a project */
  listEnrolments(given: {
    /** the project */
    id: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Enrolment>;

  /** The searches that were asked for, and by whom (office) */
  listFaceSearches(given?: {
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_FaceSearchRecord>;

  /** Warnings for supervisors (office) */
  listFindings(given?: {
    /**
     * `shared_device`, `shared_address`, `answer_times`, `heartbeat_times`, `starts_in_step`, `two_places`,
     * `platform_rate` or `shared_face`
     */
    kind?: string;
    /** `low`, `medium` or `high` */
    severity?: string;
    /** `open`, `acknowledged`, `dismissed` or `confirmed` */
    state?: string;
    /** those that concern this platform */
    platform?: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Finding>;

  /** The ledger: every closed session with its latest verdict and its evidence, in the order of opening */
  listLedger(given?: {
    /** sessions of this learner */
    learner?: string;
    /** sessions of this project */
    project?: string;
    /** sessions of this platform */
    platform?: string;
    /** sessions of projects whose region begins with these digits (GB/T 2260) */
    region?: string;
    /** opened on this day in China or later, as in 2026-03-01 */
    from?: string;
    /** opened on this day in China or before */
    to?: string;
    /** sessions whose latest verdict is this */
    status?: "valid" | "review" | "invalid";
    /** the session after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_LedgerEntry>;

  /** Sessions in progress, the worst first; of more than 200 that exist for whoever asks, the newest */
  listLive(): Promise<Record<string, unknown>>;

  /** The make-ups of a project */
  listMakeups(given: {
    /** the project */
    id: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Makeup>;

  /** The keys of supervisors and auditors, without the keys themselves (operator) */
  listOfficeKeys(given?: {
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_ApiKeyRecord>;

  /** To whom a learner's name and number were shown (office) */
  listPersonAccesses(given: {
    /** the learner */
    id: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_PersonAccess>;

  /** What was ever decided about a platform's status: for the office, and the platform itself */
  listPlatformDecisions(given: {
    /** the platform */
    id: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_PlatformDecision>;

  /** All platforms (office) */
  listPlatforms(given?: {
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Platform>;

  /** The packs that are known here */
  listPolicies(): Promise<PolicyPack[]>;

  /** The platform's projects; for the office, all */
  listProjects(given?: {
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_ProjectSummary>;

  /** Sessions that wait for a person, or were decided */
  listQueue(given?: {
    /** which list; `review` unless given */
    tab?: QueueTab;
    /** sessions of this platform */
    platform?: string;
    /** sessions of this project */
    project?: string;
    /** sessions of this learner */
    learner?: string;
    /** sessions in which this rule was broken */
    rule?: string;
    /** sessions of this weight */
    severity?: Severity;
    /** where the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<QueuePage>;

  /** What was, and is to be, reported to the provincial platform */
  listReports(given?: {
    /** items in this state */
    state?: ReportState;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: number;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Reports>;

  /** The platform's sessions; for the office, all */
  listSessions(given?: {
    /** those of this project */
    project?: string;
    /** those of this learner */
    learner?: string;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Session>;

  /** Signs in: the answer sets the console's cookie (anybody) */
  logIn(given: {
    body: Login;
  }): Promise<Account>;

  /** Signs out (accounts) */
  logOut(): Promise<void>;

  /** Appeals (by a link); 409 while an earlier appeal is open */
  makeAppeal(given: {
    body: WantedAppeal;
  }): Promise<Appeal>;

  /** A link by which the learner of a closed session sees what was recorded, and may appeal */
  makeAppealLink(given: {
    /** the session */
    id: string;
  }): Promise<AppealLink>;

  /** Names a person; the same person has the same id at every platform */
  nameLearner(given: {
    body: NamedPerson;
  }): Promise<Learner>;

  /** Opens a session; an older open one of this learner and project is closed as superseded */
  openSession(given: {
    body: NewSession;
  }): Promise<OpenedStream>;

  /** Gives a learner's enrolment photo, or replaces it by one of the same face */
  putPhoto(given: {
    /** the learner */
    id: string;
    body?: Blob;
  }): Promise<PhotoInForce>;

  /** The same as a sheet for Excel and WPS, at most 20 000 rows; the export is on record */
  queueSheet(given?: {
    /** which list; `review` unless given */
    tab?: QueueTab;
    /** sessions of this platform */
    platform?: string;
    /** sessions of this project */
    project?: string;
    /** sessions of this learner */
    learner?: string;
    /** sessions in which this rule was broken */
    rule?: string;
    /** sessions of this weight */
    severity?: Severity;
    /** where the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<string>;

  /** Who was shown what, exported and decided, newest first (operator, auditor, administrator) */
  readAccessLog(given?: {
    /** those of this account or API key */
    account?: string;
    /** those of this kind */
    kind?: AccessKind;
    /** the identifier after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_Access>;

  /** What was recorded, for its learner (by a link) */
  readAppeal(): Promise<Record<string, unknown>>;

  /** An attachment of an appeal (office, staff) */
  readAppealAttachment(given: {
    /** the session */
    id: string;
    /** the appeal */
    appeal: string;
    /** the attachment */
    attachment: string;
  }): Promise<string>;

  /** A photo of the learner's own (by a link) */
  readAppealFrame(given: {
    /** the capture */
    capture: string;
    /** which photo of it, from 0 */
    index: number;
  }): Promise<string>;

  /** Log, verdicts, decisions, appeals and photos' digests of a session, as one file; on record (office, staff) */
  readBundle(given: {
    /** the session */
    id: string;
  }): Promise<Record<string, unknown>>;

  /** Everything about a session that a decision rests on; for platforms without notes and warnings */
  readDossier(given: {
    /** the session */
    id: string;
  }): Promise<Record<string, unknown>>;

  /** A learner's enrolment photo in force (office) */
  readEnrolledPhoto(given: {
    /** the learner */
    id: string;
  }): Promise<string>;

  /** A warning, with what was decided about it (office) */
  readFinding(given: {
    /** the finding */
    id: string;
  }): Promise<FindingWithHistory>;

  /** A photo of a capture, by its place in the burst from 0 (office, staff) */
  readFrame(given: {
    /** the session */
    id: string;
    /** the capture */
    capture: string;
    /** which photo of it, from 0 */
    index: number;
  }): Promise<string>;

  /** A learner whom this platform has named */
  readLearner(given: {
    /** the learner */
    id: string;
  }): Promise<Learner>;

  /** A learner: enrolments with their hours, sessions, photos, consent; for the office warnings too */
  readLearnerOverview(given: {
    /** the learner */
    id: string;
  }): Promise<Record<string, unknown>>;

  /** The log of a session as it stands: JSON Lines, byte for byte */
  readLog(given: {
    /** the session */
    id: string;
  }): Promise<string>;

  /** The web origins whose pages may stream for the platform */
  readOrigins(): Promise<Origins>;

  /** Who is signed in (accounts) */
  readOwnAccount(): Promise<Account>;

  /** The platform itself */
  readOwnPlatform(): Promise<Platform>;

  /** Who a learner is: whole for the operator and supervisors, masked for others; each showing is on record */
  readPerson(given: {
    /** the learner */
    id: string;
  }): Promise<ShownPerson>;

  /** A platform (office) */
  readPlatform(given: {
    /** the platform */
    id: string;
  }): Promise<Platform>;

  /** A platform's sessions by day, what was broken, and why faces failed */
  readPlatformFigures(given: {
    /** the platform */
    id: string;
    /** opened on this day in China or later, as in 2026-03-01 */
    from: string;
    /** opened on this day in China or before; at most 92 days in all */
    to: string;
  }): Promise<Record<string, unknown>>;

  /** A pack as it is written, by its label; also one that is known by its sessions alone */
  readPolicy(given: {
    /** what logs and verdicts call it */
    label: string;
  }): Promise<string>;

  /** A project with its lessons */
  readProject(given: {
    /** the project */
    id: string;
  }): Promise<Project>;

  /** A session */
  readSession(given: {
    /** the session */
    id: string;
  }): Promise<Session>;

  /** The verdict of a closed session, byte for byte as it was stored */
  readVerdict(given: {
    /** the session */
    id: string;
  }): Promise<Record<string, unknown>>;

  /** Gives a platform another name (operator) */
  renamePlatform(given: {
    /** the platform */
    id: string;
    body: PlatformName;
  }): Promise<Platform>;

  /** Reports an item again; one that is pending at once, with the batch that it is in */
  resendReport(given: {
    /** the item */
    id: number;
  }): Promise<ReportItem>;

  /** Revokes a platform's key, at once (operator) */
  revokeApiKey(given: {
    /** the platform */
    id: string;
    /** the key's id */
    key: string;
  }): Promise<void>;

  /** Revokes a supervisor's or an auditor's key, at once (operator) */
  revokeOfficeKey(given: {
    /** the key's id */
    id: string;
  }): Promise<void>;

  /** Searches the enrolled faces of a set (operator, supervisor) */
  searchFaces(given: {
    body: NewFaceSearch;
  }): Promise<FaceSearch>;

  /** Sets the day on which a project's learners were assessed (operator, supervisor) */
  setAssessment(given: {
    /** the project */
    id: string;
    body: Assessment;
  }): Promise<void>;

  /** Sets the web origins whose pages may stream for the platform; a browser's page of any other is refused */
  setOrigins(given: {
    body: Origins;
  }): Promise<Origins>;

  /** Sets where webhooks go; answers with a new secret, which is shown this once */
  setWebhook(given: {
    body: NewWebhook;
  }): Promise<IssuedWebhook>;

  /** Sums over the ledger: sessions, hours and attendance */
  sumLedger(given?: {
    /** what sums are taken by; nothing: one sum of all */
    by?: "learner" | "project" | "platform" | "region" | "day" | "month";
    /** sessions of this learner */
    learner?: string;
    /** sessions of this project */
    project?: string;
    /** sessions of this platform */
    platform?: string;
    /** sessions of projects whose region begins with these digits (GB/T 2260) */
    region?: string;
    /** opened on this day in China or later, as in 2026-03-01 */
    from?: string;
    /** opened on this day in China or before */
    to?: string;
    /** sessions whose latest verdict is this */
    status?: "valid" | "review" | "invalid";
    /** the key after which the list goes on: `next` of the page before */
    after?: string;
    /** items wanted, 1 to 200 */
    limit?: number;
  }): Promise<Listing_LedgerTotals>;

  /** Forgets an account's failures to sign in, so that it may try at once (operator, administrator) */
  unlockAccount(given: {
    /** the account */
    id: string;
  }): Promise<void>;

  /** Server-sent events: `queue` when a session comes into a list, `live` when one in progress has changed */
  watchEvents(given?: {
    /**
     * what has changed in the queue since then is told first, ms since the Unix epoch; browsers that come again say it by
     * `Last-Event-ID`
     */
    since?: string;
  }): Promise<string>;

  /** Withdraws an enrolment (platform: before the learner's first session; operator, supervisor: while none is open) */
  withdrawEnrolment(given: {
    /** the enrolment */
    id: string;
    body: Withdrawing;
  }): Promise<Enrolment>;
}

/** A client of the server at `url` with an API key. Each of its functions throws `Refusal` when the server refuses. */
export function createClient(options: { url: string; key: string; fetch?: typeof fetch }): Client;
