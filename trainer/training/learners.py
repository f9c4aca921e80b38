"""The networks that learn during a run, and their optimizers."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from langchain_vpp.network.protector import Protector
from trainer.algorithms.augmentation import augment
from trainer.algorithms.interface import LabelledImages
from trainer.algorithms.surrogate import DistilledStudent
from trainer.algorithms.vqa_network import VQANetwork
from trainer.runtime.checkpoint import fits
from trainer.runtime.optim import SHORTEST_CYCLE, OneCycle, average_weights, fit
from trainer.runtime.rng import keyed_generator
from trainer.training.assessor import Assessor
from trainer.training.estimators import named_estimator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn
    from torch.optim.swa_utils import AveragedModel

    from trainer.algorithms.interface import AnswerSpace, Records, UtilityEstimator
    from trainer.training.batches import TrainingSplit
    from trainer.training.config import TrainerConfig

_PRETRAINING_RATE = 4e-3
_PRETRAINING_BATCH = 64
_OF_ASSESSOR = ("assessor", "assessor_optimizer")


class SuppliedParts(NamedTuple):
    """Parts of a run that the caller supplies in place of those that the settings name."""

    estimator: UtilityEstimator | None = None
    assessor: Assessor | None = None
    protector: Protector | None = None
    """Weights to start from."""


class Learners(NamedTuple):
    """The networks that learn during a run, and their optimizers."""

    protector: Protector
    averaged: AveragedModel
    """Moving average of the protector's weights, which becomes the artifact."""
    assessor: Assessor
    estimator: UtilityEstimator
    optimizer: torch.optim.Optimizer
    """Optimizer of the protector."""
    assessor_optimizer: torch.optim.Optimizer

    @classmethod
    def build(
        cls,
        config: TrainerConfig,
        supplied: SuppliedParts,
        space: AnswerSpace,
        attributes: Mapping[str, tuple[str, ...]],
        split: TrainingSplit,
    ) -> Self:
        """Construct new networks from the seed, or take those that the caller supplies.

        Args:
            config: Settings.
            supplied: Parts in place of new ones. The protector is copied; the others are trained in place.
            space: Questions and answers.
            attributes: Private attributes and their classes.
            split: Training images, for the student.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # layers draw their weights from torch's global generator only
            # Processors convolve fastest in the layout channels_last.
            protector = Protector(config.protector).to(memory_format=torch.channels_last)
            given = supplied.protector
            if given is not None:
                protector.load_state_dict(given.state_dict())
            assessor = supplied.assessor or Assessor(
                attributes, width=config.reader_width, moving=split.images.ndim == 5
            )
            assessor = assessor.to(memory_format=torch.channels_last)
            estimator = supplied.estimator or named_estimator(
                config, space, LabelledImages(split.images, split.known)
            )
        return cls(
            protector,
            average_weights(protector, config.ema_decay),
            assessor,
            estimator,
            torch.optim.AdamW(protector.parameters(), lr=config.learning_rate, weight_decay=0.0),
            torch.optim.AdamW(assessor.parameters(), lr=assessor.learning_rate, weight_decay=1e-2),
        )

    @property
    def averaged_protector(self) -> Protector:
        """The protector with averaged weights; it must not be trained."""
        return cast("Protector", self.averaged.module)

    def draw(self, share: float) -> None:
        """Have the protector show a share of what it draws; see :meth:`Protector.draw`."""
        for protector in (self.protector, self.averaged_protector):
            protector.draw(share)

    def pretrain_assessor(
        self, config: TrainerConfig, split: TrainingSplit, progress: Callable[[int], None]
    ) -> None:
        """Let the assessor learn from labelled images, unless it has learned; costs no query.

        Args:
            config: Settings.
            split: Training images.
            progress: Called after each step with the number of steps so far.
        """
        if not self.assessor.has_learned:
            self.teach_assessor(config, split, progress)

    def pretrain_estimator(
        self, config: TrainerConfig, progress: Callable[[int], None], *, turn: int = 0
    ) -> None:
        """Let the estimator learn what costs no query.

        Args:
            config: Settings.
            progress: Called after each step with the number of steps so far.
            turn: Number of times that it has learned before, so that it sees other batches.
        """
        reader = self.assessor.reader
        if (
            config.student_start == "assessor"
            and isinstance(self.estimator, DistilledStudent)
            and isinstance(reader, VQANetwork)
        ):
            self.estimator.begin_with(reader)
        self.estimator.pretrain(
            config.pretraining_steps,
            learning_rate=_PRETRAINING_RATE,
            generator=keyed_generator(config.seed, "student", turn),
            progress=_counted(progress),
        )

    def teach_assessor(
        self, config: TrainerConfig, split: TrainingSplit, progress: Callable[[int], None], *, turn: int = 0
    ) -> None:
        """Let the assessor learn from labelled originals.

        Args:
            config: Settings.
            split: Training images.
            progress: Called after each step with the number of steps so far.
            turn: Number of times that it has been taught before, so that it sees other batches.
        """
        steps = config.pretraining_steps

        def loss(generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(split.images), (_PRETRAINING_BATCH,), generator=generator)
            level = torch.rand(_PRETRAINING_BATCH, generator=generator)  # originals look alike at every level
            images = augment(split.images[rows].float() / 255, noise=0.02, generator=generator)
            return self.assessor.loss(images, level, split.labels[rows])

        self.assessor.train()
        tick = _counted(progress)
        fit(
            OneCycle(
                self.assessor.parameters(),
                steps=max(steps, SHORTEST_CYCLE),
                learning_rate=_PRETRAINING_RATE,
                clip=1.0,
            ),
            loss,
            itertools.repeat(keyed_generator(config.seed, "assessor", turn), steps),
            on_step=lambda _, __: tick(),
        )

    def state_dict(self) -> dict[str, Any]:
        """State of all networks and optimizers."""
        return {name: part.state_dict() for name, part in self._asdict().items()}

    def have_changed(self, state: Mapping[str, Any]) -> bool:
        """Return whether an earlier version wrote a state, whose assessor or student was of another shape."""
        student, saved = getattr(self.estimator, "network", None), state["estimator"].get("network")
        return not fits(self.assessor, state["assessor"]) or bool(
            student is not None and saved is not None and not fits(student, saved)
        )

    def load_state_dict(self, state: Mapping[str, Any], recall: Callable[[], Records | None]) -> None:
        """Restore; an assessor or a student of another shape is left as it is.

        Args:
            state: From :meth:`state_dict`.
            recall: See :meth:`~trainer.algorithms.interface.UtilityEstimator.load_state_dict`.
        """
        left = {"estimator"} if fits(self.assessor, state["assessor"]) else {"estimator", *_OF_ASSESSOR}
        for name, part in self._asdict().items():
            if name not in left:
                part.load_state_dict(state[name])
        self.estimator.load_state_dict(state["estimator"], recall)


def _counted(progress: Callable[[int], None]) -> Callable[[], None]:
    """Return a function that reports 1, 2, 3 and so on."""
    counter = itertools.count(1)
    return lambda: progress(next(counter))


def weights_digest(network: nn.Module | None) -> str:
    """sha256, in hex, of a network's weights as safetensors; empty without a network."""
    if network is None:
        return ""
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    return hashlib.sha256(save_tensors(weights)).hexdigest()
