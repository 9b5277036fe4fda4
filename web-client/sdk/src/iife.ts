/** The library for a classic script: `Invigil.createProctor`. */

import { createProctor, ProctorError } from './index.js';

(globalThis as { Invigil?: object }).Invigil = Object.freeze({ createProctor, ProctorError });
