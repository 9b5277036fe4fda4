// What cameras show and what is taught: films made of the portraits and frames that `make models` prepared.
import { access, mkdir, readdir, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './process.mjs';

const people = fileURLToPath(new URL('../../../models/cache/people', import.meta.url));
/** Frames a second of camera films: enough for a burst, and cheap to decode. */
const CAMERA_FPS = 10;

/** The enrolment photo of somebody; it is in none of their films. */
export const ENROLLED = { person: 'film_woman', frame: 80 };
export const portrait = ({ person, frame }) => join(people, person, `${String(frame).padStart(3, '0')}.jpg`);

// A camera is 4:3, and its sensor is never quite still.
const SENSOR = 'scale=640:480:force_original_aspect_ratio=increase,crop=640:480,noise=alls=5:allf=t+u,format=yuv420p';

/** How long the learner's film is, s: longer than a scenario's photos, since nobody looks the same twice, to the last bit. */
const LEARNER_S = 200;

/**
 * Who sits where. Of the learner's film, the ten seconds in which no hand is before the face, without the enrolment photo and a
 * frame that stands twice, again and again, each time with other noise; what goes back again would be no person's movement.
 * When a photo is taken depends on the machine: so any moment must do.
 */
const CAMERAS = {
  learner: { person: 'film_woman', from: 48, to: 128, without: [73, 80], per_s: 8, forS: LEARNER_S },
  stand_in: { person: 'webcam_man', from: 2, to: 73, per_s: 30 },
  empty_chair: { person: 'empty_chair', from: 1, to: 39, per_s: 1 },
  still_photo: { person: 'film_woman', from: 90, to: 90, per_s: 1, still: true },
};

/** Makes films once in a folder; several scenarios, of several processes, may ask for the same one. */
export class Films {
  #made = new Map();

  constructor(folder) {
    this.folder = folder;
  }

  /** A file for `--use-file-for-fake-video-capture`. */
  camera(name) {
    return this.#once(`${name}.y4m`, (file) =>
      name === 'covered' ? this.#covered(file) : this.#filmed(CAMERAS[name], file),
    );
  }

  /** A file with the content of `name` under another name: Chromium calls a camera by its file. */
  async cameraCalled(label, name) {
    const file = await this.camera(name);
    const called = join(this.folder, `${label}.y4m`);
    await symlink(file, called).catch((error) => {
      if (error.code !== 'EEXIST') throw error;
    });
    return called;
  }

  /** A lesson: test patterns with a clock in them, and a tone. */
  lesson(seconds) {
    return this.#once(`lesson-${seconds}.mp4`, (file) =>
      ffmpeg(
        [
          '-f',
          'lavfi',
          '-i',
          `testsrc2=size=480x270:rate=15:duration=${seconds}`,
          '-f',
          'lavfi',
          '-i',
          `sine=frequency=330:duration=${seconds}`,
        ],
        // A key frame every second, so that a jump lands where it was meant to.
        [
          '-c:v',
          'libx264',
          '-preset',
          'veryfast',
          '-pix_fmt',
          'yuv420p',
          '-g',
          '15',
          '-c:a',
          'aac',
          '-movflags',
          '+faststart',
        ],
        file,
      ),
    );
  }

  /** A folder with the lesson as a stream (HLS), `index.m3u8` and its pieces. */
  stream(seconds) {
    return this.#once(`stream-${seconds}`, async (folder) => {
      const draft = `${folder}.${process.pid}`;
      await mkdir(draft);
      const pieces = ['-c', 'copy', '-f', 'hls', '-hls_time', '4', '-hls_playlist_type', 'vod'];
      const input = ['-nostdin', '-loglevel', 'error', '-i', await this.lesson(seconds)];
      await run('ffmpeg', [...input, ...pieces, join(draft, 'index.m3u8')]);
      await rename(draft, folder).catch((error) => {
        // Another process was faster.
        if (error.code !== 'ENOTEMPTY') throw error;
      });
    });
  }

  async #filmed({ person, from, to, without = [], per_s, still, forS }, file) {
    const folder = join(this.folder, `${file.split('/').pop()}.${process.pid}.frames`);
    await mkdir(folder, { recursive: true });
    const known = new Set(await readdir(join(people, person)));
    const numbers = Array.from({ length: to - from + 1 }, (_, index) => from + index).filter(
      (number) => !without.includes(number),
    );
    const names = numbers.map((number) => `${String(number).padStart(3, '0')}.jpg`).filter((name) => known.has(name));
    // There and back again, so that nothing jumps where a short film begins anew.
    const back = forS ? [] : names.slice(1, -1).reverse();
    let count = 0;
    for (const name of [...names, ...back]) {
      count += 1;
      await symlink(join(people, person, name), join(folder, `${String(count).padStart(3, '0')}.jpg`)).catch(() => {});
    }
    const source = [
      ...(forS ? ['-loop', '1', '-t', String(forS)] : []),
      '-framerate',
      String(per_s),
      '-i',
      join(folder, '%03d.jpg'),
    ];
    // A photo before the lens is the same frame for ever: not even the sensor lives.
    const filter = still
      ? 'scale=640:480:force_original_aspect_ratio=increase,crop=640:480,format=yuv420p'
      : `fps=${CAMERA_FPS},${SENSOR}`;
    await ffmpeg(source, ['-vf', filter, '-r', String(still ? 5 : CAMERA_FPS), '-pix_fmt', 'yuv420p'], file);
  }

  #covered(file) {
    return ffmpeg(
      ['-f', 'lavfi', '-i', `color=c=0x060606:size=640x480:rate=${CAMERA_FPS}:duration=20`],
      ['-vf', SENSOR],
      file,
    );
  }

  #once(name, make) {
    let made = this.#made.get(name);
    if (made === undefined) {
      const file = join(this.folder, name);
      made = access(file)
        .catch(() => make(file))
        .then(() => file);
      this.#made.set(name, made);
    }
    return made;
  }
}

/** Whole or not at all: it comes into being by a rename. */
async function ffmpeg(input, output, file) {
  const [, extension] = /\.(\w+)$/.exec(file);
  const draft = file.replace(/\.\w+$/, `.${process.pid}.${extension}`);
  await run('ffmpeg', ['-nostdin', '-loglevel', 'error', '-y', ...input, ...output, draft]);
  await rename(draft, file);
}
