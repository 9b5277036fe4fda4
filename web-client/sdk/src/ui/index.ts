/** The learner's interface, loaded when a lesson begins. Loading it defines `<invigil-prompt>`. */

import { InvigilPrompt } from './element.js';

export { InvigilPrompt } from './element.js';

if (!customElements.get('invigil-prompt')) customElements.define('invigil-prompt', InvigilPrompt);
