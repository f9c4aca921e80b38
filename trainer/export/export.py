"""Export of a trained protector to the graphs that serve it, and checks that they protect as well (extra ``export``).

A graph in int8 is several times as fast as torch and needs no torch. Its ranges come from images of the data set, at
levels over the whole front. :func:`export` compares pixels; :func:`recheck` measures whether an attacker or a chat
model sees the difference.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import onnxruntime

from langchain_vpp.artifact import EXACT_GRAPH, GRAPH, load_engine, load_protector, save_graphs
from langchain_vpp.engines import OnnxEngine, TorchEngine
from langchain_vpp.errors import ArtifactError, DataError
from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import working_size
from langchain_vpp.network.threads import one_thread
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.export.graph import Range, exact_graph, observed_graph, quantised_graph
from trainer.training.domain import give_domain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_core.language_models import BaseChatModel
    from PIL import Image

    from langchain_vpp.engines import Engine
    from langchain_vpp.network.protector import Protector
    from trainer.data.dataset import Dataset
    from trainer.evaluation.results import Report
    from trainer.oracle.ledger import Budget, Price

_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_RARE: Final = 1e-4
"""Share of an image's values that a range leaves out at either end."""
_RARE_IMAGES: Final = 0.1
"""Share of the images that a range leaves out at either end."""
_LARGEST_DIFFERENCE: Final = 2
"""Grey levels by which single pixels of the exact graph may differ from torch, because sums round in another order."""


class Exported(NamedTuple):
    """Result of an export."""

    digest: str
    """Digest of the artifact with its graphs."""
    largest_difference: int
    """Largest difference of a pixel between the exact graph and torch, in grey levels."""
    psnr: float
    """Likeness of the quantised graph to torch, dB, at the worst image and level that was checked."""
    quantised: bool
    """Whether the artifact serves the quantised graph; otherwise it differs too much and the exact one is served."""


class Recheck(NamedTuple):
    """Fronts of the network in torch and of the engine that is served in its place."""

    torch: Report
    served: Report
    largest_leak_gain: float
    """Leak that the served engine adds, at the worst level; negative if it leaks less at every level."""
    largest_utility_loss: float | None
    """Utility that the served engine loses, at the worst level; ``None`` without a chat model."""


def export(folder: Path, dataset: Dataset, *, images: int = 64, least_psnr: float = 35.0) -> Exported:
    """Write the graphs of an artifact into its folder, and their digests into its manifest.

    The statistics of the artifact's domain are fitted again, to what is served from now on.

    Args:
        folder: The artifact. Its digest changes.
        dataset: The data set that the artifact was trained on, or a similar one. Ranges are taken from its train split,
            and the result is checked on val.
        images: Number of images of either split.
        least_psnr: Least likeness of the quantised graph to torch, dB. Below it, only the exact graph is written.

    Raises:
        ArtifactError: If the artifact can't be loaded or written, or the exact graph differs from the network.
        DataError: If there are no images.
    """
    protector, _, _ = load_protector(folder)
    resolution = protector.config.working_resolution
    calibration, check = (_images(dataset, split, images, resolution) for split in ("train", "val"))
    exact = exact_graph(protector).SerializeToString()
    quantised = quantised_graph(protector, _ranges(protector, calibration)).SerializeToString()
    reference = TorchEngine(protector, digest="")
    engines = (OnnxEngine(graph, working_resolution=resolution, digest="") for graph in (exact, quantised))
    by_exact, by_quantised = (_differences(reference, engine, check) for engine in engines)
    largest = max(int(np.abs(each).max()) for each in by_exact)
    if largest > _LARGEST_DIFFERENCE:
        raise ArtifactError(
            f"the exact graph of {folder} differs from the network by {largest} grey levels. Nothing was written."
        )
    psnr = min(_psnr(each) for each in by_quantised)
    graphs = {EXACT_GRAPH: exact} | ({GRAPH: quantised} if psnr >= least_psnr else {})
    save_graphs(folder, graphs)
    return Exported(give_domain(folder, dataset), largest, psnr, GRAPH in graphs)


