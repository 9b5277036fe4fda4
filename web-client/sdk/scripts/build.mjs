// Builds what pages load, says the integrity hash of each file, and fails when one has grown too big.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = `${root}dist`;

// Where a build is refused; the aims are 15, 8 and 3 KiB.
const FILES = [
  { out: 'invigil.js', entry: 'src/index.ts', format: 'esm', limit: 18 * 1024 },
  { out: 'invigil.iife.js', entry: 'src/iife.ts', format: 'iife', limit: 18 * 1024 },
  { out: 'invigil-ui.js', entry: 'src/ui/index.ts', format: 'esm', limit: 10 * 1024 },
  // What `invigil-ui.js` loads for those who read English: made with it.
  { out: 'invigil-ui-en.js', limit: 4 * 1024 },
  { out: 'invigil-worker.js', entry: 'src/worker.ts', format: 'iife', limit: 4 * 1024 },
];

function bundle(out, entry, format) {
  return build({
    entryPoints: [{ in: `${root}${entry}`, out: out.replace(/\.js$/, '') }],
    outdir: dist,
    bundle: true,
    splitting: format === 'esm',
    chunkNames: 'invigil-ui-[name]',
    minify: true,
    charset: 'utf8',
    target: ['es2022'],
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'none',
    format,
    // A classic script has no import.meta; what it has in its place knows its address as well.
    ...(format === 'iife' && { define: { 'import.meta': 'document.currentScript' } }),
  });
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const integrity = {};
let failed = false;
for (const { out, entry, format, limit } of FILES) {
  if (entry) await bundle(out, entry, format);

  const bytes = await readFile(`${dist}/${out}`);
  const gzipped = gzipSync(bytes, { level: 9 }).length;
  integrity[out] = `sha384-${createHash('sha384').update(bytes).digest('base64')}`;
  console.log(`${out.padEnd(20)} ${String(gzipped).padStart(6)} of ${limit} bytes gzipped  ${integrity[out]}`);
  failed ||= gzipped > limit;
}
await writeFile(`${dist}/integrity.json`, `${JSON.stringify(integrity, null, 2)}\n`);
if (failed) {
  console.error('A file is larger than its limit: see FILES in scripts/build.mjs.');
  process.exit(1);
}
