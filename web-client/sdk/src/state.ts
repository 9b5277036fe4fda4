/** What a page can see and hear of a proctor. */

import type { CameraProblem, CameraState } from './camera.js';
import type { CaptureSeen } from './captures.js';
import type { ProctorError } from './errors.js';
import type { Hold } from './holds.js';
import type { PageWarning } from './lesson.js';
import type { LinkState } from './link.js';

export interface Prompt {
  readonly prompt: string;
  readonly kind: 'choice' | 'sum';
  readonly text: string;
  readonly options: readonly string[];
  /** PNG as a data address; null for a `choice` */
  readonly picture: string | null;
  /** time to answer when it came, ms */
  readonly answerWithinMs: number;
}

export interface Ending {
  /** the server's word (`completed`, `left`, …), or null when the page was refused */
  readonly reason: string | null;
  /** as in docs/rules.md, section 9; null when it is at the platform only */
  readonly verdict: unknown;
  /** code of the refusal (docs/protocol.md, section 9), or null */
  readonly code: string | null;
}

/** Everything at a glance. Never changed: each change makes a new one. */
export interface ProctorState {
  readonly phase: 'idle' | 'starting' | 'consent' | 'connecting' | 'running' | 'leaving' | 'ended' | 'disposed';
  readonly session: string | null;
  readonly link: LinkState;
  /** why the player must stand still; empty: it may play */
  readonly holds: readonly Hold[];
  /** whether the learner has to say that they are there (`ready()`) before it goes on */
  readonly awaitsReady: boolean;
  readonly camera: CameraState;
  readonly prompt: Prompt | null;
  readonly capture: CaptureSeen | null;
  readonly playing: boolean;
  readonly positionMs: number;
  readonly furthestMs: number;
  readonly durationMs: number;
  readonly ending: Ending | null;
}

/** Something counts against the learner, or soon will. */
export interface Warning {
  /** `page`: seen here, in time to mend it; `server`: it is in the log */
  readonly source: 'page' | 'server';
  /** what: a word of this library, a rule of docs/rules.md, or the advice about a photo */
  readonly code: PageWarning | CameraProblem | string;
  /** of a rule: what broke it */
  readonly cause: string | null;
}

export interface ProctorEvents {
  state: ProctorState;
  prompt: Prompt;
  'prompt.closed': { prompt: string; outcome: string };
  capture: CaptureSeen;
  'capture.closed': { capture: string; outcome: string; advice: string | null };
  hold: readonly Hold[];
  warning: Warning;
  camera: CameraState;
  /** the learner is to read and agree; answer with `agree()` */
  consent: { session: string };
  /** for the integrator's eyes */
  notice: { code: string; detail: string };
  error: ProctorError;
  ended: Ending;
}