def recheck(
    folder: Path,
    dataset: Dataset,
    model: BaseChatModel | None = None,
    settings: EvaluationSettings | None = None,
    *,
    ledger: Path | None = None,
    budget: Budget | None = None,
    price: Price | None = None,
) -> Recheck:
    """Measure the front of an artifact's network in torch and of the engine that is served in its place.

    Both are measured by :func:`trainer.evaluation.evaluate`, with the same seed, attackers and questions.

    Args:
        folder: An artifact with a graph.
        dataset: Images with task questions and private labels.
        model: The chat model; without one only the leak is measured. All queries are paid twice.
        settings: Settings of both evaluations. Classical engines are left out, because they have no graph.
        ledger: File for the queries; needed with a model. Each evaluation keeps a file of its own beside it.
        budget: Limit of what each of the two evaluations spends.
        price: Price of tokens, for a budget in money.

    Raises:
        ArtifactError: If the artifact can't be loaded or has no graph.
        Exception: Any error of :func:`trainer.evaluation.evaluate`.
    """
    protector, manifest, digest = load_protector(folder)
    if not {GRAPH, EXACT_GRAPH} & set(manifest.files):
        raise ArtifactError(f"{folder} has no graph to compare. Export it first with `vpp export`.")
    chosen = (settings or EvaluationSettings()).model_copy(update={"baselines": {}})

    def measure(engine: Engine, name: str) -> Report:
        book = None if ledger is None else ledger.with_name(f"{ledger.stem}-{name}{ledger.suffix}")
        return evaluate(engine, dataset, model, chosen, ledger=book, budget=budget, price=price)

    trained = measure(TorchEngine(protector, digest=digest), "torch")
    served = measure(load_engine(folder), "served")
    pairs = list(zip(trained.points, served.points, strict=True))
    leaks = [after.leak.value - before.leak.value for before, after in pairs if before.leak and after.leak]
    losses = [
        before.utility.value - after.utility.value
        for before, after in pairs
        if before.utility and after.utility
    ]
    return Recheck(trained, served, max(leaks), max(losses, default=None))


def _images(dataset: Dataset, split: str, count: int, resolution: int) -> list[Image.Image]:
    """Choose images evenly over a split, or over train if the split is empty, at the working resolution."""
    examples = dataset.split("val") if split == "val" else dataset.split("train")
    examples = examples or dataset.split("train")
    if not examples:
        raise DataError(
            "no image in train, so no graph was made. Give the data that the protector was trained on."
        )
    step = max(1, len(examples) // count)
    pictures = [dataset.open_image(example) for example in islice(examples, 0, count * step, step)]
    return [resized(picture, working_size(*picture.size, resolution)) for picture in pictures]


def _ranges(protector: Protector, images: Sequence[Image.Image]) -> dict[str, Range]:
    """Observe the range of each tensor over images and levels; it always holds zero, which pads the borders.

    One in ten thousand of each image's values is left out at either end, and then the tenth of the images that reaches
    farthest: a mask that opens and closes sharply has a few values so far beyond all others that 256 steps up to them
    would be too coarse.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = observed_graph(protector).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs() if each.name not in ("protected", "pooled")]
    ends: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for image in images:
        for level in _LEVELS:
            feed = {"image": np.asarray(image)[None], "level": np.array([level], dtype=np.float32)}
            for name, values in zip(names, session.run(names, feed), strict=True):
                ends[name].append(np.quantile(values, (_RARE, 1 - _RARE)))
    ranges = {}
    for name, each in ends.items():
        low, high = np.transpose(each)
        least, greatest = np.quantile(low, _RARE_IMAGES), np.quantile(high, 1 - _RARE_IMAGES)
        ranges[name] = Range(min(0.0, float(least)), max(0.0, float(greatest)))
    return ranges


def _differences(one: Engine, other: Engine, images: Sequence[Image.Image]) -> list[np.ndarray]:
    """Subtract the pixels of two engines, an array in grey levels for each image; images take levels in turn."""
    with one_thread():
        pairs = [(image, level) for image, level in zip(images, cycle(_LEVELS), strict=False)]
        return [
            np.asarray(one.protect(image, level), dtype=np.int16)
            - np.asarray(other.protect(image, level), dtype=np.int16)
            for image, level in pairs
        ]


def _psnr(difference: np.ndarray) -> float:
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))
