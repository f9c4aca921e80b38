"""What runs a protector: the network in ONNX Runtime or torch, and the classical operators behind the same call."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from langchain_vpp.engines.face_detector import DEFACE_THRESHOLD, FaceFinder
from langchain_vpp.errors import ArtifactError
from langchain_vpp.network.config import working_size

if TYPE_CHECKING:
    from langchain_vpp.engines.face_detector import Face
    from langchain_vpp.network.protector import Protector

Pixels: TypeAlias = npt.NDArray[np.uint8]


@runtime_checkable
class Engine(Protocol):
    """Anything that can protect a picture.

    Engines of ours also have a ``name`` and a ``digest``: the sha256, in hex, of everything that determines the output.
    One that looks at pictures at a bounded size alone says so with ``working_resolution``, the longest side in pixels:
    it is then given pictures that were decoded and scaled to that size, and what it returns is enlarged.
    """

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Return a new RGB image of the same size.

        Args:
            image: An upright RGB image without metadata. It must not be changed.
            level: 0 (most useful) to 1 (most private).
        """
        ...


class _Learned(ABC):
    """Brings a picture to the working resolution, lets a network change it there, and scales it back.

    No detail above the working resolution reaches the output, whatever the network does.

    Attributes:
        working_resolution: The longest side in pixels that the network sees. Whoever has a larger picture may bring it
            to :func:`~langchain_vpp.network.config.working_size` by itself, which saves decoding it at full size.
        digest: sha256, in hex, of the artifact that it came from.
    """

    name: str

    def __init__(self, working_resolution: int, digest: str) -> None:
        self.working_resolution = working_resolution
        self.digest = digest

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        size = working_size(*image.size, self.working_resolution)
        seen = image.resize(size, Image.Resampling.BOX, reducing_gap=3.0) if size != image.size else image
        result = Image.fromarray(self._run(np.asarray(seen), level))
        return result if result.size == image.size else result.resize(image.size, Image.Resampling.BICUBIC)

    @abstractmethod
    def _run(self, pixels: Pixels, level: float) -> Pixels:
        """Protect pixels, shape ``[H, W, 3]``; both sides are multiples of 8."""


class OnnxEngine(_Learned):
    """Runs the graph of an artifact in ONNX Runtime. Loads no torch.

    One session serves all threads, and each call computes in the thread that made it: pictures run side by side,
    and the result depends neither on the number of threads nor on what else runs.

    Args:
        graph: The graph: ``image`` (uint8, ``[1, H, W, 3]``) and ``level`` (float32, ``[1]``) to ``protected``
            (as ``image``).
        working_resolution: Longest side in pixels at which it was trained.
        digest: sha256, in hex, of the artifact that it came from.

    Raises:
        ArtifactError: If ONNX Runtime can't load the graph.
    """

    name = "onnx"

    def __init__(self, graph: bytes, *, working_resolution: int, digest: str) -> None:
        super().__init__(working_resolution, digest)
        import onnxruntime  # noqa: PLC0415  only where a network runs

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        failure = ""
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  its exceptions have no common base but this
            failure = type(error).__name__
        if failure:
            raise ArtifactError(
                f"ONNX Runtime can't load the graph of the artifact ({failure}). Nothing was loaded. "
                "Export it again with `vpp export`, or install a newer onnxruntime."
            )

    def _run(self, pixels: Pixels, level: float) -> Pixels:
        feed = {"image": pixels[None], "level": np.array([level], dtype=np.float32)}
        protected: Pixels = self._session.run(["protected"], feed)[0][0]
        return protected


