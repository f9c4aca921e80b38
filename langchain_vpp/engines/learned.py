"""Engines that run a trained protector: ONNX Runtime for artifacts with a graph, torch for those without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from langchain_vpp.errors import ArtifactError
from langchain_vpp.network.config import working_size

if TYPE_CHECKING:
    from langchain_vpp.engines.face_cover import FaceCover
    from langchain_vpp.network.protector import Protector

_Pixels: TypeAlias = npt.NDArray[np.uint8]


class _Learned(ABC):
    """Scales a picture to the working resolution, runs a network on it, and scales the result back.

    No detail above the working resolution reaches the output, whatever the network does. If the artifact has a face
    detector, what either finds is covered: the detector only ever adds to what the network hides.

    Attributes:
        working_resolution: Longest side, in pixels, that the network sees. Callers that scale a larger picture to
            :func:`~langchain_vpp.network.config.working_size` themselves save decoding it at full size.
        digest: sha256, in hex, of the artifact.
    """

    name: str

    def __init__(self, working_resolution: int, digest: str, faces: FaceCover | None) -> None:
        self.working_resolution = working_resolution
        self.digest = digest
        self._faces = faces

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`."""
        size = working_size(*image.size, self.working_resolution)
        seen = image.resize(size, Image.Resampling.BOX, reducing_gap=3.0) if size != image.size else image
        pixels = np.asarray(seen)
        shown = self._run(pixels, level)
        result = Image.fromarray(shown if self._faces is None else self._faces.cover(pixels, shown))
        return result if result.size == image.size else result.resize(image.size, Image.Resampling.BICUBIC)

    @abstractmethod
    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        """Protect pixels, shape ``[H, W, 3]``; both sides are multiples of 8."""


class OnnxEngine(_Learned):
    """Runs the graph of an artifact in ONNX Runtime, without torch.

    One session serves all threads, and each call computes in the thread that made it: pictures are protected side by
    side, and the result depends neither on the number of threads nor on what else runs.

    Args:
        graph: The serialised graph, from ``image`` (uint8, ``[1, H, W, 3]``) and ``level`` (float32, ``[1]``) to
            ``protected`` (uint8, ``[1, H, W, 3]``).
        working_resolution: Longest side, in pixels, at which the network was trained.
        digest: sha256, in hex, of the artifact.
        faces: The face detector of the artifact, if it has one.

    Raises:
        ArtifactError: If ONNX Runtime can't load the graph.
    """

    name = "onnx"

    def __init__(
        self, graph: bytes, *, working_resolution: int, digest: str, faces: FaceCover | None = None
    ) -> None:
        super().__init__(working_resolution, digest, faces)
        failure = ""
        try:
            self._session = open_session(graph)
        except Exception as error:  # noqa: BLE001  its exceptions have no other common base
            failure = type(error).__name__
        if failure:
            raise ArtifactError(
                f"ONNX Runtime can't load the graph of the artifact ({failure}). Nothing was loaded. "
                "Export it again with `vpp export`, or install a newer onnxruntime."
            )

    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        feed = {"image": pixels[None], "level": np.array([level], dtype=np.float32)}
        protected: _Pixels = self._session.run(["protected"], feed)[0][0]
        return protected


def open_session(graph: bytes) -> Any:
    """Open a session of ONNX Runtime that computes in the thread that calls it, and prints nothing.

    Args:
        graph: The serialised graph.
    """
    import onnxruntime  # noqa: PLC0415  only where a network runs

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class TorchEngine(_Learned):
    """Runs a :class:`~langchain_vpp.network.protector.Protector` in torch on the CPU, for artifacts without a graph.

    Each call computes in the thread that made it, as in :class:`OnnxEngine`. Torch's own threads don't survive a fork:
    a server that loads the protector, uses it and then forks would wait for them for ever.

    Args:
        protector: The network. It is switched to evaluation mode.
        digest: sha256, in hex, of the artifact.
        faces: The face detector of the artifact, if it has one.
    """

    name = "torch"

    def __init__(self, protector: Protector, *, digest: str, faces: FaceCover | None = None) -> None:
        super().__init__(protector.config.working_resolution, digest, faces)
        self._protector = protector.eval()

    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        import torch  # noqa: PLC0415  takes seconds to load: only where a network runs

        from langchain_vpp.network.threads import one_thread  # noqa: PLC0415

        with one_thread(), torch.inference_mode():
            batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div_(255)
            protected = self._protector(batch, torch.tensor([level], dtype=torch.float32))
            array: _Pixels = protected[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return array
