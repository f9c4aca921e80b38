"""Fronts that a run measures on the validation split, and the weights that reached the best of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch

from langchain_vpp.artifact import FrontPoint
from langchain_vpp.network.protector import Protector
from trainer.algorithms.pareto import hypervolume
from trainer.training.budget import FRONT_LEVELS
from trainer.training.calibration import leak_at, level_knots
from trainer.training.references import ask_references, draw_pairs, shown
from trainer.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from trainer.data.dataset import Dataset
    from trainer.oracle.oracle import Oracle
    from trainer.oracle.subprocess import SubprocessOracle
    from trainer.training.budget import BudgetPlan
    from trainer.training.config import TrainerConfig
    from trainer.training.learners import Learners


class Candidate(NamedTuple):
    """Weights whose front was measured on the validation split."""

    step: int
    weights: dict[str, Tensor]
    knots: tuple[float, ...]
    """Calibration of the level."""
    front: tuple[FrontPoint, ...]
    hypervolume: float
    """Area under the front, reference (leak 1, utility 0)."""

    def state_dict(self) -> dict[str, Any]:
        """Convert to types that torch loads without unpickling."""
        points = [(point.level, point.leak, point.utility, point.answers) for point in self.front]
        return self._asdict() | {"front": points}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Restore from :meth:`state_dict`."""
        points = tuple(
            FrontPoint(level=level, leak=leak, utility=utility, answers=answers)
            for level, leak, utility, answers in state["front"]
        )
        return cls(**({**state, "front": points}))


class Fronts:
    """Measures fronts of the averaged protector, and keeps the weights of the best.

    Args:
        config: Settings.
        plan: Division of the budget.
        dataset: Its validation split is loaded before the first front.
        learners: The averaged protector and the assessor.
        oracle: Answers the questions about protected validation images.
        progress: Called with the number of levels that have been measured, after each level.
    """

    def __init__(
        self,
        config: TrainerConfig,
        plan: BudgetPlan,
        dataset: Dataset,
        learners: Learners,
        oracle: Oracle | SubprocessOracle,
        *,
        progress: Callable[[int], None],
    ) -> None:
        self._config, self._plan, self._dataset = config, plan, dataset
        self._learners, self._oracle, self._progress = learners, oracle, progress
        self._best: Candidate | None = None
        self._stale = 0
        """Fronts in a row without a larger hypervolume."""

    @cached_property
    def validation(self) -> Validation:
        """The validation split."""
        return Validation.of(self._dataset, self._config.protector.working_resolution)

    def refer(self) -> None:
        """Replace the reference answers by the chat model's own about originals that may be shown."""
        validation, count = self.validation, self._plan.front_point
        pairs = draw_pairs(
            validation.phrasings, shown(self._dataset, "val"), count, seed=self._config.seed
        )
        self._take_references(
            ask_references(self._oracle, validation.space, validation.images, validation.phrasings, pairs)
        )

    def _take_references(self, references: Tensor) -> None:
        self.validation = self.validation._replace(references=references)

    @property
    def is_stale(self) -> bool:
        """Whether the patience of the settings is exhausted."""
        return self._config.patience is not None and self._stale >= self._config.patience

    def update(self, step: int) -> float:
        """Measure the front of the present weights and keep them unless earlier ones are better.

        Args:
            step: Steps that are finished.

        Returns:
            Hypervolume of the front.
        """
        candidate = self._measure(step)
        grown = self._best is None or candidate.hypervolume > self._best.hypervolume
        self._stale = 0 if grown else self._stale + 1
        if grown or self._best is None or candidate.hypervolume == self._best.hypervolume:
            self._best = candidate
        return candidate.hypervolume

    def choose(self, step: int) -> Candidate:
        """Return the best weights of all: the present ones, or those of an earlier and better front.

        The present weights are not measured in a run that ended because its fronts no longer grew.

        Args:
            step: Steps that are finished.
        """
        if self._best is not None and self.is_stale:
            return self._best
        last = self._measure(step)
        if self._best is None or last.hypervolume >= self._best.hypervolume:
            return last
        return self._best

    def protector(self, candidate: Candidate) -> Protector:
        """Construct the calibrated protector of a candidate."""
        config = self._config.protector.model_copy(update={"level_knots": candidate.knots})
        protector = Protector(config)
        protector.load_state_dict(candidate.weights)
        return protector.eval()

    def state_dict(self) -> dict[str, Any]:
        """The best candidate, and for how long it has been the best."""
        state = {"best": None if self._best is None else self._best.state_dict(), "stale": self._stale}
        if self._config.references == "model":
            state["front_references"] = self.validation.references
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from :meth:`state_dict`."""
        self._best = None if state["best"] is None else Candidate.from_state(state["best"])
        self._stale = state["stale"]
        if "front_references" in state:
            self._take_references(state["front_references"])

    def _measure(self, step: int) -> Candidate:
        """Calibrate the level of the averaged weights and measure their front."""
        averaged, assessor = self._learners.averaged_protector, self._learners.assessor
        assessor.eval()
        knots = level_knots(averaged, assessor, self.validation)
        weights = {name: tensor.clone() for name, tensor in averaged.state_dict().items()}
        candidate = Candidate(step, weights, knots, front=(), hypervolume=0.0)
        front = self._front(self.protector(candidate))
        # Values outside [0, 1] are noise.
        area = hypervolume([(max(point.leak, 0.0), min(point.utility, 1.0)) for point in front])
        return candidate._replace(front=front, hypervolume=area)

    def _front(self, protector: Protector) -> tuple[FrontPoint, ...]:
        validation = self.validation
        pairs = validation.pairs(self._plan.front_point, seed=self._config.seed)
        if not len(pairs):
            return ()
        points = []
        for count, level in enumerate(FRONT_LEVELS, start=1):
            queries = validation.queries(protector, level, pairs)
            scores = validation.score(pairs, self._oracle.ask(queries, purpose="validate"))
            network_level = float(protector.calibrated(torch.tensor([level])))
            leak = leak_at(
                self._learners.averaged_protector, self._learners.assessor, validation, network_level
            )
            points.append(FrontPoint(level=level, leak=leak, utility=scores.utility, answers=scores.answers))
            self._progress(count)
        return tuple(points)
