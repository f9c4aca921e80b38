"""From a trained protector to the graphs that serve it, and the proof that they hide and keep the same.

Needs the extra ``export``. A graph in int8 is several times as fast as torch, and needs none. Its ranges come from
images of the data set, at levels over the whole front. Whether pixels are equal is checked here; whether an attacker or
a chat model sees the difference is measured by :func:`recheck`, with the evaluation that measures every protector.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import onnxruntime
import torch

from langchain_vpp.artifact import EXACT_GRAPH, GRAPH, load_engine, load_protector, save_graphs
from langchain_vpp.engines import OnnxEngine, TorchEngine
from langchain_vpp.errors import ArtifactError, DataError
from langchain_vpp.images.codec import resized
from langchain_vpp.network.config import working_size
from trainer.evaluation import EvaluationSettings, evaluate
from trainer.export.graph import Range, exact_graph, observed_graph, quantised_graph

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
"""Share of an image's values at either end that a range leaves out."""
_RARE_IMAGES: Final = 0.1
"""Share of the images, likewise."""
_LARGEST_DIFFERENCE: Final = 2
"""Grey levels by which single pixels of the exact graph may differ from torch, which sums in another order."""


class Exported(NamedTuple):
    """What came of an export."""

    digest: str
    """Of the artifact with its graphs."""
    largest_difference: int
    """Between the exact graph and torch, grey levels of single pixels."""
    psnr: float
    """Of the quantised graph against torch, dB, the worst image and level that was checked."""
    quantised: bool
    """Whether the artifact serves the quantised graph; the exact one if it differs too much."""


class Recheck(NamedTuple):
    """A front as torch draws it, and as what is served does."""

    torch: Report
    served: Report
    largest_leak_gain: float
    """By how much more an attacker recovers from what is served, at the worst level; negative if less everywhere."""
    largest_utility_loss: float | None
    """By how much less the chat model answers about it, at the worst level; ``None`` without a chat model."""


def export(folder: Path, dataset: Dataset, *, images: int = 64, least_psnr: float = 35.0) -> Exported:
    """Write the graphs of an artifact into its folder, and their digests into its manifest.

    Args:
        folder: The artifact. It has another digest afterwards.
        dataset: What it was trained on, or the like: ranges are taken from its train split and the result is checked
            on val.
        images: How many of each.
        least_psnr: Of the quantised graph against torch, dB. Below, only the exact graph is written.

    Raises:
        ArtifactError: If the artifact does not hold or can't be written, or its graph does not equal it.
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
    return Exported(save_graphs(folder, graphs), largest, psnr, GRAPH in graphs)


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
    """Measure the front of an artifact's network in torch and of what is served in its place, side by side.

    Both are attacked by fresh classifiers with the same seed and asked about with the same questions.

    Args:
        folder: An artifact with a graph.
        dataset: As for :func:`~trainer.evaluation.evaluate.evaluate`.
        model: As there; the queries are paid twice.
        settings: As there. Classical engines are left out: they have no graph.
        ledger: File for the queries; needed with a model. A second one is kept beside it.
        budget: For each of both.
        price: As there.

    Raises:
        ArtifactError: If the artifact can't be loaded or has no graph.
        Exception: Whatever :func:`~trainer.evaluation.evaluate.evaluate` raises.
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
    """Images of a split at the working resolution, evenly over it; of train, where the split has none."""
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
    """What each tensor reaches over images and levels; zero always included, because borders are padded with it.

    Of each image's values, the least and the greatest in ten thousand are left out, and so is the tenth of the images
    that then reaches farthest. A protector whose mask opens and closes sharply has a few values far beyond all others,
    and 256 steps from one end to the other then are too coarse: for the default, int8 came within 31.4 dB of torch with
    nearly all of them, 35.4 dB without the few of each image, 38.4 dB without those images as well (the worst of 64).
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    graph = observed_graph(protector).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs() if each.name != "protected"]
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
    """Grey levels by which two engines differ, an array per image, levels in turn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = [(image, level) for image, level in zip(images, cycle(_LEVELS), strict=False)]
        return [
            np.asarray(one.protect(image, level), dtype=np.int16)
            - np.asarray(other.protect(image, level), dtype=np.int16)
            for image, level in pairs
        ]
    finally:
        torch.set_num_threads(threads)


def _psnr(difference: np.ndarray) -> float:
    error = float(np.mean(np.square(difference, dtype=np.float64)))
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))
