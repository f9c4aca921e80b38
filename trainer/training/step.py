"""One training step: questions to the chat model, a protector step, and assessor steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import torch

from trainer.algorithms.pareto import aggregate_gradients, by_preference, smooth_tchebycheff, weighted_sum
from trainer.data.wire import encode
from trainer.runtime.processes import Alone
from trainer.runtime.rng import keyed_generator
from trainer.training.assessor import as_assessed, privacy_loss
from trainer.training.budget import batch_generator
from trainer.training.probing import Sent

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from langchain_vpp.network.protector import Protector
    from trainer.runtime.processes import Processes
    from trainer.training.batches import Batch, TrainingSplit
    from trainer.training.config import TrainerConfig
    from trainer.training.learners import Learners
    from trainer.training.probing import UtilityProbing

_WARMUP_STEPS: Final = 20
_FADE: Final = (0.3, 0.6)
"""Shares of the steps between which a drawing fades to grey."""


class TrainingStep:
    """Takes the steps of a run.

    Args:
        config: Settings.
        split: Training images.
        learners: Networks to train.
        probing: Asks the chat model.
        start: Protector that training started from, for ``reveal_penalty``.
        processes: Those that divide each batch among them.

    Attributes:
        leak: Moving average of the privacy loss without its pull, 0 where the assessor reads nothing and 1 where it is
            certain of every attribute; ``None`` before the first step.
    """

    def __init__(
        self,
        config: TrainerConfig,
        split: TrainingSplit,
        learners: Learners,
        probing: UtilityProbing,
        *,
        start: Protector | None,
        processes: Processes | None = None,
    ) -> None:
        self._config, self._split, self._learners, self._probing = config, split, learners, probing
        self._start, self._processes = start, processes or Alone()
        self.leak: float | None = None

    def take(self, step: int, *, strictness: float = 1.0, on_answer: Callable[[], None]) -> dict[str, float]:
        """Take one step.

        Args:
            step: Steps that are finished.
            strictness: Factor of the grey penalty.
            on_answer: Called after each new answer of the chat model is on disk.

        Returns:
            Metrics.
        """
        config, learners = self._config, self._learners
        learners.draw(self.drawn_share(step))
        generator = batch_generator(config.seed, step)
        batch = self._split.draw(config.batch, generator)
        protected = self._processes.rows(learners.protector.at_network_level, batch.images, batch.level)
        encoded, sent = encode(protected.detach())
        arrived = sent.float() / 255
        # Straight through the encoder (Bengio et al., 2013): the values that arrive with the gradient of what was
        # encoded. Otherwise the protector hides the task in detail that the student reads and the encoder drops.
        protected = protected + (arrived - protected).detach()

        learners.assessor.eval()
        read = learners.assessor(protected, batch.level)
        self._probing.ask(
            step,
            Sent(encoded, arrived, batch.references, batch.phrasings, batch.names),
            generator=generator,
            on_answer=on_answer,
        )
        row = learners.estimator.fit(generator=self._generator("fit", step))
        utility = learners.estimator.loss(
            protected, batch.references, generator=self._generator("perturb", step)
        )
        fidelity = (protected - batch.images).square().flatten(1).mean(dim=1)
        self._update_protector(
            step,
            self._scalarised(utility, privacy_loss(read), batch.level),
            config.fidelity * (1 - batch.level) * fidelity,
            self._hiding_penalty(protected, batch, strictness),
        )
        loss = self._update_assessor(step, protected.detach(), batch)
        privacy = float(privacy_loss(read.detach(), pull=0).mean())
        self.leak = privacy if self.leak is None else 0.9 * self.leak + 0.1 * privacy
        return row | {
            "utility_loss": float(utility.detach().mean()),
            "privacy_loss": privacy,
            "fidelity": float(fidelity.detach().mean()),
            "assessor_loss": loss,
            "queries": float(self._probing.planned),
        }

    def drawn_share(self, step: int) -> float:
        """Share of what the protector draws that is shown after some steps; see ``TrainerConfig.recolour``."""
        config = self._config
        if config.recolour == "learned":
            return 1.0
        if self._start is not None:
            return 0.0 if self._start.hides_in_grey else 1.0
        if config.recolour == "grey":
            return 0.0
        begin, end = _FADE
        return min(1.0, max(0.0, (end - step / config.steps) / (end - begin)))

    def _generator(self, purpose: str, step: int) -> torch.Generator:
        return keyed_generator(self._config.seed, purpose, step)

    def _scalarised(self, utility: Tensor, privacy: Tensor, level: Tensor) -> tuple[Tensor, ...]:
        """Combine two losses into one objective, or into two whose gradients are aggregated; ``[B]`` each."""
        match self._config.scalarisation:
            case "weighted_sum":
                return (weighted_sum(utility, privacy, level),)
            case "smooth_tchebycheff":
                return (smooth_tchebycheff(utility, privacy, level),)
            case "upgrad" | "mgda":
                return by_preference(utility, privacy, level)

    def _hiding_penalty(self, protected: Tensor, batch: Batch, strictness: float = 1.0) -> Tensor:
        """Weighted penalties on the distance from grey, and on pixels that training's start hid; shape ``[B]``."""
        config = self._config
        grey = (protected - 0.5).abs().flatten(1).mean(dim=1)
        rise = batch.level + config.grey_penalty_rise * batch.level**4
        penalty = strictness * config.grey_penalty * rise * grey
        if self._start is None or not config.reveal_penalty:
            return penalty
        with torch.no_grad():
            before = self._start.at_network_level(batch.images, batch.level)
        revealed = ((protected - 0.5).abs() - (before - 0.5).abs()).relu().flatten(1).mean(dim=1)
        return penalty + config.reveal_penalty * revealed

    def _update_protector(
        self, step: int, objectives: tuple[Tensor, ...], fidelity: Tensor, hiding_penalty: Tensor
    ) -> None:
        """Step down the objectives; ``fidelity`` goes with the first of them, ``hiding_penalty`` with the last."""
        config, learners = self._config, self._learners
        for group in learners.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        learners.optimizer.zero_grad(set_to_none=True)
        if config.scalarisation in {"upgrad", "mgda"}:
            first, last = objectives
            parts = ((first + fidelity).mean(), (last + hiding_penalty).mean())
            with torch.autocast("cpu", enabled=False):  # products of gradients need all their digits
                aggregate_gradients(parts, learners.protector.parameters(), config.scalarisation)
        else:
            (objective,) = objectives
            # Nobody needs the gradients of the assessor's and the student's weights here.
            trained = list(learners.protector.parameters())
            (objective + fidelity + hiding_penalty).mean().backward(inputs=trained)  # type: ignore[no-untyped-call]
            self._processes.add_up(trained)
        torch.nn.utils.clip_grad_norm_(learners.protector.parameters(), 1.0)
        learners.optimizer.step()
        learners.averaged.update_parameters(learners.protector)
        learners.draw(self.drawn_share(step + 1))

    def _update_assessor(self, step: int, protected: Tensor, batch: Batch) -> float:
        """Train the assessor on the protected batch and on batches of its own; returns the last loss."""
        assessor, optimizer = self._learners.assessor, self._learners.assessor_optimizer
        with torch.random.fork_rng(devices=[]):
            # A supplied assessor may have dropout, and torch's own takes no generator.
            torch.manual_seed(self._generator("dropout", step).initial_seed())
            loss = assessor.learn(optimizer, protected, batch.level, batch.labels)
            for turn in range(1, self._config.assessor_steps):
                # Other images: on the same batch again the assessor would learn it by heart.
                generator = self._generator(f"assessor/{turn}", step)
                other = self._split.draw(self._config.batch, generator)
                shown = as_assessed(
                    self._learners.protector,
                    other.images,
                    other.level,
                    originals=self._config.assessor_originals,
                    generator=generator,
                )
                loss = assessor.learn(optimizer, shown, other.level, other.labels)
        return float(loss)


def learning_rate(config: TrainerConfig, step: int) -> float:
    """Rate of the protector: linear warm-up, then cosine down to the floor, where it stays."""
    warm = min(1.0, (step + 1) / _WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps)))
    floor = config.learning_rate_floor
    return config.learning_rate * warm * (floor + (1 - floor) * cosine)
