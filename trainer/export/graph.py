"""A protector as an ONNX graph, exact or in int8 (extra ``export``).

This file is long because it writes the graph node by node: torch's exporter with static quantisation makes a graph that
takes twice as long, 12.4 ms instead of 5.6 ms for a picture.

Pixels come in and go out as bytes. Convolutions and the residual stream between them are int8. The modulation by the
level stays in float, and so does everything after the last convolution, where a keep mask of exactly 0 or 1 must stay
exact. Weights keep to seven bits: with eight, processors without VNNI saturate in intermediate sums, and their pictures
would differ from those that were measured. Wherever pixels are rearranged, the channels of a pixel lie next to each
other, as the runtime stores them in int8: then runs of bytes are moved, and the transpositions around them cancel.
"""

# ruff: noqa: E402  a missing package is named before its import fails
from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from langchain_vpp.extras import require

require("onnx", extra="export")

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from langchain_vpp.network.config import POOLED_SIDE, STRIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from langchain_vpp.network.protector import Protector

_Array: TypeAlias = npt.NDArray[Any]
_FLOAT, _INT = np.float32, np.int64
_OPSET: Final = 17
_IR_VERSION: Final = 8
_WEIGHT_PEAK: Final = 63
_COLOURS: Final = 3 * STRIDE**2
_BIAS_PEAK: Final = 2**30
_LEAST_SCALE: Final = 1e-3
# Beyond these values, the sigmoid of a colour is black or white to the eye, and the mask's stretched sigmoid is 0 or 1.
_COLOUR_PEAK: Final = 5.5
_MASK_PEAK: Final = 2.0
_PLANES: Final = [0, 3, 1, 2]
_PLACES: Final = [0, 2, 3, 1]
_NEARLY_CLOSED: Final = 0.05
"""Largest value of a mask that counts as closed in int8.

Training closes a mask just so far that nothing comes through, and rounding opens it again at single pixels, by up to
this value. Few such pixels are enough to find people again.
"""


class Range(NamedTuple):
    """Range of a tensor's values that bytes tell apart; values beyond it become its nearest end."""

    low: float
    high: float


def exact_graph(protector: Protector) -> ModelProto:
    """Write the network as a graph in float32.

    Inputs are ``image`` (uint8, ``[1, H, W, 3]``, ``H`` and ``W`` multiples of 8) and ``level`` (float32, ``[1]``, in
    [0, 1]). The output is ``protected``, of the same type and shape as ``image``.

    Args:
        protector: The network.
    """
    return _Builder(protector).build()


def observed_graph(protector: Protector) -> ModelProto:
    """Write the graph in float32 with further outputs: every tensor whose range :func:`quantised_graph` needs.

    Args:
        protector: The network.
    """
    return _Builder(protector).build(observed=True)


def quantised_graph(protector: Protector, ranges: Mapping[str, Range]) -> ModelProto:
    """Write the network as a graph in int8, with the inputs and the output of :func:`exact_graph`.

    Args:
        protector: The network.
        ranges: Further output of :func:`observed_graph` -> its range.
    """
    return _Builder(protector, ranges).build()


def _shape(*sides: int) -> _Array:
    """Make a shape for a graph; 0 keeps a side, -1 takes the rest."""
    return np.array(sides, _INT)


def _by_place(array: _Array, channels: int) -> _Array:
    """Reorder rows from torch's order, by channel first, to ONNX's, by place first."""
    return array.reshape(channels, -1, *array.shape[1:]).swapaxes(0, 1).reshape(array.shape)


