// The real server, as a process of its own in a folder of its own.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ended, start } from './process.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
export const binary = process.env.INVIGIL ?? join(root, 'target/debug/invigil');

/** The pack of all scenarios: what comes every few minutes comes every few seconds; nothing else is more lenient. */
const PACK = {
  short_session_ms: 8_000,
  hidden_grace_ms: 4_000,
  start_verify_ms: 20_000,
  schedule: {
    heartbeat_ms: 2_000,
    prompt_min_ms: 6_000,
    prompt_max_ms: 9_000,
    prompt_answer_ms: 15_000,
    prompt_sum_milli: 0,
    control_first_ms: 3_000,
    capture_start_min_ms: 500,
    capture_start_max_ms: 2_000,
    capture_min_ms: 8_000,
    capture_max_ms: 12_000,
    capture_answer_ms: 15_000,
    recheck_min_ms: 2_000,
    recheck_max_ms: 4_000,
    // The films are half a minute of photos: they show no movement that is asked for, and begin anew.
    capture_frames: 1,
    challenge_frames: 8,
    challenge_frame_every_ms: 100,
    challenge_start_milli: 0,
    challenge_recheck_milli: 0,
    challenge_random_milli: 0,
    same_picture_milli: 1_000,
    passive_start_milli: 0,
    passive_recheck_milli: 0,
  },
};

const toml = (fields) =>
  Object.entries(fields)
    .filter(([, value]) => typeof value !== 'object')
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join('');

export class Server {
  /** what it has said, line by line */
  log = [];

  static async start(cleanup, pack = {}) {
    const server = new Server();
    server.folder = await mkdtemp(join(tmpdir(), 'invigil-e2e-'));
    cleanup.defer(() => rm(server.folder, { recursive: true, force: true }));
    const { schedule, ...rest } = { ...PACK, ...pack, schedule: { ...PACK.schedule, ...pack.schedule } };
    await writeFile(join(server.folder, 'pack.toml'), `id = "e2e"\n${toml(rest)}[schedule]\n${toml(schedule)}`);
    const config = `policies = [${JSON.stringify(join(server.folder, 'pack.toml'))}]\n[vision]\nworkers = 1\n[web]\nallow_localhost_origins = true\n[webhook]\nallow_private_addresses = true\nallow_http = true\n`;
    await writeFile(join(server.folder, 'invigil.toml'), config);
    await server.#serve('127.0.0.1:0');
    cleanup.defer(() => server.stop());
    return server;
  }

  get url() {
    return `http://${this.address}`;
  }

  async operatorKey() {
    return (await readFile(join(this.folder, 'data/operator.key'), 'utf8')).trim();
  }

  /** Ends it without a word, as a power cut would. */
  async kill() {
    this.child.kill('SIGKILL');
    await ended(this.child);
  }

  /** Starts it again where it was. */
  restart() {
    return this.#serve(this.address);
  }

  async stop() {
    this.child.kill('SIGTERM');
    await ended(this.child);
  }

  #serve(listen) {
    const args = ['serve', '--config', join(this.folder, 'invigil.toml'), '--data-folder', join(this.folder, 'data')];
    args.push('--models-folder', join(root, 'models/cache'), '--log-format', 'json', '--listen', listen);
    this.child = start(binary, args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    const lines = createInterface({ input: this.child.stderr });
    return new Promise((resolve, reject) => {
      this.child.once('error', reject);
      lines.on('line', (line) => {
        this.log.push(line);
        if (!line.includes('"serving"')) return;
        this.address = JSON.parse(line).fields.address;
        resolve();
      });
      lines.once('close', () => reject(new Error(`the server does not serve: ${this.log.slice(-5).join('\n')}`)));
    });
  }
}