class TorchEngine(_Learned):
    """Runs a :class:`~langchain_vpp.network.protector.Protector` in torch on the CPU, for artifacts without a graph.

    Args:
        protector: The network. It is switched to evaluation mode.
        digest: sha256, in hex, of the artifact that it came from.
    """

    name = "torch"

    def __init__(self, protector: Protector, *, digest: str) -> None:
        super().__init__(protector.config.working_resolution, digest)
        self._protector = protector.eval()

    def _run(self, pixels: Pixels, level: float) -> Pixels:
        import torch  # noqa: PLC0415  loading torch takes seconds: only where a network runs

        batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div_(255)
        with torch.inference_mode():
            protected = self._protector(batch, torch.tensor([level], dtype=torch.float32))
        array: Pixels = protected[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return array


class _Classical:
    """A fixed operator whose strength grows with the level."""

    name: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"classical/1/{self.name}".encode()).hexdigest()


class Blur(_Classical):
    """Gaussian blur: the radius grows from 0 to an eighth of the longest side, quadratically with the level."""

    name = "blur"

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        return image.filter(ImageFilter.GaussianBlur(level**2 * max(image.size) / 8))


class Pixelate(_Classical):
    """Mosaic: from single pixels at level 0 to four cells along the longest side at level 1, geometrically."""

    name = "pixelate"
    _upsampling = Image.Resampling.NEAREST

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        longest = max(image.size)
        cells = longest * (4 / longest) ** level if longest > 4 else longest
        small = tuple(max(1, round(side * cells / longest)) for side in image.size)
        return image.resize((small[0], small[1]), Image.Resampling.BOX).resize(image.size, self._upsampling)


class Downscale(Pixelate):
    """Like :class:`Pixelate`, but enlarged again with a smooth filter."""

    name = "downscale"
    _upsampling = Image.Resampling.BICUBIC


class FaceBlur(_Classical):
    r"""Blurs the faces that a detector finds, as the tool ``deface`` does; needs the extra ``faces``.

    **Faces that the detector misses stay as they are**: small ones, turned or covered ones. Nothing at all is done
    about words, numbers, bodies, clothes or places. It is what one would try first, here to compare with.

    Level 0 leaves a picture as it is. Above, whatever scores more than

    .. math:: t(level) = 0.2 \cdot 0.1^{level}

    is blurred: from 0.2, deface's default, down to 0.02, by the same factor for each step of the level, because scores
    of hard faces lie that close to 0. Of 30 portraits shrunk to 24 pixels and put into a photograph, 63 % are found at
    0.2 and all at 0.02, where two to five other places are taken for faces too: lower still, more and more of the
    picture goes for nothing. The strength of the blur does not depend on the level: what is blurred at one level is
    blurred to the same pixels at all higher ones, and more besides.

    Mask and blur are deface's defaults: an ellipse in a box that reaches beyond the face's by 0.3 of its sides on every
    side, and a mean over half that box. Unlike there, the ellipse is not squeezed into the picture at its border, and
    where masks overlap the surer face decides, not the last one.

    Raises:
        MissingExtraError: If the extra ``faces`` is missing or can't be loaded.
    """

    name = "face-blur"

    def __init__(self) -> None:
        self._find = FaceFinder()

    @property
    def digest(self) -> str:
        """As of the others, with the version of the package that the detector's weights come with."""
        return hashlib.sha256(f"classical/1/{self.name}/deface {version('deface')}".encode()).hexdigest()

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect`."""
        result = image.copy()
        if level > 0:
            # From the least sure to the surest, always from the original: so a level only adds to what a lower one did.
            for face in sorted(self._find(image, DEFACE_THRESHOLD * 0.1**level), key=lambda face: face.score):
                _blur_face(image, result, face)
        return result


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


CLASSICAL_ENGINES: dict[str, type[Blur | Pixelate | Downscale]] = {
    engine.name: engine for engine in (Blur, Pixelate, Downscale)
}
"""Those that run everywhere and treat all of a picture alike."""

NAMED_ENGINES: dict[str, type[Blur | Pixelate | Downscale | FaceBlur]] = {
    **CLASSICAL_ENGINES,
    FaceBlur.name: FaceBlur,
}
"""All that can be named; some need an extra, and say so when they are made."""
