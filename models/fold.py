"""Folds block-wise int8 weights of an ONNX model into fp32 constants.

The OpenCV Zoo's `int8bq` files store weights as int8 with one scale a block and compute in fp32. ONNX Runtime cannot
read one of them and runs the other at half speed; with the weights unpacked once, here, both are plain fp32 models.
It does not train, prune or quantise: the numbers are the ones the original would compute with.

Run by prepare.py inside the private environment: `fold.py SOURCE TARGET AXIS… [-- OUTPUT…]`, where the axes describe the
one input that remains: a name alone is symbolic, `name=number` is fixed. Where outputs are named, the others are left out,
and with them all that is computed for them alone.
"""

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper


def attribute(node, name, otherwise):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), otherwise)


def dequantised(node, constants):
    """The fp32 value of a DequantizeLinear whose inputs are all constants."""
    packed = constants[node.input[0]]
    scale = constants[node.input[1]].astype(np.float32)
    zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, dtype=packed.dtype)
    axis, block = attribute(node, "axis", 1), attribute(node, "block_size", 0)
    if block:
        # One scale covers `block` neighbours along the axis; the last block may be cut short.
        length = packed.shape[axis]
        spread = [np.take(np.repeat(part, block, axis=axis), range(length), axis=axis) for part in (scale, zero)]
    elif scale.ndim == 1 and scale.size > 1:
        shape = [-1 if i == axis else 1 for i in range(packed.ndim)]
        spread = [part.reshape(shape) for part in (scale, zero)]
    else:
        spread = [scale, zero]
    return (packed.astype(np.float32) - spread[1].astype(np.float32)) * spread[0]


def fold(graph):
    """Replaces every DequantizeLinear of constants, and the Reshape after it, by the constant it yields."""
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    kept = []
    for node in graph.node:
        known = all(name in constants for name in node.input)
        if node.op_type == "DequantizeLinear" and known:
            constants[node.output[0]] = dequantised(node, constants)
        elif node.op_type == "Reshape" and known:
            constants[node.output[0]] = constants[node.input[0]].reshape(constants[node.input[1]])
        else:
            kept.append(node)
    return kept, constants


def without_dropout(nodes):
    """Drops Dropout, which does nothing outside training, and joins the nodes on either side of it."""
    renamed = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Dropout"}
    kept = [n for n in nodes if n.op_type != "Dropout"]
    for node in kept:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    return kept


def dimension(axis):
    name, _, number = axis.partition("=")
    return int(number) if number else name


def needed(nodes, outputs):
    """The nodes that lead to `outputs`, in their order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def rebuilt(model, axes, chosen):
    nodes, constants = fold(model.graph)
    named = [o for o in model.graph.output if not chosen or o.name in chosen]
    if chosen and len(named) != len(chosen):
        raise SystemExit(f"it has no outputs {sorted(set(chosen) - {o.name for o in named})}")
    nodes = without_dropout(nodes)
    if chosen:
        nodes = needed(nodes, chosen)
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(constants[name], name) for name in sorted(used & constants.keys())]
    given = [i for i in model.graph.input if i.name in used and i.name not in constants]
    if len(given) != 1:
        raise SystemExit(f"expected one input, found {[i.name for i in given]}")
    inputs = [helper.make_tensor_value_info(given[0].name, onnx.TensorProto.FLOAT, [dimension(a) for a in axes])]
    # Ranks stay, sizes go: they follow from the input's.
    outputs = [
        helper.make_tensor_value_info(
            o.name, onnx.TensorProto.FLOAT, [f"{o.name}_{i}" for i in range(len(o.type.tensor_type.shape.dim))]
        )
        for o in named
    ]
    graph = helper.make_graph(nodes, "folded", inputs, outputs, initializers)
    result = helper.make_model(graph, opset_imports=list(model.opset_import), producer_name="invigil")
    result.ir_version = 10
    return result


def main():
    source, target, *axes = sys.argv[1:]
    end = axes.index("--") if "--" in axes else len(axes)
    result = rebuilt(onnx.load(source), axes[:end], axes[end + 1 :])
    onnx.checker.check_model(result, full_check=True)
    with open(target, "wb") as file:
        file.write(result.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
