"""Converts a TensorFlow Lite model of floating-point numbers to ONNX.

The published converters refuse one of our models and convert another wrongly, so this one knows exactly the operators
that they consist of and refuses every other. Pictures lie channels last in TFLite and channels first in ONNX: what has
four axes is transposed once, here, where it is constant, and its operators are told so; weights stored as 16-bit
numbers become 32-bit ones. The same bytes come out on every run: the manifest pins their digest.

Run by prepare.py inside the private environment: `convert.py SOURCE TARGET`. The ONNX model has the names of inputs
and outputs of the TFLite one; its input is N×C×H×W. models/MODEL_CARD.md says how well the results agree.
"""

import dataclasses
import sys

import numpy as np
import onnx
import tflite
from onnx import helper, numpy_helper

OPSET = 17
TYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
    tflite.TensorType.BOOL: np.bool_,
}
OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
ACTIVATIONS = {tflite.ActivationFunctionType.RELU: "Relu", tflite.ActivationFunctionType.RELU6: "Clip"}
KNOWN = {
    "ADD", "AVERAGE_POOL_2D", "CAST", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "FULLY_CONNECTED",
    "GREATER_EQUAL", "LEAKY_RELU", "LESS", "MAX_POOL_2D", "MUL", "PAD", "PRELU", "RESHAPE", "STRIDED_SLICE", "SUB",
}  # fmt: skip


class Unknown(Exception):
    """The model asks for something that this converter does not know."""


