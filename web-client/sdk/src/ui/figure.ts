/** A face that does what is asked, as a mirror would show it: the learner's left is on the left. */

import type { Challenge } from '../wire.js';
import { svg } from './dom.js';

const ARROWS: Partial<Record<Challenge, string>> = {
  turn_left: 'M22 10H4m8-7-8 7 8 7',
  turn_right: 'M98 10h18m-8-7 8 7-8 7',
  look_up: 'M109 34V14m-7 8 7-8 7 8',
  look_down: 'M109 86v20m-7-8 7 8 7-8',
};

export function figure(challenge: Challenge): SVGElement {
  const eye = (cx: number) => svg('ellipse', { class: 'mark', cx, cy: 52, rx: 4.5, ry: 5.5 });
  const arrow = ARROWS[challenge];
  return svg(
    'svg',
    { viewBox: '0 0 120 120', class: challenge, 'aria-hidden': 'true' },
    svg('ellipse', { class: 'head', cx: 60, cy: 62, rx: 38, ry: 48 }),
    svg(
      'g',
      { class: 'face' },
      svg('g', { class: 'eyes' }, eye(46), eye(74)),
      svg('path', { class: 'nose', d: 'M60 56v14l-5 3' }),
      svg('path', { class: 'nose', d: 'M48 86q12 8 24 0' }),
    ),
    ...(arrow ? [svg('path', { class: 'arrow', d: arrow })] : []),
  );
}
