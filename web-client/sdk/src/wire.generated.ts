// Written by web-client/scripts/types.mjs from docs/protocol.schema.json. Change that, not this.

/** A photo is wanted. */
export interface Capture {
  /** longest submission */
  bytes_limit: number;
  /** its id */
  capture: string;
  challenge?: Movement | null;
  /** time left to commit to their digest */
  commit_within_ms: number;
  /** digest that was committed to and acknowledged already: only the bytes are still wanted */
  committed: string | null;
  /** time between two of them */
  frame_every_ms?: number;
  /** how many photos are wanted */
  frames?: number;
  /** base64url of 16 random bytes */
  nonce: string;
  /** largest photo */
  pixels_limit: number;
  /** `start`, `random`, `recheck`, `challenge` or `supervisor` */
  reason: string;
  /** time to send them once the commitment is acknowledged */
  send_within_ms: number;
}

/** `capture.submitted`: a commitment before the deadline; the bytes may follow. */
export interface CaptureSubmitted {
  /** The capture that it answers. */
  capture: string;
  /** SHA-256 hex of the bytes as sent. */
  sha256: string;
}

/** A message with `seq`. */
export type ClientEvent = {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Heartbeat;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "heartbeat";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Playback;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "playback";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Page;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "page";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Windows;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "windows";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: CaptureSubmitted;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "capture.submitted";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: PromptAnswered;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "prompt.answered";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Tamper;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "tamper";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Gap;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "gap";
} | {
  /** the client's monotonic clock, ms */
  ct: number;
  data: Consent;
  /** 1, 2, 3 … for the life of the session */
  seq: number;
  type: "consent";
};

/** What a client sends as text. */
export type ClientMessage = ClientEvent | Control;

/** The end of the session. */
export interface Closed {
  /** `completed`, `left`, `timeout`, `superseded` or `revoked` */
  reason: string;
  /** the verdict, byte for byte */
  verdict: Record<string, unknown>;
}

/** `consent`. For the record only. */
export interface Consent {
  /** The language of that text. */
  language: string;
  /** SHA-256 hex of the text that the learner agreed to. */
  text_sha256: string;
}

/** A message that is no event: it steers the connection and leaves no line in the log by itself. */
export type Control = (Hello & {
  type: "hello";
}) | {
  /** the client's clock when it answered, ms */
  ct: number;
  /** as in the ping */
  id: number;
  type: "pong";
} | {
  type: "ready";
} | {
  /** whether they are through */
  reason: LeaveReason;
  type: "close";
};

/** The codes of docs/protocol.md, section 9. */
export type ErrorCode = "bad_json" | "bad_message" | "unknown_type" | "server_event" | "not_welcome_yet" | "seq_gap" | "ct_decreased" | "token_unknown" | "token_expired" | "session_mismatch" | "key_mismatch" | "signature_wrong" | "origin_refused" | "hello_timeout" | "superseded" | "session_closed" | "too_large" | "too_many_events" | "overloaded" | "bad_photo_frame" | "capture_unknown" | "capture_expired" | "capture_not_committed" | "nonce_wrong" | "digest_mismatch" | "photo_too_large";

/** Something cannot be accepted. */
export interface ErrorMessage {
  /** of which capture */
  capture: string | null;
  /** what */
  code: ErrorCode;
  /** in words */
  detail: string;
  /** what was wrong, as `data.pos_ms` */
  field: string | null;
  /** when to try again */
  retry_after_ms: number | null;
}

/** `gap`: events that the client could not keep. For the record only. */
export interface Gap {
  /** The client's clock at the first of them, ms. */
  from_ct: number;
  /** How many. */
  lost: number;
  /** The client's clock at the last of them, ms. */
  to_ct: number;
}

/** `heartbeat` */
export interface Heartbeat {
  /** Whether the player plays. */
  playing: boolean;
  /** Where it stands, ms of the lesson. */
  pos_ms: number;
  /** The playback rate it reports. */
  rate: number;
}

/** Who a client says it is. */
export interface Hello {
  /** highest `seq` that the client has seen acknowledged; 0: none */
  acknowledged: number;
  /** the client's clock, ms */
  ct: number;
  /** random id that the page keeps, see docs/protocol.md; none when it has none */
  device?: string;
  /** base64url of the public key, an uncompressed point */
  key: string;
  /** the session's id */
  session: string;
  /** base64url of the signature over [`hello_text`] */
  signature: string;
  /** the newest token */
  token: string;
}