@dataclass
class _Operators:
    """Writes nodes and constants, in float32 or in int8.

    Tensors are passed around by name. In int8, those between blocks hold bytes.
    """

    protector: Protector
    ranges: Mapping[str, Range] | None = None
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, _Array] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    """Purpose -> tensor of floats whose range int8 needs."""
    bytes_of: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Tensor of bytes -> its scale and zero point."""
    cells: str = ""
    """Tensor of the shape of the cells on which the network computes, with one channel: ``[1, H / 4, W / 4, 1]``."""

    def __post_init__(self) -> None:
        state = self.protector.state_dict()
        self.weights = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}

    def smoothed(self, x: str, size: int) -> str:
        """Average over squares that are cut at the border."""
        options = {"strides": [1, 1], "count_include_pad": 0}
        return self.node("AveragePool", x, kernel_shape=[size] * 2, pads=[size // 2] * 4, **options)

    def convolution(
        self,
        name: str,
        x: str,
        weight: _Array | None = None,
        bias: _Array | None = None,
        *,
        pad: int = 1,
        stride: int = 1,
        relu: bool = False,
    ) -> str:
        weight = self.weights[f"{name}.weight"] if weight is None else weight
        bias = self.weights[f"{name}.bias"] if bias is None else bias
        if self.ranges is None:
            inputs = [x, self.constant(weight), self.constant(bias)]
        else:
            own = self.bytes_of[x][0]
            # Large enough for the bias too, which is stored in units of it: a channel may have no weight at all.
            peaks = np.abs(weight).max(axis=(1, 2, 3)) / _WEIGHT_PEAK, np.abs(bias) / (own * _BIAS_PEAK)
            scale = np.maximum(np.maximum(*peaks), 1e-8).astype(_FLOAT)
            rounded = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
            unit = scale * _FLOAT(own)
            added = np.clip(np.rint(bias / unit), -_BIAS_PEAK, _BIAS_PEAK).astype(np.int32)
            inputs = [self.floats(x), self.per_channel(rounded, scale), self.per_channel(added, unit)]
        window = {"kernel_shape": list(weight.shape[2:]), "pads": [pad] * 4, "strides": [stride] * 2}
        out = self.node("Conv", *inputs, **window)
        return self.shared(f"{name}.out", self.node("Relu", out) if relu else out)

    def modulated(self, purpose: str, x: str, scale: str, shift: str, channels: int) -> str:
        """Compute the rectified ``x * scale + shift`` of each channel.

        In int8 this is a convolution of one pixel per channel whose weights are all the same number. The level decides
        the scale of its weights and its bias. It takes one pass over bytes, where floats take four.

        Args:
            purpose: Name of the result for its range.
            x: ``[1, C, h, w]``.
            scale: Factor of each channel, a vector that the builder prepares for each block.
            shift: Summand of each channel, a vector that the builder prepares for each block.
            channels: ``C``.
        """
        if self.ranges is None:
            shape = self.constant(_shape(1, channels, 1, 1))
            scale, shift = self.node("Reshape", scale, shape), self.node("Reshape", shift, shape)
            out = self.node("Relu", self.node("Add", self.node("Mul", x, scale), shift))
            return self.shared(purpose, out)
        own, zero = self.bytes_of[x]
        wide = max(self.ranges[purpose].high, 1e-6) / 255
        stored = self.node(
            "QLinearConv",
            x,
            self.number(own),
            self.constant(np.uint8(zero)),
            self.constant(np.full((channels, 1, 1, 1), _WEIGHT_PEAK, np.int8)),
            scale,
            self.constant(np.zeros(channels, np.int8)),
            self.number(wide),
            self.constant(np.uint8(0)),
            shift,
            kernel_shape=[1, 1],
            group=channels,
        )
        self.bytes_of[stored] = (wide, 0)
        return stored

    def spread(self, x: str, side: int, channels: int, cells: str) -> str:
        """Move depth to space: each place becomes ``side`` x ``side`` places with ``channels`` channels.

        Args:
            x: ``[1, side * side * channels, h, w]``, channels ordered by place.
            side: Side of the square that each place becomes.
            channels: Channels of the result.
            cells: Shape of the result, ``[1, h, w, channels]``, divided by :attr:`cells`.
        """
        lines = self.same_bytes(x, "Transpose", x, perm=_PLACES)
        lines = self.node("Reshape", lines, self.constant(_shape(0, 0, 0, side, side * channels)))
        lines = self.node("Transpose", lines, perm=[0, 1, 3, 2, 4])
        places = self.node("Reshape", lines, self.node("Mul", self.cells, cells))
        return self.same_bytes(x, "Transpose", places, perm=_PLANES)

    def sum(self, purpose: str, x: str, y: str, *, relu: bool = False) -> str:
        out = self.node("Add", self.floats(x), self.floats(y))
        return self.shared(purpose, self.node("Relu", out) if relu else out)

    def positive(self, x: str) -> str:
        """Rectify a tensor; bytes stay bytes."""
        if x not in self.bytes_of:
            return self.node("Relu", x)
        return self.same_bytes(x, "Max", x, self.constant(np.uint8(self.bytes_of[x][1])))

    def shared(self, purpose: str, x: str) -> str:
        """Store a tensor for the next operator, in int8 as bytes."""
        if self.ranges is None:
            self.observed[purpose] = x
            return x
        scale, zero = self.scale_and_zero(purpose)
        stored = self.node("QuantizeLinear", x, self.number(scale), self.constant(np.uint8(zero)))
        self.bytes_of[stored] = (scale, zero)
        return stored

    def scale_and_zero(self, purpose: str) -> tuple[float, int]:
        """Compute scale and zero point of a tensor that is stored as bytes."""
        assert self.ranges is not None
        low, high = (-_COLOUR_PEAK, _COLOUR_PEAK) if purpose == "head.out" else self.ranges[purpose]
        scale = max(high - low, 1e-6) / 255
        return scale, round(min(255.0, max(0.0, -low / scale)))

    def floats(self, x: str) -> str:
        if x not in self.bytes_of:
            return x
        scale, zero = self.bytes_of[x]
        return self.node("DequantizeLinear", x, self.number(scale), self.constant(np.uint8(zero)))

    def same_bytes(self, like: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Apply an operator that changes neither scale nor zero point."""
        out = self.node(operator, *inputs, **attributes)
        if like in self.bytes_of:
            self.bytes_of[out] = self.bytes_of[like]
        return out

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def linear(self, x: str, weight: _Array, bias: _Array) -> str:
        return self.node("Gemm", x, self.constant(weight), self.constant(bias), transB=1)

    def per_channel(self, values: _Array, scale: _Array) -> str:
        zeros = self.constant(np.zeros(len(scale), values.dtype))
        return self.node("DequantizeLinear", self.constant(values), self.constant(scale), zeros, axis=0)

    def number(self, value: float) -> str:
        return self.constant(_FLOAT(value))

    def constant(self, value: _Array | np.generic) -> str:
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        name = f"constant.{len(self.constants)}"
        self.constants[name] = array
        return name


