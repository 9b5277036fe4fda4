/**
 * Holds a supervised learning session on a course page.
 *
 * ```js
 * const proctor = createProctor({ getToken: (request) => fetch('/lesson/token', …).then((reply) => reply.json()) });
 * proctor.attach('#film');
 * button.onclick = async () => { await proctor.enableCamera(); await proctor.start(); };
 * ```
 */

import type { ProctorOptions } from './options.js';
import { Proctor } from './proctor.js';

export type { CameraProblem, CameraState } from './camera.js';
export type { CaptureSeen } from './captures.js';
export { ProctorError, type ProctorErrorCode } from './errors.js';
export type { Hold } from './holds.js';
export type { PageWarning } from './lesson.js';
export type { LinkState } from './link.js';
export type { Access, ConsentGiven, ProctorOptions, TokenRequest } from './options.js';
export type { PlayerAdapter, PlayerLike, Reading } from './player/adapter.js';
export type { Proctor } from './proctor.js';
export type { Ending, ProctorEvents, ProctorState, Prompt, Warning } from './state.js';
export type { PromptElement } from './ui-loader.js';
export type { Challenge } from './wire.js';

/** Makes a proctor for this page. Throws `bad_option`, naming the field. */
export function createProctor(options: ProctorOptions): Proctor {
  return new Proctor(options);
}
