"""Engines that run a trained protector: ONNX Runtime for artifacts with a graph, torch for those without."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from langchain_vpp.engines.engine import Judged
from langchain_vpp.errors import ArtifactError
from langchain_vpp.network.config import working_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_vpp.engines.face_cover import FaceCover
    from langchain_vpp.network.domain import Domain
    from langchain_vpp.network.protector import Protector

_Pixels: TypeAlias = npt.NDArray[np.uint8]
_Pooled: TypeAlias = npt.NDArray[np.float32]
_PROTECTED: Final = "protected"
_POOLED: Final = "pooled"


class LearnedEngine(ABC):
    """Scales a picture to the working resolution, runs a network on it, and scales the result back.

    No detail above the working resolution reaches the output, whatever the network does. If the artifact has a face
    detector, what either finds is covered: the detector only ever adds to what the network hides.

    Attributes:
        working_resolution: Longest side, in pixels, that the network sees. Callers that scale a larger picture to
            :func:`~langchain_vpp.network.config.working_size` themselves save decoding it at full size.
        digest: sha256, in hex, of the artifact.
        domain: Statistics by which unfamiliar pictures are told; ``None`` if they are unknown, and every picture counts
            as familiar.
    """

    name: str

    def __init__(
        self, working_resolution: int, digest: str, domain: Domain | None, faces: FaceCover | None
    ) -> None:
        self.working_resolution = working_resolution
        self.digest = digest
        self.domain = domain
        self._faces = faces

    def protect(self, image: Image.Image, level: float) -> Image.Image:
        """Protect one picture; see :meth:`Engine.protect <langchain_vpp.engines.Engine.protect>`.

        A picture that is unlike those that the network was made for is covered whole.
        """
        return self.judged(image, level).covered

    def judged(self, image: Image.Image, level: float) -> Judged:
        """Protect one picture; see :meth:`JudgingEngine.judged <langchain_vpp.engines.JudgingEngine.judged>`."""
        seen = self._seen(image)
        if self.domain is None:
            pixels, is_familiar = self._run(seen, level), True
        else:
            pixels, pooled = self._run_pooled(seen, level)
            is_familiar = self.domain.is_familiar(pooled, level)
        if self._faces is not None:
            pixels = self._faces.cover(seen, pixels, level)
        result = Image.fromarray(pixels)
        if result.size != image.size:
            result = result.resize(image.size, Image.Resampling.BICUBIC)
        return Judged(result, is_familiar)

    def without_domain(self) -> Self:
        """Return the same engine without statistics: it covers nothing, for measuring what its network shows."""
        engine = copy.copy(self)
        engine.domain = None
        return engine

    def pooled(self, image: Image.Image, level: float) -> _Pooled:
        """Return what the network pools of a picture, shape ``[C, h, w]``, for statistics of its domain.

        Args:
            image: As in :meth:`protect`.
            level: As in :meth:`protect`.

        Raises:
            ArtifactError: If the graph is of an earlier version, which pools nothing.
        """
        return self._run_pooled(self._seen(image), level)[1]

    def _seen(self, image: Image.Image) -> _Pixels:
        size = working_size(*image.size, self.working_resolution)
        seen = image.resize(size, Image.Resampling.BOX, reducing_gap=3.0) if size != image.size else image
        return np.asarray(seen)

    @abstractmethod
    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        """Protect pixels, shape ``[H, W, 3]``; both sides are multiples of 8."""

    @abstractmethod
    def _run_pooled(self, pixels: _Pixels, level: float) -> tuple[_Pixels, _Pooled]:
        """Protect pixels, and pool what the network saw, shape ``[C, h, w]``."""


class OnnxEngine(LearnedEngine):
    """Runs the graph of an artifact in ONNX Runtime, without torch.

    One session serves all threads, and each call computes in the thread that made it: pictures are protected side by
    side, and the result depends neither on the number of threads nor on what else runs.

    Args:
        graph: The serialised graph, from ``image`` (uint8, ``[1, H, W, 3]``) and ``level`` (float32, ``[1]``) to
            ``protected`` (uint8, ``[1, H, W, 3]``) and, since version 0.2, ``pooled`` (float32, ``[1, C, h, w]``).
        working_resolution: Longest side, in pixels, at which the network was trained.
        digest: sha256, in hex, of the artifact.
        domain: Statistics by which unfamiliar pictures are told.
        faces: The face detector of the artifact, if it has one.

    Raises:
        ArtifactError: If ONNX Runtime can't load the graph, or there are statistics and the graph pools nothing.
    """

    name = "onnx"

    def __init__(
        self,
        graph: bytes,
        *,
        working_resolution: int,
        digest: str,
        domain: Domain | None = None,
        faces: FaceCover | None = None,
    ) -> None:
        super().__init__(working_resolution, digest, domain, faces)
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

        self._pools = _POOLED in {each.name for each in self._session.get_outputs()}
        if domain is not None:
            self._check_pools()

    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        protected: _Pixels = self._session.run([_PROTECTED], _feed(pixels, level))[0][0]
        return protected

    def _run_pooled(self, pixels: _Pixels, level: float) -> tuple[_Pixels, _Pooled]:
        self._check_pools()
        protected, pooled = self._session.run([_PROTECTED, _POOLED], _feed(pixels, level))
        return protected[0], pooled[0]

    def _check_pools(self) -> None:
        if not self._pools:
            raise ArtifactError(
                "the graph of the artifact is of an earlier version, which can't tell unfamiliar pictures. Export it "
                "again with `vpp export`."
            )


def _feed(pixels: _Pixels, level: float) -> dict[str, npt.NDArray[Any]]:
    return {"image": pixels[None], "level": np.array([level], dtype=np.float32)}


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


class TorchEngine(LearnedEngine):
    """Runs a :class:`~langchain_vpp.network.protector.Protector` in torch on the CPU, for artifacts without a graph.

    Each call computes in the thread that made it, as in :class:`OnnxEngine`. Torch's own threads don't survive a fork:
    a server that loads the protector, uses it and then forks would wait for them for ever.

    Args:
        protector: The network. It is switched to evaluation mode.
        digest: sha256, in hex, of the artifact.
        domain: Statistics by which unfamiliar pictures are told.
        faces: The face detector of the artifact, if it has one.
    """

    name = "torch"

    def __init__(
        self,
        protector: Protector,
        *,
        digest: str,
        domain: Domain | None = None,
        faces: FaceCover | None = None,
    ) -> None:
        super().__init__(protector.config.working_resolution, digest, domain, faces)
        self._protector = protector.eval()

    def _run(self, pixels: _Pixels, level: float) -> _Pixels:
        protected: _Pixels = self._computed(self._protector, pixels, level)[0]
        return protected

    def _run_pooled(self, pixels: _Pixels, level: float) -> tuple[_Pixels, _Pooled]:
        protected, pooled = self._computed(self._protector.with_pooled, pixels, level)
        return protected, pooled

    def _computed(self, network: Callable[..., Any], pixels: _Pixels, level: float) -> tuple[Any, ...]:
        import torch  # noqa: PLC0415  takes seconds to load: only where a network runs

        from langchain_vpp.network.threads import one_thread  # noqa: PLC0415

        with one_thread(), torch.inference_mode():
            batch = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float().div_(255)
            result = network(batch, torch.tensor([level], dtype=torch.float32))
            protected, *pooled = (result,) if isinstance(result, torch.Tensor) else result
            array = protected[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
        return array, *(each[0].numpy() for each in pooled)