class _Builder(_Operators):
    """Writes one graph, part by part as :class:`~langchain_vpp.network.protector.Protector` computes."""

    def build(self, *, observed: bool = False) -> ModelProto:
        self.cells = self.node(
            "Div", self.node("Shape", "image"), self.constant(_shape(1, STRIDE, STRIDE, 3))
        )
        self._network()
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3])
        level = helper.make_tensor_value_info("level", TensorProto.FLOAT, [1])
        outputs = [helper.make_tensor_value_info("protected", TensorProto.UINT8, [1, "H", "W", 3])]
        outputs.append(helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [1, None, None, None]))
        if observed:
            for purpose, tensor in self.observed.items():
                self.nodes.append(helper.make_node("Identity", [tensor], [purpose]))
                outputs.append(
                    helper.make_tensor_value_info(purpose, TensorProto.FLOAT, [1, None, None, None])
                )
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "protector", [image, level], outputs, constants)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        checker.check_model(model)
        return model

    def _network(self) -> None:
        before, inside, after = self.protector.config.blocks
        numbers = (("before", before), ("inside", inside), ("after", after))
        film = self._modulations([f"{part}.{index}" for part, number in numbers for index in range(number)])
        stem = x = self._stem()
        for index in range(before):
            x = self._block(f"before.{index}", x, film)
        y = self.convolution("down", x, stride=2, relu=True)
        for index in range(inside):
            y = self._block(f"inside.{index}", y, film)
        coarse = self.positive(y)
        weight, bias = self.weights["up.weight"], self.weights["up.bias"]
        fine = len(weight) // 4
        up = self.convolution("up", y, _by_place(weight, fine), _by_place(bias, fine), pad=0)
        up = self.spread(up, 2, fine, self.constant(_shape(1, 1, 1, fine)))
        # Only the positive part of the last sum is used, so that no byte is spent on the rest.
        x = self.sum("joined", x, up, relu=not after)
        for index in range(after):
            x = self._block(f"after.{index}", x, film, relu=index == after - 1)
        mask = self._blend(*self._head(x))
        self._pool(mask, stem, x, coarse)

    def _stem(self) -> str:
        # Space to depth, by place: four rows at once, and four pixels of three bytes of each row.
        side, run = STRIDE, 3 * STRIDE
        rows = self.node("Reshape", "image", self.constant(_shape(0, 0, -1, run)))
        rows = self.node("Reshape", rows, self.constant(_shape(-1, side, 0, run)))
        parts = [f"{rows}.{row}" for row in range(side)]
        self.nodes.append(helper.make_node("Split", [rows], parts, axis=1))
        shape = self.node("Mul", self.cells, self.constant(_shape(1, 1, 1, run)))
        x = self.node("Concat", *(self.node("Reshape", part, shape) for part in parts), axis=3)
        x = self.node("Transpose", x, perm=_PLANES)
        weight, bias = self.weights["stem.weight"], self.weights["stem.bias"]
        weight = _by_place(weight.swapaxes(0, 1), 3).swapaxes(0, 1)
        if self.ranges is None:
            floats = self.node("Cast", x, to=TensorProto.FLOAT)
            x = self.node("Sub", self.node("Mul", floats, self.number(2 / 255)), self.number(1))
        else:
            # Bytes are used as they are, around 128; their centre is 127.5, so a half goes into the bias.
            self.bytes_of[x] = (2 / 255, 128)
            bias = bias + weight.sum(axis=(1, 2, 3)) / 255
        return self.convolution("stem", x, weight, bias, relu=True)

    def _head(self, x: str) -> tuple[str | None, str]:
        """Compute colours ``[1, 3, H, W]``, unless they are one grey, and mask ``[1, 1, H, W]``, before sigmoids."""
        weight, bias = (
            np.concatenate([_by_place(array[:_COLOURS], 3), array[_COLOURS:]])
            for array in (self.weights["head.weight"], self.weights["head.bias"])
        )
        stretch = _COLOUR_PEAK / _MASK_PEAK
        if self.ranges is not None:
            # Both share one scale, so the mask's values are stretched to the range of the colours, and back below.
            weight[_COLOURS:] *= stretch
            bias[_COLOURS:] *= stretch
        if self._one_grey() is not None:
            colour, keep = None, self.convolution("head", x, weight[_COLOURS:], bias[_COLOURS:])
        else:
            head = self.convolution("head", x, weight, bias)
            parts = self.constant(_shape(_COLOURS, STRIDE**2))
            colour, keep = f"{head}.colour", f"{head}.keep"
            self.nodes.append(helper.make_node("Split", [head, parts], [colour, keep], axis=1))
            if self.ranges is not None:
                self.bytes_of[colour] = self.bytes_of[keep] = self.bytes_of[head]
        if self.ranges is not None:
            scale, zero = self.bytes_of[keep]
            self.bytes_of[keep] = (scale / stretch, zero)
        return None if colour is None else self._unfolded(colour, 3), self._unfolded(keep, 1)

    def _unfolded(self, x: str, channels: int) -> str:
        """Unfold cells to full pixels in floats. Bytes are moved before they become floats: a quarter of the memory."""
        pixels = self.constant(_shape(1, STRIDE, STRIDE, channels))
        return self.floats(self.spread(x, STRIDE, channels, pixels))

    def _one_grey(self) -> int | None:
        """Find the grey level of everything that is not kept; ``None`` if the colours depend on the picture."""
        weight, bias = self.weights["head.weight"][:_COLOURS], self.weights["head.bias"][:_COLOURS]
        return None if weight.any() or np.ptp(bias) else round(255 / (1 + math.exp(-bias[0])))

    def _condition(self) -> str:
        """Send the level through its knots and its perceptron, shape ``[1, C]``."""
        knots = np.asarray(self.protector.config.level_knots, _FLOAT)
        last = len(knots) - 1
        level = self.node("Clip", "level", self.number(0), self.number(1))
        position = self.node("Mul", level, self.number(last))
        left = self.node("Min", self.node("Floor", position), self.number(last - 1))
        index = self.node("Cast", left, to=TensorProto.INT64)
        table, steps = self.constant(knots), self.constant(np.diff(knots, append=knots[-1:]))
        part = self.node("Mul", self.node("Gather", steps, index), self.node("Sub", position, left))
        own = self.node("Add", self.node("Gather", table, index), part)
        own = self.node("Reshape", own, self.constant(_shape(1, 1)))
        frequencies = self.constant((math.pi * np.arange(1, 5, dtype=_FLOAT))[None])
        waves = self.node("Cos", self.node("Mul", own, frequencies))
        x = self.node("Concat", own, waves, axis=1)
        for layer in ("level.layers.0", "level.layers.2"):
            x = self.node(
                "Relu", self.linear(x, self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"])
            )
        return x

    def _modulations(self, blocks: list[str]) -> dict[str, tuple[str, str]]:
        """Compute scale and shift of the channels of each block, for :meth:`modulated`.

        All blocks are computed at once: on so few numbers, calling an operator costs more than its work.
        """
        weights, biases = (
            [np.split(self.weights[f"{name}.film.{kind}"], 2) for name in blocks]
            for kind in ("weight", "bias")
        )
        channels = [len(bias) for bias, _ in biases]
        condition = self._condition()
        # One is added to the scale once and for all, here.
        scale, shift = (
            self.linear(
                condition,
                np.concatenate([each[half] for each in weights]),
                np.concatenate([each[half] for each in biases]) + one,
            )
            for half, one in enumerate((_FLOAT(1), _FLOAT(0)))
        )
        if self.ranges is not None:
            # Kept away from zero, so that the bias, which is stored in units of the scale, stays within 32 bits.
            sign = self.node(
                "Where", self.node("Less", scale, self.number(0)), self.number(-1), self.number(1)
            )
            least = self.node("Max", self.node("Abs", scale), self.number(_LEAST_SCALE))
            scale = self.node("Mul", self.node("Mul", sign, least), self.number(1 / _WEIGHT_PEAK))
            units = [_FLOAT(self.scale_and_zero(f"{name}.first.out")[0]) for name in blocks]
            unit = self.node("Mul", scale, self.constant(np.repeat(units, channels)[None]))
            shift = self.node("Cast", self.node("Round", self.node("Div", shift, unit)), to=TensorProto.INT32)
        split: list[list[str]] = []
        for vector in (scale, shift):
            flat = self.node("Reshape", vector, self.constant(_shape(-1)))
            split.append([f"{flat}.{name}" for name in blocks])
            self.nodes.append(helper.make_node("Split", [flat, self.constant(_shape(*channels))], split[-1]))
        return dict(zip(blocks, zip(*split, strict=True), strict=True))

    def _block(self, name: str, x: str, film: Mapping[str, tuple[str, str]], *, relu: bool = False) -> str:
        hidden = self.convolution(f"{name}.first", self.positive(x))
        hidden = self.modulated(
            f"{name}.hidden", hidden, *film[name], len(self.weights[f"{name}.first.bias"])
        )
        return self.sum(f"{name}.sum", x, self.convolution(f"{name}.second", hidden), relu=relu)

    def _pool(self, mask: str, stem: str, last: str, coarse: str) -> None:
        """Pool what tells familiar pictures from others, as ``Protector.with_pooled`` does."""
        fine, wide = POOLED_SIDE // STRIDE, POOLED_SIDE // (2 * STRIDE)
        ends, steps = self.constant(_shape(2**31 - 1, 2**31 - 1)), self.constant(_shape(STRIDE, STRIDE))
        start = self.constant(_shape(0, 0))
        sample = self.node("Slice", "image", start, ends, self.constant(_shape(1, 2)), steps)
        floats = self.node("Cast", self.node("Transpose", sample, perm=_PLANES), to=TensorProto.FLOAT)
        colours = self.node("Mul", floats, self.number(1 / 255))
        kept = self.node("Slice", mask, start, ends, self.constant(_shape(2, 3)), steps)
        pooled = [self._mean(each, fine) for each in (colours, kept, stem, last)]
        pooled.append(self._mean(coarse, wide))
        self.nodes.append(helper.make_node("Concat", pooled, ["pooled"], axis=1))

    def _mean(self, x: str, side: int) -> str:
        window = {"kernel_shape": [side] * 2, "strides": [side] * 2, "ceil_mode": 1, "count_include_pad": 0}
        return self.node("AveragePool", self.floats(x), **window)

    def _blend(self, colour: str | None, keep: str) -> str:
        """Mix picture and colours by the mask into ``protected``, and return the mask, ``[1, 1, H, W]`` in floats."""
        stretched = self.node("Mul", self.node("Sigmoid", keep), self.number(1.4))
        stretched = self.node("Sub", stretched, self.number(0.2))
        if self.ranges is not None:
            stretched = self.node("ThresholdedRelu", stretched, alpha=_NEARLY_CLOSED)
        smooth = mask = self.smoothed(self.node("Clip", stretched, self.number(0), self.number(1)), 3)
        # The one grey is the zero point of the picture's bytes, so that the mask multiplies the difference from it.
        zero = self.constant(np.uint8(self._one_grey() or 0))
        if colour is None:
            if self.ranges is not None:
                # The mask in bytes too, so that the runtime multiplies bytes. Its ends 0 and 1 stay exact.
                mask = self.node("QuantizeLinear", mask, self.number(1 / 255), self.constant(np.uint8(0)))
                self.bytes_of[mask] = (1 / 255, 0)
            # Repeated for each colour and transposed like the picture: the runtime broadcasts a side of 1 slowly.
            mask = self.same_bytes(mask, "Concat", mask, mask, mask, axis=1)
            mask = self.floats(self.same_bytes(mask, "Transpose", mask, perm=_PLACES))
            picture = self.node("DequantizeLinear", "image", self.number(1 / 255), zero)
            mixed = self.node("Mul", mask, picture)
        else:
            planes = self.node("Transpose", "image", perm=_PLANES)
            picture = self.node("DequantizeLinear", planes, self.number(1 / 255), zero)
            recoloured = self.smoothed(self.node("Sigmoid", colour), 5)
            mixed = self.node("Mul", mask, self.node("Sub", picture, recoloured))
            mixed = self.node("Transpose", self.node("Add", recoloured, mixed), perm=_PLACES)
        # This operator rounds, clips and stores as bytes.
        inputs = [mixed, self.number(1 / 255), zero]
        self.nodes.append(helper.make_node("QuantizeLinear", inputs, ["protected"]))
        return smooth
