// A course page as an integrator writes it; besides, it notes what happened, for whoever looks at it from outside.
const parameters = new URLSearchParams(location.search);
const { createProctor } = await import('/sdk/v1/invigil.js');
const { playerOn } = await import('./players.js');

async function getToken(request) {
  const answer = await fetch(`token?course=${parameters.get('course') ?? 'first'}`, {
    method: 'POST',
    body: JSON.stringify(request),
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const proctor = createProctor({
  getToken,
  locale: parameters.get('locale') ?? 'zh-CN',
  guide: parameters.get('guide') !== 'no',
});
window.happened = [];
const listeners = new Set();
/** Calls `listener` whenever anything changed; returns how to stop it. */
window.onChange = (listener) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
function note(name, event) {
  if (name !== 'state') {
    const detail = event instanceof Error ? { code: event.code, message: event.message, field: event.field } : event;
    window.happened.push({ name, detail: JSON.parse(JSON.stringify(detail)) });
  }
  for (const listener of [...listeners]) listener();
}
const NAMES = [
  'state',
  'prompt',
  'prompt.closed',
  'capture',
  'capture.closed',
  'hold',
  'warning',
  'camera',
  'consent',
  'notice',
  'error',
  'ended',
];
for (const name of NAMES) proctor.on(name, (event) => note(name, event));
window.proctor = proctor;
const film = document.getElementById('film');
window.player = await playerOn(film, parameters.get('player'));
proctor.attach(window.player);
document.getElementById('begin').addEventListener('click', async () => {
  try {
    await proctor.enableCamera().catch((error) => {
      if (parameters.get('camera') !== 'missing') throw error;
    });
    await proctor.start();
    await film.play();
  } catch (error) {
    note('failed', error);
  }
});
document.getElementById('fill').addEventListener('click', () => document.getElementById('stage').requestFullscreen());
film.addEventListener('ended', () => proctor.stop());
document.documentElement.dataset.ready = '';
