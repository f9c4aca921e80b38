"""Conversion of TensorFlow.js: the same numbers come out, and what is not known is refused."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import torch

from langchain_vpp.engines.learned import open_session
from langchain_vpp.errors import DataError
from trainer.recipes.photographs.tfjs import Conversion


def text(value):
    return {"s": base64.b64encode(value.encode()).decode()}


@pytest.fixture
def model(tmp_path):
    """A network of one padded convolution with stride 2, a ReLU, and a channel-wise product."""
    generator = np.random.default_rng(0)
    kernel, bias, factor = (
        generator.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 4), (4,), (4,))
    )
    convolution = {
        "name": "conv", "op": "_FusedConv2D", "input": ["input", "kernel", "bias"],
        "attr": {
            "strides": {"list": {"i": ["1", "2", "2", "1"]}}, "padding": text("SAME"),
            "fused_ops": {"list": {"s": [text("BiasAdd")["s"], text("Relu")["s"]]}},
        },
    }  # fmt: skip
    nodes = [
        {"name": "input", "op": "Placeholder"},
        *({"name": name, "op": "Const"} for name in ("kernel", "bias", "factor")),
        convolution,
        {"name": "product", "op": "Mul", "input": ["conv", "factor"]},
        {"name": "strange", "op": "Strange", "input": ["conv"]},
    ]
    arrays = {"kernel": kernel, "bias": bias, "factor": factor}
    weights = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"} for name, array in arrays.items()
    ]
    (tmp_path / "net.bin").write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    description = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["net.bin"], "weights": weights}],
    }
    (tmp_path / "net.json").write_text(json.dumps(description))
    return tmp_path / "net.json", arrays


def test_the_graph_gives_what_the_source_would(model):
    path, arrays = model
    written = Conversion(path, scale=1 / 127.5, offset=-1)
    written.node("Identity", written.converted("product"), name="out")
    session = open_session(written.finished({"out": [1, 4, "height", "width"]}))
    image = np.random.default_rng(1).integers(0, 256, (1, 8, 10, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1
    padded = torch.nn.functional.pad(planes, (0, 1, 0, 1))  # TensorFlow pads an even side at its end
    kernel = torch.from_numpy(arrays["kernel"]).permute(3, 2, 0, 1)
    hidden = torch.relu(
        torch.nn.functional.conv2d(padded, kernel, torch.from_numpy(arrays["bias"]), stride=2)
    )
    wanted = hidden * torch.from_numpy(arrays["factor"])[:, None, None]
    (made,) = session.run(["out"], {"image": image})
    assert np.allclose(made, wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["strange", "nothing"])
def test_an_unknown_operator_or_node_is_refused(model, name):
    with pytest.raises(DataError, match="can't be converted"):
        Conversion(model[0], scale=1, offset=0).converted(name)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        Conversion(tmp_path / "none.json", scale=1, offset=0)