/** Why a client ends its session. */
export type LeaveReason = "completed" | "left";

export type Movement = "turn_left" | "turn_right" | "look_up" | "look_down" | "blink_twice";

/** `page` */
export interface Page {
  /** Whether it has the focus. */
  focused: boolean;
  /** Whether the player plays. */
  playing: boolean;
  /** Where it stands, ms of the lesson. */
  pos_ms: number;
  /** The playback rate it reports. */
  rate: number;
  /** Whether the page can be seen. */
  visible: boolean;
}

/** Why the player is to stand still until something has happened. */
export type PauseReason = "prompt" | "wrong_answers" | "capture" | "quota";

/** The header of a binary message. */
export interface PhotoHeader {
  /** the capture that this photo answers */
  capture: string;
  /** the client's clock, ms */
  ct: number;
  /** the nonce as it was given */
  nonce: string;
}

/** `playback` */
export interface Playback {
  /** What the player did. */
  event: PlaybackEvent;
  /** Where a seek started, ms of the lesson; always there for `seek`, not read for others. */
  from_ms?: number;
  /** Whether it plays now. */
  playing: boolean;
  /** Where it stands now, ms of the lesson. */
  pos_ms: number;
  /** The playback rate it reports. */
  rate: number;
}

export type PlaybackEvent = "play" | "pause" | "progress" | "rate" | "ended" | "seek";

/** A question to the learner. */
export interface Prompt {
  /** time left */
  answer_within_ms: number;
  /** how it is answered */
  kind: PromptKind;
  /** of a `choice`: what can be chosen */
  options?: string[];
  /** of a `sum`: the picture, base64 of a PNG */
  picture?: string;
  /** its id */
  prompt: string;
  /** the question */
  text: string;
}

/** `prompt.answered` */
export interface PromptAnswered {
  /** The answer as given. */
  answer: string;
  /** The prompt that it answers. */
  prompt: string;
}

/** How a prompt is answered. */
export type PromptKind = "choice" | "sum";

/** A text message from the server. */
export type ServerMessage = {
  /** base64url of 32 random bytes */
  nonce: string;
  /** name and version */
  server: string;
  type: "challenge";
} | {
  /** comes back in the pong */
  id: number;
  type: "ping";
} | (Welcome & {
  type: "welcome";
}) | {
  /** the highest such `seq` */
  seq: number;
  type: "ack";
} | {
  /** how long it lives, ms */
  expires_in_ms: number;
  /** for the next hello */
  token: string;
  type: "renew";
} | {
  /** why */
  reason: string;
  /** after how long, ms */
  reconnect_in_ms: number;
  type: "go_away";
  /** where to go; none: the same address */
  url: string | null;
} | (Prompt & {
  type: "prompt";
}) | {
  /** `passed`, `failed` or `expired` */
  outcome: string;
  /** which */
  prompt: string;
  type: "prompt.closed";
} | (Capture & {
  type: "capture";
}) | {
  /** for which capture */
  capture: string;
  type: "photo.received";
} | {
  /** what the learner may mend */
  advice: string | null;
  /** which */
  capture: string;
  /** as in docs/rules.md, section 6 */
  outcome: string;
  type: "capture.closed";
} | {
  /** until when */
  reason: PauseReason;
  type: "pause";
} | {
  type: "play";
} | {
  /** as in docs/rules.md, section 9 */
  cause: string | null;
  /** of this rule */
  rule: string;
  /** how long another session of this learner has been playing, ms */
  since_ms?: number;
  type: "warning";
} | {
  /** what about */
  code: string;
  /** in words */
  detail: string;
  type: "notice";
} | (ErrorMessage & {
  type: "error";
}) | (Closed & {
  type: "closed";
});

/** `tamper`: the page noticed that somebody meddles with it. */
export interface Tamper {
  /** With what, e.g. `playback_rate_overridden`. */
  what: string;
}

/** The end of the handshake: where the session stands. */
export interface Welcome {
  /** highest `seq` on disk */
  acknowledged: number;
  /** length of the lesson */
  duration_ms: number;
  /** how far the learner may jump */
  furthest_ms: number;
  /** time between heartbeats */
  heartbeat_ms: number;
  pause: PauseReason | null;
  /** where to go on */
  position_ms: number;
  /** the session's id */
  session: string;
}

/** `windows` */
export interface Windows {
  /** Player windows or tabs of this learner in this browser. */
  count: number;
}
