"""Train the weights of a local vision model: ``python -m trainer.sandbox.vision.train SUBJECT``.

The subjects are ``scenes``, ``scenes-b`` (the same scenes for the second model), ``films`` and ``cards``. Other
processes draw the pictures that this process learns from. A scene is drawn for one step and never seen again; that
takes about ten minutes on two cores. Where drawing takes as long as learning, a number of pictures are drawn first and
seen several times. The same command resumes an interrupted run from its checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from langchain_vpp.errors import TrainingError, VPPError
from trainer.runtime.checkpoint import save_state
from trainer.runtime.optim import OneCycle, fit
from trainer.runtime.precision import cpu_precision
from trainer.sandbox.vision.course import FILM_COURSE, SCENE_COURSE, SECOND_SCENE_COURSE, Course, card_course
from trainer.sandbox.vision.local_model import AttributeNetwork, LocalVisionModel
from trainer.sandbox.vision.samples import DrawnPictures, Sample, TrainingOrder, disturb, draw_all
from trainer.sandbox.vision.weights import accuracies, in_words, save_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from trainer.runtime.precision import Precision

_ATTENTION: Final = 0.3
"""Weight of the share of attention that misses the place of an attribute, where that place is known."""
_CHECK_PICTURES: Final = 200
"""Pictures for validation at each checkpoint."""
_TELL_EVERY: Final = 50
_logger = logging.getLogger(__name__)


def missed_attention(maps: Tensor, places: Tensor) -> Tensor:
    r"""Penalise attention outside the place of an attribute.

    .. math:: -\log \sum_{c \in \text{place}} a_c

    Args:
        maps: :math:`a`, ``[B, maps, h, w]``, each of sum 1.
        places: Left, top, right and bottom as shares of the picture, ``[B, 4]``.

    Returns:
        Mean over pictures and maps.
    """
    height, width = maps.shape[2:]
    # A cell counts if it touches the place, so that every place has one.
    rows = torch.arange(height, device=maps.device)
    columns = torch.arange(width, device=maps.device)
    left, top, right, bottom = places[:, :, None].unbind(1)
    down = (rows + 1 > top * height) & (rows < bottom * height)
    across = (columns + 1 > left * width) & (columns < right * width)
    inside = (down[:, None, :, None] & across[:, None, None, :]) * maps
    return -inside.sum(dim=(2, 3)).clamp(min=1e-6).log().mean()


class _Run:
    """A network in training, with the state that a checkpoint holds."""

    def __init__(self, course: Course, *, seed: int, device: str, precision: Precision) -> None:
        self.course, self.seed, self.precision = course, seed, precision
        self.device = torch.device(device)
        torch.manual_seed(seed)  # a script: the initial weights and the dropout have no other source
        self.network: AttributeNetwork = (
            course.subject.network().to(self.device).to(memory_format=torch.channels_last)
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.descent = OneCycle(
            self.network.parameters(),
            steps=course.steps,
            learning_rate=course.peak_rate,
            weight_decay=1e-3,
            warm_up=0.15,
            clip=5.0,
        )
        self.losses: dict[str, Tensor] = {}
        """Cross-entropy of each attribute in the last step."""

    def loss(self, sample: Sample) -> Tensor:
        """Return the loss of a batch: cross-entropy of all attributes, and attention that misses their places."""
        names = tuple(self.course.subject.choices)
        images = disturb(sample.image.to(self.device), self.generator)
        labels, places = sample.labels.to(self.device), sample.places.to(self.device)
        with self._autocast():
            logits, maps = self.network.attend(images.to(memory_format=torch.channels_last), names)
        losses = [
            nn.functional.cross_entropy(logits[name].float(), labels[:, column], label_smoothing=0.02)
            for column, name in enumerate(names)
        ]
        missed = [
            _ATTENTION * missed_attention(maps[name], places[:, column])
            for column, name in enumerate(names)
            if name in maps
        ]
        self.losses = {name: loss.detach() for name, loss in zip(names, losses, strict=True)}
        return torch.stack([*losses, *missed]).sum()

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "run": self._fingerprint(),
            "step": self.descent.done,
            "network": self.network.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
        }
        save_state(state | self.descent.state_dict(), path)

    def restore(self, path: Path) -> None:
        """Resume from a checkpoint.

        Raises:
            TrainingError: If the checkpoint belongs to another run.
        """
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["run"] != self._fingerprint():
            raise TrainingError(
                f"nothing was trained: {path} belongs to a run with other settings. Remove it, or give those."
            )
        self.network.load_state_dict(state["network"])
        self.descent.load_state_dict(state)
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])

    def _fingerprint(self) -> list[Any]:
        course = self.course
        return [course.subject.name, course.steps, course.batch, self.seed, self.device.type]

    def _autocast(self) -> AbstractContextManager[object]:
        if self.device.type == "cpu":
            return cpu_precision(self.precision)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision != "float32")


def train(
    course: Course,
    *,
    seed: int,
    device: str = "cpu",
    precision: Precision = "auto",
    workers: int = 1,
    checkpoint: Path | None = None,
    checkpoint_every: int = 200,
    stop_after: int | None = None,
) -> AttributeNetwork:
    """Train a network, or resume its training.

    Args:
        course: Pictures to learn from and settings.
        seed: Seed of the initial weights, the pictures and their disturbances.
        device: Device to compute on.
        precision: Precision of the convolutions; ``auto`` takes bfloat16 where the device computes in it.
        workers: Processes that draw and decode; 0 draws in this process.
        checkpoint: File to resume from if it exists, and to save to. On a CPU, a resumed run ends with the weights of
            an uninterrupted one; on a GPU the dropout differs.
        checkpoint_every: Steps between two checkpoints. At each one the accuracy on pictures for validation is logged.
        stop_after: Step after which to stop early, to see how long all steps would take.

    Raises:
        TrainingError: If the checkpoint belongs to another run.
    """
    run = _Run(course, seed=seed, device=device, precision=precision)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    end = course.steps if stop_after is None else min(stop_after, course.steps)
    first, begun = run.descent.done, time.monotonic()

    def after_step(step: int, _: Tensor) -> None:
        if step % _TELL_EVERY == 0 or step == end:
            shown = " ".join(f"{name} {loss:.2f}" for name, loss in run.losses.items())
            each = (time.monotonic() - begun) / (step - first)
            _logger.info("step %d of %d, %.2f s each: %s", step, course.steps, each, shown)
        if checkpoint is not None and (step % checkpoint_every == 0 or step == end):
            run.save(checkpoint)
            if step < course.steps:
                model = LocalVisionModel(copy.deepcopy(run.network).cpu().eval(), course.subject)
                reached = accuracies(model, course, seed=seed, pictures=_CHECK_PICTURES, split="val")
                _logger.info("validation: %s", in_words(reached))

    run.network.train()
    loader = _loader(course, seed=seed, first=first, end=end, workers=workers)
    fit(run.descent, lambda batch: run.loss(Sample(*batch)), loader, on_step=after_step)
    return run.network


def _loader(course: Course, *, seed: int, first: int, end: int, workers: int) -> DataLoader[Sample]:
    """Return the batches of the steps from ``first`` up to ``end``."""
    drawn = DrawnPictures(course, seed)
    pictures = drawn if course.different is None else draw_all(drawn, workers)
    batch = course.batch
    return DataLoader(
        TrainingOrder(pictures, course, seed=seed, first=first * batch, end=end * batch),
        batch_size=batch,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        generator=torch.Generator(),  # else it takes from the numbers of the dropout
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save and report from the command line.

    Args:
        arguments: Arguments of the command line; the process's own if not given.

    Returns:
        The exit code: 0 when done, 2 for bad input.
    """
    parser = argparse.ArgumentParser(description="Train a local vision model of the sandbox.")
    parser.add_argument(
        "subject", nargs="?", choices=("scenes", "scenes-b", "films", "cards"), default="scenes"
    )
    parser.add_argument("--faces", type=Path, help="portraits for cards: labels.csv, train/ and val/")
    parser.add_argument("--out", type=Path, help="folder for the weights; by default the package's own")
    parser.add_argument("--checkpoint", type=Path, help="by default next to the weights")
    parser.add_argument("--steps", type=int, help="optimizer steps")
    parser.add_argument("--batch", type=int, help="pictures in a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw")
    parser.add_argument("--stop-after", type=int, metavar="STEP", help="stop early; to see how long it takes")
    given = parser.parse_args(arguments)
    if (given.subject == "cards") != (given.faces is not None):
        parser.error("--faces belongs to cards, which need it")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1 if given.device == "cpu" else torch.get_num_threads())  # the other core draws
    try:
        _train_and_save(given)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    return 0


def _train_and_save(given: argparse.Namespace) -> None:
    drawn = {"scenes": SCENE_COURSE, "scenes-b": SECOND_SCENE_COURSE, "films": FILM_COURSE}
    course = drawn[given.subject] if given.subject in drawn else card_course(given.faces)
    overrides = {
        name: getattr(given, name) for name in ("steps", "batch") if getattr(given, name) is not None
    }
    course = replace(course, **overrides)
    folder = given.out or course.subject.weights
    checkpoint = given.checkpoint or folder / "checkpoint.pt"
    network = train(
        course,
        seed=given.seed,
        device=given.device,
        precision=given.precision,
        workers=given.workers,
        checkpoint=checkpoint,
        stop_after=given.stop_after,
    )
    if given.stop_after is not None and given.stop_after < course.steps:
        _logger.info("stopped; the same command without --stop-after goes on")
        return
    reached = save_weights(network, folder, course, seed=given.seed)
    checkpoint.unlink(missing_ok=True)
    _logger.info("accuracy: %s", in_words(reached))


if __name__ == "__main__":
    sys.exit(main())
