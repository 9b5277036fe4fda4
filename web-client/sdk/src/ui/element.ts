/** `<invigil-prompt>`: what the learner sees. It shows the proctor's state, and does nothing that a page could not do. */

import type { Proctor } from '../proctor.js';
import type { ProctorState, Prompt, Warning } from '../state.js';
import { h } from './dom.js';
import { type Panel, panelOf } from './panels.js';
import { adopt } from './style.js';
import { language, photoKey, type Texts, textsOf, ZH } from './texts.js';

const TOAST_MS = 8_000;
const FOCUSABLE = 'button:not([disabled]), input';

export class InvigilPrompt extends HTMLElement {
  readonly #root = this.attachShadow({ mode: 'open' });
  readonly #title = h('h2', { id: 'title', tabindex: -1 });
  readonly #panel = h('div', {
    class: 'panel',
    role: 'dialog',
    'aria-modal': 'true',
    'aria-labelledby': 'title',
  });
  readonly #veil = h('div', { class: 'veil', hidden: true }, this.#panel);
  readonly #toast = h('div', { class: 'toast', role: 'status' });
  readonly #preview = h('video', { class: 'preview', playsinline: true, hidden: true });
  readonly #status = h('span', {});
  readonly #toggle = h('button', { type: 'button', hidden: true, onclick: () => this.#togglePreview() });
  readonly #pill = h('div', { class: 'pill', role: 'group' }, h('span', { class: 'dot' }), this.#status, this.#toggle);
  #shown: Panel | null = null;
  #texts: Texts = ZH;
  #held: Proctor | null = null;
  #unlisten: (() => void)[] = [];
  #focusBefore: Element | null = null;
  #home: ParentNode | null = null;
  #moving = false;
  #counting: ReturnType<typeof setInterval> | undefined;
  #fading: ReturnType<typeof setTimeout> | undefined;
  #wantsPreview = true;

  constructor() {
    super();
    adopt(this.#root);
    this.#preview.muted = true;
    this.#root.append(h('div', { class: 'corner' }, this.#toast, this.#preview, this.#pill), this.#veil);
    this.#veil.addEventListener('keydown', (event) => this.#keep(event));
  }

  /** Whose state is shown; null: nothing is. */
  get proctor(): Proctor | null {
    return this.#held;
  }

  set proctor(proctor: Proctor | null) {
    for (const stop of this.#unlisten.splice(0)) stop();
    this.#held = proctor;
    if (proctor === null) this.#close();
    else void this.#listenTo(proctor);
  }

  async #listenTo(proctor: Proctor): Promise<void> {
    const tag = language(proctor.options.locale);
    this.lang = tag;
    this.#texts = await textsOf(tag, proctor.options.texts).catch(() => ZH);
    if (this.#held !== proctor) return;
    this.#preview.setAttribute('aria-label', this.#texts.preview);
    this.#unlisten = [
      proctor.on('state', (state) => this.#show(state)),
      proctor.on('warning', (warning) => this.#warn(warning)),
      proctor.on('prompt.closed', ({ outcome }) => this.#say(outcome)),
      proctor.on('ended', ({ code }) =>
        this.#say(code === 'superseded' ? 'ended_superseded' : code ? 'ended_refused' : 'ended'),
      ),
    ];
    this.#show(proctor.state);
  }

  connectedCallback(): void {
    if (this.#moving) return;
    this.#home = this.parentNode;
    document.addEventListener('fullscreenchange', this.#follow);
    this.#follow();
  }

  disconnectedCallback(): void {
    if (this.#moving) return;
    document.removeEventListener('fullscreenchange', this.#follow);
    this.#close();
  }

  /** What is full screen hides everything else: goes where the learner looks, and comes back. */
  readonly #follow = (): void => {
    const full = document.fullscreenElement;
    const inside = full && !(full instanceof HTMLMediaElement) ? full : this.#home;
    if (!inside || inside === this.parentNode) return;
    this.#moving = true;
    inside.append(this);
    this.#moving = false;
    if (this.#shown) this.#takeFocus(this.#shown);
    if (this.#preview.srcObject) void this.#preview.play().catch(() => {});
  };

  // --- showing --------------------------------------------------------------------------------------------------

  #show(state: ProctorState): void {
    const proctor = this.#held;
    if (proctor === null) return;
    this.#showStatus(state, proctor);
    const parts = {
      proctor,
      texts: this.#texts,
      language: this.lang,
      countDown: (prompt: Prompt, into: HTMLElement) => this.#countDown(prompt, into),
    };
    const panel = panelOf(state, parts);
    if (panel?.key === this.#shown?.key) return;
    if (panel === null) this.#close();
    else this.#open(panel);
  }

  #showStatus(state: ProctorState, proctor: Proctor): void {
    const texts = this.#texts;
    const on = state.phase === 'running' || state.phase === 'connecting' || state.phase === 'leaving';
    this.#pill.hidden = !on;
    const lost = state.link === 'down' || state.link === 'connecting' || state.link === 'token_needed';
    const photo = state.capture !== null && state.capture.step === 'taking';
    const text = lost ? 'connecting' : photo ? 'photo_now' : state.holds.length > 0 ? 'paused' : 'recording';
    if (this.#status.textContent !== texts[text]) this.#status.textContent = texts[text];
    this.#pill.className = `pill${lost ? ' off' : state.holds.length > 0 ? ' held' : ''}`;
    const stream = on ? proctor.cameraStream : null;
    if (this.#preview.srcObject !== stream) {
      this.#preview.srcObject = stream;
      if (stream) void this.#preview.play().catch(() => {});
    }
    this.#toggle.hidden = stream === null;
    this.#preview.hidden = stream === null || !this.#wantsPreview;
    this.#toggle.textContent = this.#wantsPreview ? texts.hide_preview : texts.show_preview;
  }

  #togglePreview(): void {
    this.#wantsPreview = !this.#wantsPreview;
    if (this.#held) this.#showStatus(this.#held.state, this.#held);
  }

  #open(panel: Panel): void {
    if (this.#shown === null) this.#focusBefore = document.activeElement;
    clearInterval(this.#counting);
    this.#shown = panel;
    this.#title.textContent = panel.title;
    this.#panel.replaceChildren(this.#title, ...panel.build());
    this.#veil.hidden = false;
    // A film that is full screen by itself shows nothing over it.
    if (document.fullscreenElement instanceof HTMLMediaElement) void document.exitFullscreen().catch(() => {});
    this.#takeFocus(panel);
  }

  #close(): void {
    clearInterval(this.#counting);
    if (this.#shown === null) return;
    this.#shown = null;
    this.#veil.hidden = true;
    this.#panel.replaceChildren();
    if (this.#focusBefore instanceof HTMLElement) this.#focusBefore.focus({ preventScroll: true });
    this.#focusBefore = null;
  }

  #takeFocus(panel: Panel): void {
    const wanted = panel.focus ? this.#panel.querySelector<HTMLElement>(panel.focus) : null;
    // The title first, so that a screen reader says what is asked, and no key that was meant for the film answers it.
    (wanted ?? this.#title).focus({ preventScroll: true });
  }

  /** Keeps the focus within the dialog; the keys of the player do not reach it. Digits choose. */
  #keep(event: KeyboardEvent): void {
    event.stopPropagation();
    const inside = [...this.#panel.querySelectorAll<HTMLElement>(FOCUSABLE)];
    if (event.key === 'Tab') {
      const at = inside.indexOf(this.#root.activeElement as HTMLElement);
      const next = event.shiftKey ? (at <= 0 ? inside.length : at) - 1 : (at + 1) % inside.length;
      event.preventDefault();
      (inside[next] ?? this.#title).focus();
    } else if (/^[1-9]$/.test(event.key) && !(this.#root.activeElement instanceof HTMLInputElement)) {
      this.#panel.querySelectorAll<HTMLButtonElement>('.choices button')[Number(event.key) - 1]?.click();
    }
  }

  #countDown(prompt: Prompt, into: HTMLElement): void {
    const until = performance.now() + prompt.answerWithinMs;
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      into.textContent = this.#texts.prompt_left.replace('{seconds}', String(seconds));
    };
    tell();
    this.#counting = setInterval(tell, 1000);
  }

  // --- saying ---------------------------------------------------------------------------------------------------

  #warn({ source, code, cause }: Warning): void {
    // A camera that fails is said by a dialog, which stays until it is mended.
    if (cause === 'camera') return;
    if (source === 'page') return this.#say(code === 'other_window' ? 'rule_multi_window' : `warn_${code}`, true);
    const rule = `rule_${code}` in this.#texts ? `rule_${code}` : 'rule_other';
    this.#say(photoKey(code, cause ?? '', this.#texts) ?? rule, true);
  }

  #say(key: string, bad = false): void {
    const text = this.#texts[key as keyof Texts];
    if (text === undefined) return;
    this.#toast.className = bad ? 'toast bad' : 'toast';
    this.#toast.textContent = text;
    clearTimeout(this.#fading);
    this.#fading = setTimeout(() => {
      this.#toast.textContent = '';
    }, TOAST_MS);
  }
}
