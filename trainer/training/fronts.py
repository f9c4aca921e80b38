"""Fronts that a run measures on the validation split, and the weights that reached the best of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import torch

from langchain_vpp.artifact import FrontPoint
from langchain_vpp.network.protector import Protector
from trainer.algorithms.pareto import hypervolume
from trainer.training.budget import FRONT_LEVELS
from trainer.training.calibration import leak_at, level_knots
from trainer.training.fresh_attack import FreshAttack, Reading
from trainer.training.references import ask_references, draw_pairs, shown
from trainer.training.validation import Validation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from trainer.data.dataset import Dataset
    from trainer.oracle.oracle import Asks
    from trainer.training.batches import TrainingSplit
    from trainer.training.budget import BudgetPlan
    from trainer.training.config import TrainerConfig
    from trainer.training.learners import Learners


SHORT_RUN: Final = 100
"""Planned steps below which no fresh attacker judges a run."""
LEAKS_TOO_MUCH: Final = 0.25
"""Leak at level 1 above which a protector hides too little."""


class Candidate(NamedTuple):
    """Weights whose front was measured on the validation split."""

    step: int
    weights: dict[str, Tensor]
    knots: tuple[float, ...]
    """Calibration of the level."""
    front: tuple[FrontPoint, ...]
    hypervolume: float
    """Area under the front, reference (leak 1, utility 0)."""

    def with_front(self, front: tuple[FrontPoint, ...]) -> Candidate:
        """Return the same weights with a front; values outside [0, 1] are noise."""
        area = hypervolume([(max(point.leak, 0.0), min(point.utility, 1.0)) for point in front])
        return self._replace(front=front, hypervolume=area)

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


def _worth(candidate: Candidate) -> tuple[bool, float]:
    """Key by which candidates are compared: hiding enough at level 1, then the area under the front."""
    hides = not candidate.front or candidate.front[-1].leak <= LEAKS_TOO_MUCH
    return hides, candidate.hypervolume


class Fronts:
    """Measures fronts of the averaged protector, and keeps the weights of the best.

    Args:
        config: Settings.
        plan: Division of the budget.
        dataset: Its validation split is loaded before the first front.
        split: Training images, for the fresh attacker.
        learners: The averaged protector and the assessor.
        oracle: Answers the questions about protected validation images.
        progress: Called with the number of levels that have been measured, after each level.
    """

    def __init__(
        self,
        config: TrainerConfig,
        plan: BudgetPlan,
        dataset: Dataset,
        split: TrainingSplit,
        learners: Learners,
        *,
        oracle: Asks,
        progress: Callable[[int], None],
    ) -> None:
        self._config, self._plan, self._dataset = config, plan, dataset
        self._split, self._learners, self._oracle, self._progress = split, learners, oracle, progress
        self._best: Candidate | None = None
        self._found: dict[int, tuple[Reading, ...]] = {}
        """Readings of the fresh attacker, by the step of the weights."""
        self._stale = 0
        """Fronts in a row without a larger hypervolume."""

    @cached_property
    def validation(self) -> Validation:
        """The validation split."""
        return Validation.of(self._dataset, self._config.protector.working_resolution)

    @cached_property
    def attack(self) -> FreshAttack | None:
        """Attacker that never met the protector; ``None`` if the settings leave the leak to the assessor.

        So does a short run: it has not learned to hide anything yet, and the attack would take longer than the run.
        """
        if not self._config.audit_images or self._config.steps < SHORT_RUN:
            return None
        return FreshAttack(
            self._dataset.private_attributes,
            self._split,
            self.validation,
            images=self._config.audit_images,
            seed=self._config.seed,
        )

    @property
    def measured_by(self) -> str:
        """Who measures the fronts, and on which pictures."""
        attacker = "the training assessor" if self.attack is None else "a fresh attacker"
        return f"{attacker} and the chat model, on the validation split"

    def most_private_leak(self, step: int) -> float | None:
        """Leak that a fresh attacker finds at level 1 in the present weights; ``None`` without such an attacker.

        It comes there from the weaker levels: an attacker that begins with the strongest reads less.
        """
        if self.attack is None:
            return None
        return self._readings(self.attack, self._calibrated(step))[-1].leak.value

    def _readings(self, attack: FreshAttack, candidate: Candidate) -> tuple[Reading, ...]:
        """What the attacker reads at all levels of a front; the same weights are attacked once."""
        if candidate.step not in self._found:
            self._found[candidate.step] = attack.readings(self.protector(candidate), FRONT_LEVELS)
        return self._found[candidate.step]

    def assessed_leak(self, protector: Protector, level: float) -> float:
        """Leak that the present assessor finds at a network level."""
        self._learners.assessor.eval()
        return leak_at(protector, self._learners.assessor, self.validation, level)

    def refer(self) -> None:
        """Replace the reference answers by the chat model's own about originals that may be shown."""
        validation, count = self.validation, self._plan.front_point
        pairs = draw_pairs(validation.phrasings, shown(self._dataset, "val"), count, seed=self._config.seed)
        self._take_references(
            ask_references(self._oracle, validation.space, validation.images, validation.phrasings, pairs)
        )

    def _take_references(self, references: Tensor) -> None:
        self.validation = self.validation._replace(references=references)

    @property
    def is_stale(self) -> bool:
        """Whether the patience of the settings is exhausted."""
        return self._config.patience is not None and self._stale >= self._config.patience

    def update(self, step: int) -> dict[str, float]:
        """Measure the front of the present weights and keep them unless earlier ones are better.

        Args:
            step: Steps that are finished.

        Returns:
            Metrics: ``hypervolume``, and for each level ``leak/LEVEL`` and ``utility/LEVEL``.
        """
        candidate = self._measure(step)
        grown = self._best is None or candidate.hypervolume > self._best.hypervolume
        self._stale = 0 if grown else self._stale + 1
        if grown or self._best is None or candidate.hypervolume == self._best.hypervolume:
            self._best = candidate
        row = {"hypervolume": candidate.hypervolume}
        for point in candidate.front:
            row |= {f"leak/{point.level:g}": point.leak, f"utility/{point.level:g}": point.utility}
        return row

    def choose(self, step: int) -> Candidate:
        """Return the best weights of all: the present ones, or those of an earlier and better front.

        The present weights are not measured in a run that ended because its fronts no longer grew. A fresh attacker
        judges both; weights that hide enough at level 1 are better than any that don't.

        Args:
            step: Steps that are finished.
        """
        candidates = [] if self._best is None else [self._best]
        if self._best is None or not self.is_stale:
            candidates.append(self._measure(step))
        return max(reversed([self._audited(each) for each in candidates]), key=_worth)

    def protector(self, candidate: Candidate) -> Protector:
        """Construct the calibrated protector of a candidate."""
        config = self._config.protector.model_copy(update={"level_knots": candidate.knots})
        protector = Protector(config)
        protector.load_state_dict(candidate.weights)
        return protector.eval()

    def state_dict(self) -> dict[str, Any]:
        """The best candidate, and for how long it has been the best."""
        state: dict[str, Any] = {
            "best": None if self._best is None else self._best.state_dict(),
            "stale": self._stale,
        }
        if self._config.references == "model":
            state["front_references"] = self.validation.references
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from :meth:`state_dict`."""
        self._best = None if state["best"] is None else Candidate.from_state(state["best"])
        self._stale = state["stale"]
        if "front_references" in state:
            self._take_references(state["front_references"])

    def _calibrated(self, step: int) -> Candidate:
        """Calibrate the level of the averaged weights."""
        averaged, assessor = self._learners.averaged_protector, self._learners.assessor
        assessor.eval()
        knots = level_knots(averaged, assessor, self.validation)
        return Candidate(step, averaged.shown_weights(), knots, front=(), hypervolume=0.0)

    def _measure(self, step: int) -> Candidate:
        """Calibrate the level of the averaged weights and measure their front."""
        candidate = self._calibrated(step)
        return candidate.with_front(self._front(self.protector(candidate)))

    def _audited(self, candidate: Candidate) -> Candidate:
        """Replace the assessor's readings by those of a fresh attacker."""
        if self.attack is None or not candidate.front:
            return candidate
        found = self._readings(self.attack, candidate)
        return candidate.with_front(
            tuple(
                point.model_copy(
                    update={"leak": each.leak.value, "leak_interval": (each.leak.low, each.leak.high)}
                )
                for point, each in zip(candidate.front, found, strict=True)
            )
        )

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
            leak = self.assessed_leak(protector, network_level)
            points.append(FrontPoint(level=level, leak=leak, utility=scores.utility, answers=scores.answers))
            self._progress(count)
        return tuple(points)
