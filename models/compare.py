"""Holds converted models against the interpreter that their originals were made for.

Once, by hand, whenever convert.py or a model changes (models/MODEL_CARD.md has the results); in an environment with
`ai-edge-litert`, `onnxruntime` and numpy: `compare.py ORIGINAL.tflite CONVERTED.onnx [PICTURES]`. The input is colour
noise from coarse to fine, the same on every run. Prints the largest difference of each output beside the largest
number in it.
"""

import sys

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter


def pictures(count, shape):
    """Blocks of random colour, from one block to one a pixel: networks answer smooth and rough inputs differently."""
    random = np.random.default_rng(7)
    batch, height, width, channels = shape
    for i in range(count):
        blocks = 2 ** (i % 6)
        small = random.random((batch, blocks, blocks, channels), dtype=np.float32)
        rows, columns = np.arange(height) * blocks // height, np.arange(width) * blocks // width
        yield np.ascontiguousarray(small[:, rows][:, :, columns])


def main():
    original, converted, *count = sys.argv[1:]
    interpreter = Interpreter(model_path=original)
    interpreter.allocate_tensors()
    [given] = interpreter.get_input_details()
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    worst, largest = {}, {}
    for picture in pictures(int(count[0]) if count else 60, given["shape"]):
        interpreter.set_tensor(given["index"], picture)
        interpreter.invoke()
        ours = session.run(None, {session.get_inputs()[0].name: picture.transpose(0, 3, 1, 2)})
        for detail, output, found in zip(interpreter.get_output_details(), session.get_outputs(), ours, strict=True):
            wanted = interpreter.get_tensor(detail["index"])
            if wanted.shape != found.shape:
                sys.exit(f"{output.name} has the shape {found.shape}, {detail['name']} has {wanted.shape}")
            worst[output.name] = max(worst.get(output.name, 0.0), float(np.abs(wanted - found).max()))
            largest[output.name] = max(largest.get(output.name, 0.0), float(np.abs(wanted).max()))
    for name, difference in worst.items():
        print(f"{name}: at most {difference:.1e} apart, of {largest[name]:.4g}")


if __name__ == "__main__":
    main()
