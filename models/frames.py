"""Cuts the films of models/manifest.toml into JPEG frames, and brings the photos to the same shape.

A frame is what a webcam would send: at most 640 px wide, JPEG. Which of the frames are fit to be shown to the engine
is not decided here: models/people.json says so. The folder is sealed with a list of its files' digests, so that a
second run can tell that all is there.
"""

import hashlib
import json
import pathlib
import subprocess

WIDEST_PX = 640
# libx264's neighbours call this "quality 3 of 2 to 31": about what cameras and browsers use (85 of 100).
JPEG_SCALE = "3"
SEAL = "frames.json"
# As long as the lesson in src/demo/classroom.rs.
LESSON_S = 180


def edition(manifest):
    """A name for the set of frames that this manifest asks for."""
    asked = json.dumps([manifest["cutter"], manifest["people"]], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def arguments(source, entry, folder, first):
    steps = [f"crop={entry['crop']}"] if "crop" in entry else []
    if "frames_per_s" in entry:
        steps.append(f"fps={entry['frames_per_s']}")
    steps.append(f"scale='min({WIDEST_PX},iw)':-2:flags=bicubic+accurate_rnd+full_chroma_int+bitexact")
    # One thread and bit-exact routines: the same bytes on every processor.
    return [
        "-nostdin", "-loglevel", "error", "-threads", "1", "-i", str(source), "-map_metadata", "-1", "-an",
        "-vf", ",".join(steps), "-fps_mode", "passthrough", "-flags", "+bitexact", "-fflags", "+bitexact",
        "-threads", "1", "-pix_fmt", "yuvj420p", "-q:v", JPEG_SCALE,
        "-start_number", str(first), str(folder / "%03d.jpg"),
    ]  # fmt: skip


def cut_all(cutter, sources, target):
    for source, entry in sources:
        folder = target / entry["person"]
        folder.mkdir(parents=True, exist_ok=True)
        first = 1 + sum(1 for _ in folder.iterdir())
        subprocess.run([cutter, *arguments(source, entry, folder, first)], check=True)


def draw_lesson(cutter, target):
    """Three minutes of moving test patterns with a clock in them, and a tone."""
    subprocess.run(
        [
            cutter, "-nostdin", "-loglevel", "error",
            "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=15:duration={LESSON_S}",
            "-f", "lavfi", "-i", f"sine=frequency=330:duration={LESSON_S}",
            "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "30", "-c:a", "aac",
            "-movflags", "+faststart", str(target),
        ],
        check=True,
    )  # fmt: skip


def listing(folder):
    paths = sorted(path for path in folder.rglob("*.jpg"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def seal(folder, edition_name):
    (folder / SEAL).write_text(json.dumps({"edition": edition_name, "files": listing(folder)}, indent=1))


def whole(folder, edition_name):
    """Whether `folder` holds exactly the frames it was sealed with, and they are those asked for."""
    try:
        sealed = json.loads((pathlib.Path(folder) / SEAL).read_text())
    except (OSError, ValueError):
        return False
    return sealed.get("edition") == edition_name and sealed.get("files") == listing(folder)
