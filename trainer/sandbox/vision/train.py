"""Train the weights of a local vision model: ``python -m trainer.sandbox.vision.train SUBJECT``.

The subjects are ``scenes``, ``scenes-b`` (the same for the second model) and ``cards``. Other processes draw what this
one learns from. A scene is drawn for one step and never seen again; that takes about ten minutes on two cores. Where
drawing takes as long as learning, a number of pictures are drawn first and seen several times. A run that was stopped
goes on from its checkpoint when the same command is given.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import logging
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.utils.data import DataLoader

from langchain_vpp.errors import TrainingError, VPPError
from trainer.runtime.checkpoint import save_checkpoint
from trainer.runtime.precision import cpu_precision
from trainer.sandbox.vision.course import SCENE_COURSE, SECOND_SCENE_COURSE, Course, card_course
from trainer.sandbox.vision.lessons import STREAMS, _draw_all, _Drawings, _keep, _Lesson, _Lessons, disturb
from trainer.sandbox.vision.local_model import AttributeNetwork, LocalVisionModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from trainer.data.format import Split
    from trainer.runtime.precision import Precision

TEST_PICTURES: Final = 1000
TEST_QUALITY: Final = 85
_ATTENTION: Final = 0.3
"""Weight of the share of attention that misses the place of an attribute, where that is known."""
_CHECK_PICTURES: Final = 200
_logger = logging.getLogger(__name__)


def missed_attention(maps: Tensor, places: Tensor) -> Tensor:
    r"""How much attention falls outside the place where there is something to see.

    .. math:: -\log \sum_{c \in \text{place}} a_c

    Args:
        maps: :math:`a`, ``[B, maps, h, w]``, each of sum 1.
        places: Shares of the picture, ``[B, 4]``: left, top, right, bottom.

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


def _arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if device.type == "cpu":
        return cpu_precision(precision)
    return torch.autocast(device.type, torch.bfloat16, enabled=precision != "float32")


