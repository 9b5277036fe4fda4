// Says what the first page loads, gzipped, and fails when that has grown too big; and that nothing in it is inline.
import { readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
// What a supervisor on a slow line waits for before anything shows.
const SCRIPT_LIMIT = 60 * 1024;
const STYLE_LIMIT = 16 * 1024;

const manifest = JSON.parse(readFileSync(`${dist}.vite/manifest.json`, 'utf8'));
// What is in the folder is served, and nobody asks for this.
rmSync(`${dist}.vite`, { recursive: true });

/** The files that `entry` needs before it can begin. */
function needed(entry, files = new Set(), styles = new Set()) {
  const chunk = manifest[entry];
  if (files.has(chunk.file)) return { files, styles };
  files.add(chunk.file);
  for (const style of chunk.css ?? []) styles.add(style);
  for (const other of chunk.imports ?? []) needed(other, files, styles);
  return { files, styles };
}

const gzipped = (names) =>
  [...names].reduce((sum, name) => sum + gzipSync(readFileSync(dist + name), { level: 9 }).length, 0);

// The page after the login is the queue: it counts as well as what draws the login.
const first = needed('index.html');
needed('src/pages/Queue.svelte', first.files, first.styles);
const scripts = gzipped(first.files);
const styles = gzipped(first.styles);
console.log(`first page: script ${scripts} of ${SCRIPT_LIMIT} bytes gzipped, style ${styles} of ${STYLE_LIMIT}`);

const html = readFileSync(`${dist}index.html`, 'utf8');
const inline = /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=/i.exec(html);
if (inline) {
  console.error(`index.html holds something inline, which the page's policy refuses: ${inline[0]}`);
  process.exit(1);
}
if (scripts > SCRIPT_LIMIT || styles > STYLE_LIMIT) {
  console.error('The first page has grown too big: see scripts/size.mjs.');
  process.exit(1);
}
