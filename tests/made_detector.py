"""A face detector that always finds the same, as a graph of ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from langchain_vpp.artifact import FaceDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION = FaceDetector(name="fixed", source="here", licence="MIT", threshold=0.5, scales=(1.0,))


def fixed_detector(
    faces: Sequence[tuple[float, float, float, float]],
    scores: Sequence[float],
    names: Sequence[str] = ("boxes", "scores"),
) -> bytes:
    """Make a graph that finds the same boxes with the same scores in every picture.

    Args:
        faces: Left, upper, right and lower edge in pixels.
        scores: A score for each.
        names: Names of the outputs.
    """
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 3])
    arrays = {
        names[0]: np.array(faces, np.float32).reshape(-1, 4),
        names[1]: np.array(scores, np.float32),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in arrays.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in arrays.items()
    ]
    graph = helper.make_graph(nodes, "fixed", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
