/** What the learner has to read or do, as the contents of a dialog: which one, follows from the proctor's state. */

import type { CameraProblem } from '../camera.js';
import type { Proctor } from '../proctor.js';
import type { ProctorState, Prompt } from '../state.js';
import type { Challenge } from '../wire.js';
import { h } from './dom.js';
import { figure } from './figure.js';
import type { Texts } from './texts.js';

/** A dialog: as long as `key` stays the same, it is left as it stands. */
export interface Panel {
  key: string;
  title: string;
  /** made once */
  build(): Node[];
  /** what gets the focus; left out, the title */
  focus?: string;
}

/** What is said of a camera; some problems have one way out. */
const CAMERA: Record<CameraProblem, keyof Texts> = {
  blocked: 'camera_blocked',
  dismissed: 'camera_dismissed',
  in_use: 'camera_in_use',
  none: 'camera_none',
  insecure: 'camera_insecure',
  frame: 'camera_insecure',
  webview: 'camera_webview',
  unsupported: 'camera_unsupported',
  taken_away: 'camera_taken_away',
  unknown: 'camera_taken_away',
  interrupted: 'camera_interrupted',
  no_frames: 'camera_no_frames',
};

export interface PanelParts {
  proctor: Proctor;
  texts: Texts;
  language: string;
  /** Tells what is left of a prompt's time, into this element. */
  countDown(prompt: Prompt, into: HTMLElement): void;
}

/** The most pressing one; null: the learner can watch. */
export function panelOf(state: ProctorState, parts: PanelParts): Panel | null {
  if (state.phase === 'consent') return consent(parts);
  if (state.prompt) return question(state.prompt, parts);
  const { capture } = state;
  if (capture?.challenge && (capture.step === 'announced' || capture.step === 'taking')) {
    return move(capture.challenge, capture.capture, parts.texts);
  }
  if (state.phase !== 'running') return null;
  return held(state, parts);
}

/** The consent as one text: what is shown is what is agreed to. */
export function consentText(texts: Texts): string {
  return [texts.consent_what, texts.consent_why, texts.consent_how_long, texts.consent_who].join('\n\n');
}

function consent({ proctor, texts, language }: PanelParts): Panel {
  const camera = proctor.options.camera !== false;
  const text = consentText(texts);
  const agree = () => {
    // Asked for here, because some browsers ask the learner only from a click.
    if (camera) proctor.enableCamera().catch(() => {});
    proctor.agree({ text, language });
  };
  return {
    key: 'consent',
    title: texts.consent_title,
    build: () => [
      h('p', {}, text),
      h(
        'div',
        { class: 'row' },
        h('button', { class: 'main', onclick: agree }, camera ? texts.consent_agree : texts.consent_agree_plain),
        h('button', { onclick: () => void proctor.stop('left').catch(() => {}) }, texts.consent_decline),
      ),
    ],
  };
}

function question(prompt: Prompt, { proctor, texts, countDown }: PanelParts): Panel {
  const left = () => {
    const element = h('p', { class: 'left', role: 'timer' });
    countDown(prompt, element);
    return element;
  };
  const answer = (text: string) => proctor.answer(prompt.prompt, text);
  const choices = () =>
    h(
      'div',
      { class: 'choices' },
      ...prompt.options.map((option) => h('button', { onclick: () => answer(option) }, option)),
    );
  return {
    key: `prompt ${prompt.prompt}`,
    title: prompt.kind === 'sum' ? texts.prompt_title : prompt.text,
    ...(prompt.kind === 'sum' && { focus: 'input' }),
    build: () => (prompt.kind === 'sum' ? [...sum(prompt, texts, answer), left()] : [choices(), left()]),
  };
}

function sum(prompt: Prompt, texts: Texts, answer: (text: string) => void): Node[] {
  const input = h('input', { inputmode: 'numeric', pattern: '-?[0-9]*', autocomplete: 'off', maxlength: 6 });
  const submit = (event: Event) => {
    event.preventDefault();
    const digits = input.value.trim();
    if (digits) answer(digits);
  };
  return [
    h('p', {}, prompt.text),
    picture(prompt.picture ?? '', texts.sum_picture),
    h(
      'form',
      { class: 'row', onsubmit: submit },
      h('label', {}, texts.sum_label, input),
      h('button', { class: 'main' }, texts.submit),
    ),
  ];
}

/** Drawn, not linked: a strict policy lets no `data:` picture through. */
function picture(address: string, label: string): HTMLCanvasElement {
  const canvas = h('canvas', { role: 'img', 'aria-label': label });
  const bytes = Uint8Array.from(atob(address.slice(address.indexOf(',') + 1)), (letter) => letter.charCodeAt(0));
  createImageBitmap(new Blob([bytes], { type: 'image/png' })).then(
    (bitmap) => {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
    },
    // A picture that cannot be read leaves the question unanswered, and another follows.
    () => {},
  );
  return canvas;
}

function move(challenge: Challenge, capture: string, texts: Texts): Panel {
  return {
    key: `challenge ${capture}`,
    title: texts.challenge_title,
    build: () => [h('div', { class: 'act' }, figure(challenge), h('p', { role: 'alert' }, texts[challenge]))],
  };
}

function held(state: ProctorState, { proctor, texts }: PanelParts): Panel | null {
  const { camera, holds } = state;
  if (holds.includes('camera') && camera.status !== 'asking') {
    const why = texts[CAMERA[camera.problem ?? 'dismissed']];
    const enable = () => void proctor.enableCamera().catch(() => {});
    return {
      key: `camera ${camera.problem}`,
      title: texts.hold_camera,
      build: () => [
        h('p', {}, why),
        h('div', { class: 'row' }, h('button', { class: 'main', onclick: enable }, texts.camera_on)),
      ],
    };
  }
  const reason = holds.find((hold) => `hold_${hold}` in texts && hold !== 'camera');
  if (reason === undefined) return null;
  const mayGoOn = state.awaitsReady;
  const here = h('button', { class: 'main', onclick: () => proctor.ready() }, texts.ready);
  return {
    key: `hold ${reason} ${mayGoOn}`,
    title: texts.paused,
    build: () => [
      h('p', {}, texts[`hold_${reason}` as keyof Texts]),
      ...(mayGoOn ? [h('div', { class: 'row' }, here)] : []),
    ],
    ...(mayGoOn && { focus: 'button' }),
  };
}
