// Runs the scenarios, two files at a time, with one folder of films for all. Arguments name files, or a test by --test-name-pattern.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ended, start } from './lib/process.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const options = process.argv.slice(2).filter((argument) => argument.startsWith('-'));
const named = process.argv.slice(2).filter((argument) => !argument.startsWith('-'));
const files = named.length > 0 ? named : readdirSync(join(here, 'scenarios')).map((name) => join('scenarios', name));
const films = mkdtempSync(join(tmpdir(), 'invigil-films-'));
process.on('exit', () => rmSync(films, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
const args = ['--test', '--test-concurrency=2', '--test-reporter=spec', ...options, ...files];
const child = start(process.execPath, args, { cwd: here, stdio: 'inherit', env: { ...process.env, E2E_FILMS: films } });
await ended(child);
process.exitCode = child.exitCode ?? 1;