class _Run:
    """A network in training, and everything that decides how it goes on."""

    def __init__(self, course: Course, *, steps: int, seed: int, device: str) -> None:
        self.course, self.steps, self.seed = course, steps, seed
        self.device = torch.device(device)
        torch.manual_seed(seed)  # a script: the initial weights and the dropout have no other source
        self.network: AttributeNetwork = (
            course.subject.network().to(self.device).to(memory_format=torch.channels_last)
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=course.peak_rate, weight_decay=1e-3)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, course.peak_rate, total_steps=steps, pct_start=0.15
        )
        self.step = 0

    def learn(self, lesson: _Lesson, precision: Precision) -> dict[str, float]:
        """Take one step, and return each attribute's cross-entropy."""
        names = tuple(self.course.subject.choices)
        images = disturb(lesson.image.to(self.device), self.generator)
        labels, places = lesson.labels.to(self.device), lesson.places.to(self.device)
        with _arithmetic(self.device, precision):
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
        self.optimizer.zero_grad()
        torch.stack([*losses, *missed]).sum().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return {name: loss.item() for name, loss in zip(names, losses, strict=True)}

    def save(self, path: Path) -> None:
        """Write a checkpoint; see :func:`save_checkpoint`."""
        state = {
            "run": self._name(),
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
        }
        save_checkpoint(state, path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["run"] != self._name():
            raise TrainingError(
                f"nothing was trained: {path} belongs to a run with other settings. Remove it, or give those."
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        self.step = state["step"]

    def _name(self) -> list[Any]:
        return [self.course.subject.name, self.steps, self.course.batch, self.seed, self.device.type]


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
    """Train a network, or go on with one.

    Args:
        course: What to learn.
        seed: Of the initial weights, the pictures and their disturbances.
        device: Where to compute.
        precision: Of the convolutions; ``auto`` takes bfloat16 where the device computes in it.
        workers: Processes that draw and decode; 0 draws in this one.
        checkpoint: File to go on from if it exists, and to save to. On a processor, a run that was stopped and goes
            on ends with the weights of one that was not; on a GPU the dropout differs.
        checkpoint_every: Steps between two checkpoints, each with the accuracy on pictures for validation.
        stop_after: End before this step with what has been learned; for trying out how long all of them take.

    Raises:
        TrainingError: If the checkpoint belongs to another run.
    """
    run = _Run(course, steps=course.steps, seed=seed, device=device)
    if checkpoint is not None and checkpoint.exists():
        run.restore(checkpoint)
    end = course.steps if stop_after is None else min(stop_after, course.steps)
    drawings = _Drawings(course, seed)
    kept = drawings if course.different is None else _draw_all(drawings, workers)
    lessons = _Lessons(kept, course, run.step * course.batch, seed, end * course.batch)
    loader = DataLoader(
        lessons,
        batch_size=course.batch,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        generator=torch.Generator(),  # else it takes from the numbers of the dropout
    )
    start, first = time.monotonic(), run.step
    run.network.train()
    for lesson in loader:
        losses = run.learn(_Lesson(*lesson), precision)
        if run.step % 50 == 0 or run.step == end:
            shown = " ".join(f"{name} {loss:.2f}" for name, loss in losses.items())
            each = (time.monotonic() - start) / (run.step - first)
            _logger.info("step %d of %d, %.2f s each: %s", run.step, course.steps, each, shown)
        if checkpoint is not None and (run.step % checkpoint_every == 0 or run.step == end):
            run.save(checkpoint)
            if run.step < course.steps:
                model = LocalVisionModel(copy.deepcopy(run.network).cpu().eval(), course.subject)
                reached = accuracies(model, course, seed=seed, pictures=_CHECK_PICTURES, split="val")
                _logger.info("validation: %s", _in_words(reached))
    return run.network


def accuracies(
    model: LocalVisionModel, course: Course, *, seed: int, pictures: int, split: Split = "test"
) -> dict[str, float]:
    """Return the accuracy of each attribute on fresh pictures after a JPEG round trip."""
    right = dict.fromkeys(course.subject.choices, 0)
    for start in range(0, pictures, 50):
        lessons = []
        for index in range(start, min(start + 50, pictures)):
            picture = course.draw(np.random.default_rng((seed, STREAMS[split], index)), split)
            lessons.append(_keep(picture, course.subject, TEST_QUALITY).lesson(course.subject))
        believed = model.log_probabilities(torch.stack([lesson.image for lesson in lessons]))
        for column, name in enumerate(right):
            truth = torch.stack([lesson.labels[column] for lesson in lessons])
            right[name] += int((believed[name].argmax(1) == truth).sum())
    return {name: count / pictures for name, count in right.items()}


def save(network: AttributeNetwork, folder: Path, course: Course, *, seed: int) -> dict[str, float]:
    """Write half-precision weights and their card, and return the accuracies of what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = save_tensors(tensors)
    card: dict[str, Any] = {
        **course.about,
        "seed": seed,
        "steps": course.steps,
        "batch": course.batch,
        "different": course.different or course.steps * course.batch,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    (folder / "model.safetensors").write_bytes(weights)
    _write_card(folder, card)
    reached = accuracies(
        LocalVisionModel.load(folder, subject=course.subject), course, seed=seed, pictures=TEST_PICTURES
    )
    card["test"] = f"{TEST_PICTURES} fresh pictures, JPEG quality {TEST_QUALITY}"
    card["accuracy"] = reached
    _write_card(folder, card)
    return reached


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _in_words(reached: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in reached.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save and report.

    Args:
        arguments: Of the command line; by default the process's own.

    Returns:
        The exit code: 0 when done, 2 if something that was given can't be used.
    """
    parser = argparse.ArgumentParser(description="Train a local vision model of the sandbox.")
    parser.add_argument("subject", nargs="?", choices=("scenes", "scenes-b", "cards"), default="scenes")
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
        drawn = {"scenes": SCENE_COURSE, "scenes-b": SECOND_SCENE_COURSE}
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
            return 0
        reached = save(network, folder, course, seed=given.seed)
    except VPPError as error:
        _logger.error("%s", error)  # noqa: TRY400  one line, as on the command line
        return 2
    checkpoint.unlink(missing_ok=True)
    _logger.info("accuracy: %s", _in_words(reached))
    return 0


if __name__ == "__main__":
    sys.exit(main())