def first(array):
    """Channels first: an array of four axes as ONNX wants it."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def same_padding(length, kernel, stride, dilation):
    """How much TFLite's SAME adds before and after; its output has one place for each stride begun."""
    missing = max(((length - 1) // stride) * stride + (kernel - 1) * dilation + 1 - length, 0)
    return missing // 2, missing - missing // 2


@dataclasses.dataclass(frozen=True)
class Step:
    """One operator of the TFLite graph: the numbers of its tensors, and the ONNX name of what it makes."""

    operator: tflite.Operator
    inputs: list[int]
    output_at: int
    output: str

    def options(self, kind):
        options, table = kind(), self.operator.BuiltinOptions()
        if table is None:
            raise Unknown(f"{kind.__name__} are missing")
        options.Init(table.Bytes, table.Pos)
        return options


class Converter:
    """One model on its way; `at` of a tensor is its number in the TFLite graph."""

    def __init__(self, model):
        if model.SubgraphsLength() != 1:
            raise Unknown(f"{model.SubgraphsLength()} subgraphs")
        self.model, self.graph = model, model.Subgraphs(0)
        self.nodes, self.constants, self.names = [], {}, {}

    def shape(self, at):
        tensor = self.graph.Tensors(at)
        return [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]

    def type(self, at):
        number = self.graph.Tensors(at).Type()
        if number not in TYPES:
            raise Unknown(f"tensors of type {number}")
        return TYPES[number]

    def constant(self, at):
        """The value of a constant tensor, 16-bit numbers widened; None for one that is computed."""
        buffer = self.model.Buffers(self.graph.Tensors(at).Buffer())
        if buffer.DataLength() == 0:
            return None
        value = np.frombuffer(buffer.DataAsNumpy().tobytes(), self.type(at)).reshape(self.shape(at))
        return value.astype(np.float32) if value.dtype == np.float16 else value

    def known(self, at):
        value = self.constant(at)
        if value is None:
            value = self.constants.get(self.names.get(at))
        if value is None:
            raise Unknown(f"tensor {at} should be constant")
        return value

    def added(self, name, value):
        self.constants[name] = value
        return name

    def emit(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def name(self, at, rank=None):
        """The ONNX name of a tensor; a constant beside `rank` axes gets as many, channels first if they are four."""
        if at in self.names and self.names[at] not in self.constants:
            return self.names[at]
        value = self.known(at)
        if value.ndim and rank is not None:
            value = value.reshape([1] * (rank - value.ndim) + list(value.shape))
        return self.added(f"c{at}", first(value) if value.ndim == 4 else value)

    def channels_last(self, at):
        """The name of a tensor with its numbers in TFLite's order, under ONNX's or TFLite's own axes."""
        shape = self.shape(at)
        if len(shape) != 4 or shape[1] * shape[2] == 1:
            return self.name(at)
        return self.emit("Transpose", [self.name(at)], f"l{at}_{len(self.nodes)}", perm=[0, 2, 3, 1])

    # --- the operators, each a method with the name that TFLite gives it ------------------------------------------

    def finish(self, kind, inputs, output, activation, **attributes):
        """An operator with the activation that TFLite has fused into it."""
        if activation == tflite.ActivationFunctionType.NONE:
            return self.emit(kind, inputs, output, **attributes)
        if activation not in ACTIVATIONS:
            raise Unknown(f"activation {activation}")
        inner = self.emit(kind, inputs, f"{output}_linear", **attributes)
        limits = [self.added("zero", np.float32(0)), self.added("six", np.float32(6))]
        after = ACTIVATIONS[activation]
        return self.emit(after, [inner, *limits] if after == "Clip" else [inner], output)

    def window(self, options, source, kernel, dilation=(1, 1)):
        """Strides and padding of whatever slides over a picture."""
        strides = (options.StrideH(), options.StrideW())
        pads = [(0, 0), (0, 0)]
        if options.Padding() == tflite.Padding.SAME:
            sides = zip(self.shape(source)[1:3], kernel, strides, dilation, strict=True)
            pads = [same_padding(*side) for side in sides]
        (top, bottom), (left, right) = pads
        return {"kernel_shape": list(kernel), "strides": strides, "pads": [top, left, bottom, right]}

    def convolve(self, step, weight, groups, options):
        source, weight_at, *bias = step.inputs
        dilation = (options.DilationHFactor(), options.DilationWFactor())
        window = self.window(options, source, weight.shape[2:], dilation)
        names = [self.name(source), self.added(f"c{weight_at}", np.ascontiguousarray(weight))]
        names += [self.added(f"c{at}", self.known(at)) for at in bias]
        activation = options.FusedActivationFunction()
        self.finish("Conv", names, step.output, activation, group=groups, dilations=dilation, **window)

    def conv_2d(self, step):
        weight = first(self.known(step.inputs[1]))
        groups = self.shape(step.inputs[0])[3] // weight.shape[1]
        self.convolve(step, weight, groups, step.options(tflite.Conv2DOptions))

    def depthwise_conv_2d(self, step):
        # 1×H×W×(C·M) becomes (C·M)×1×H×W.
        weight = self.known(step.inputs[1]).transpose(3, 0, 1, 2)
        self.convolve(step, weight, self.shape(step.inputs[0])[3], step.options(tflite.DepthwiseConv2DOptions))

    def pool(self, kind, step):
        options = step.options(tflite.Pool2DOptions)
        [source] = step.inputs
        window = self.window(options, source, (options.FilterHeight(), options.FilterWidth()))
        self.finish(kind, [self.name(source)], step.output, options.FusedActivationFunction(), **window)

    def max_pool_2d(self, step):
        self.pool("MaxPool", step)

    def average_pool_2d(self, step):
        self.pool("AveragePool", step)

    def prelu(self, step):
        # One slope a channel, of three axes: channels go first here too.
        source, slope_at = step.inputs
        slope = self.added(f"c{slope_at}", np.ascontiguousarray(self.known(slope_at).transpose(2, 0, 1)))
        self.emit("PRelu", [self.name(source), slope], step.output)

    def leaky_relu(self, step):
        slope = step.options(tflite.LeakyReluOptions).Alpha()
        self.emit("LeakyRelu", [self.name(step.inputs[0])], step.output, alpha=slope)

    def between(self, kind, step, activation=tflite.ActivationFunctionType.NONE):
        rank = max(len(self.shape(at)) for at in step.inputs)
        self.finish(kind, [self.name(at, rank) for at in step.inputs], step.output, activation)

    def add(self, step):
        self.between("Add", step, step.options(tflite.AddOptions).FusedActivationFunction())

    def sub(self, step):
        self.between("Sub", step, step.options(tflite.SubOptions).FusedActivationFunction())

    def mul(self, step):
        self.between("Mul", step, step.options(tflite.MulOptions).FusedActivationFunction())

    def greater_equal(self, step):
        self.between("GreaterOrEqual", step)

    def less(self, step):
        self.between("Less", step)

    def cast(self, step):
        wanted = helper.np_dtype_to_tensor_dtype(np.dtype(self.type(step.output_at)))
        self.emit("Cast", [self.name(step.inputs[0])], step.output, to=wanted)

    def dequantize(self, step):
        # Only weights are kept in 16 bits: what is computed is never dequantised.
        self.added(step.output, self.known(step.inputs[0]))

    def pad(self, step):
        source, amounts_at = step.inputs
        amounts = self.known(amounts_at)
        if len(amounts) != 4:
            raise Unknown(f"padding of {len(amounts)} axes")
        before, after = amounts[[0, 3, 1, 2]].T.astype(np.int64)
        amounts = self.added(f"c{amounts_at}", np.concatenate([before, after]))
        self.emit("Pad", [self.name(source), amounts], step.output)

    def reshaped(self, source, output, target):
        rank = len(target)
        shape = self.added(f"{output}_shape", np.array(target, dtype=np.int64))
        inner = self.emit("Reshape", [self.channels_last(source), shape], f"{output}_last" if rank == 4 else output)
        if rank == 4:
            self.emit("Transpose", [inner], output, perm=[0, 3, 1, 2])

    def reshape(self, step):
        self.reshaped(step.inputs[0], step.output, self.shape(step.output_at))

    def fully_connected(self, step):
        options = step.options(tflite.FullyConnectedOptions)
        source, weight_at, *bias = step.inputs
        weight = self.known(weight_at)
        if options.KeepNumDims() or len(self.shape(step.output_at)) != 2:
            raise Unknown("a fully connected layer of more than two axes")
        flat = f"{step.output}_flat"
        self.reshaped(source, flat, [-1, weight.shape[1]])
        names = [flat, self.added(f"c{weight_at}", weight)] + [self.added(f"c{at}", self.known(at)) for at in bias]
        self.finish("Gemm", names, step.output, options.FusedActivationFunction(), transB=1)

    def strided_slice(self, step):
        # One that leaves nothing out is a trace of how shapes were worked out; ours have no other.
        if self.shape(step.inputs[0]) != self.shape(step.output_at) or any(self.known(step.inputs[3]) != 1):
            raise Unknown("a slice that leaves something out")
        self.names[step.output_at] = self.name(step.inputs[0])

    def concatenation(self, step):
        options = step.options(tflite.ConcatenationOptions)
        ranks = {len(self.shape(at)) for at in step.inputs}
        if ranks not in ({2}, {4}):
            raise Unknown(f"a concatenation of {ranks} axes")
        [rank] = ranks
        axis = options.Axis() % rank
        names = [self.name(at) for at in step.inputs]
        axis = [0, 2, 3, 1][axis] if rank == 4 else axis
        self.finish("Concat", names, step.output, options.FusedActivationFunction(), axis=axis)

    def convert(self, operator):
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        kind = OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if kind not in KNOWN:
            raise Unknown(f"operator {kind}")
        [output_at] = map(int, operator.OutputsAsNumpy())
        inputs = [int(at) for at in operator.InputsAsNumpy() if at >= 0]
        step = Step(operator, inputs, output_at, self.names.setdefault(output_at, f"t{output_at}"))
        getattr(self, kind.lower())(step)

    # --- the whole ------------------------------------------------------------------------------------------------

    def described(self, at, shape):
        return helper.make_tensor_value_info(self.graph.Tensors(at).Name().decode(), onnx.TensorProto.FLOAT, shape)

    def output(self, at):
        """An output of the graph has its own name and TFLite's axes, whatever it is called inside."""
        name, shape = self.graph.Tensors(at).Name().decode(), self.shape(at)
        target = self.added(f"{name}_shape", np.array(shape, dtype=np.int64))
        self.emit("Reshape", [self.channels_last(at), target], name)
        return self.described(at, shape)

    def converted(self):
        inputs = []
        for at in map(int, self.graph.InputsAsNumpy()):
            batch, height, width, channels = self.shape(at)
            self.names[at] = self.graph.Tensors(at).Name().decode()
            inputs.append(self.described(at, [batch, channels, height, width]))
        for i in range(self.graph.OperatorsLength()):
            self.convert(self.graph.Operators(i))
        outputs = [self.output(int(at)) for at in self.graph.OutputsAsNumpy()]
        used = {name for node in self.nodes for name in node.input}
        used &= self.constants.keys()
        constants = [numpy_helper.from_array(self.constants[name], name) for name in sorted(used)]
        graph = helper.make_graph(self.nodes, "converted", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="invigil")
        model.ir_version = 8
        return model


def main():
    source, target = sys.argv[1:]
    with open(source, "rb") as file:
        model = tflite.Model.GetRootAs(file.read(), 0)
    try:
        result = Converter(model).converted()
    except Unknown as why:
        sys.exit(f"{source}: {why}")
    onnx.checker.check_model(result, full_check=True)
    with open(target, "wb") as file:
        file.write(result.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
