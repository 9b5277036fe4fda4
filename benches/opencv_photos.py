"""Whole photo checks per second with OpenCV's FaceDetectorYN and FaceRecognizerSF, for `invigil bench photos`.

Reads a JSON object from standard input: `detector`, `recogniser` (model files), `enrol` (a photo), `photos` (paths),
`checks` (how many in all), `processes`, `detector_side_px` (0: detect at full size, as out of the box). Prints a JSON
object: `photos_per_s` over the whole of the checks, models loaded and warm before the clock starts; `matched`.
Each process has one thread. A check is what invigil's is: decode, detect, align, describe, compare.
"""

import json
import multiprocessing
import sys
import time

import cv2
import numpy

THRESHOLD = 0.363


class Checker:
    def __init__(self, order):
        cv2.setNumThreads(1)
        self.side = order["detector_side_px"]
        self.detector = cv2.FaceDetectorYN.create(order["detector"], "", (320, 320), 0.7)
        self.recogniser = cv2.FaceRecognizerSF.create(order["recogniser"], "")
        self.enrolled = self.describe(read(order["enrol"]))

    def describe(self, photo):
        picture = cv2.imdecode(numpy.frombuffer(photo, numpy.uint8), cv2.IMREAD_COLOR)
        seen, scale = picture, 1
        if self.side:
            scale = -(-max(picture.shape[:2]) // self.side)
            size = (picture.shape[1] // scale, picture.shape[0] // scale)
            seen = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self.detector.setInputSize((seen.shape[1], seen.shape[0]))
        _, faces = self.detector.detect(seen)
        if faces is None:
            return None
        face = faces[0].copy()
        face[:14] *= scale
        return self.recogniser.feature(self.recogniser.alignCrop(picture, face)).copy()

    def matches(self, photo):
        found = self.describe(photo)
        if found is None:
            return False
        return self.recogniser.match(self.enrolled, found, cv2.FaceRecognizerSF_FR_COSINE) >= THRESHOLD


def read(path):
    with open(path, "rb") as file:
        return file.read()


def work(order, share, ready, start, results):
    checker = Checker(order)
    photos = [read(path) for path in order["photos"]]
    for photo in photos[:3]:
        checker.matches(photo)
    ready.release()
    start.wait()
    results.put(sum(checker.matches(photos[i % len(photos)]) for i in share))


def main():
    order = json.load(sys.stdin)
    context = multiprocessing.get_context("spawn")
    ready, start, results = context.Semaphore(0), context.Event(), context.Queue()
    shares = [range(first, order["checks"], order["processes"]) for first in range(order["processes"])]
    workers = [context.Process(target=work, args=(order, share, ready, start, results)) for share in shares]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    began = time.perf_counter()
    start.set()
    matched = sum(results.get() for _ in workers)
    took_s = time.perf_counter() - began
    for worker in workers:
        worker.join()
    print(json.dumps({"photos_per_s": order["checks"] / took_s, "matched": matched, "version": cv2.__version__}))


if __name__ == "__main__":
    main()
