// Players of libraries, set up as their manuals have it. The proctor is given the player, not the element in it.

async function hls(film) {
  const { default: Hls } = await import('./hls.mjs');
  film.removeAttribute('src');
  // A strict policy has no workers made of text.
  const player = new Hls({ enableWorker: false });
  const isRead = new Promise((resolve) => player.once(Hls.Events.MANIFEST_PARSED, resolve));
  player.loadSource('stream/index.m3u8');
  player.attachMedia(film);
  await isRead;
  return player;
}

async function videojs(film) {
  window.VIDEOJS_NO_DYNAMIC_STYLE = true;
  const script = document.createElement('script');
  script.src = 'video.min.js';
  await new Promise((resolve) => {
    script.onload = resolve;
    document.head.append(script);
  });
  const player = window.videojs(film, { controls: true });
  await new Promise((resolve) => player.ready(resolve));
  return player;
}

const PLAYERS = { hls, videojs };

/** The library's player on this element; the element itself when no library is named. */
export const playerOn = (film, library) => (library === null ? film : PLAYERS[library](film));
