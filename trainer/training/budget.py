"""The arithmetic of a run's query budget, for the training loop and for the estimate before it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import torch

from langchain_vpp.errors import TrainingError
from trainer.runtime.rng import keyed_generator
from trainer.training.batches import draw_rows
from trainer.training.estimators import named_zeroth_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from trainer.algorithms.interface import AnswerSpace
    from trainer.training.config import TrainerConfig

FRONT_LEVELS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""User levels at which fronts are measured on the validation split."""


class BudgetPlan(NamedTuple):
    """Division of a run's queries between training and the fronts on the validation split."""

    training: int
    """Queries for training."""
    front_point: int
    """Queries at each level of each front."""
    steps: int
    """Protector steps."""
    warmup_steps: int
    """Steps before the first query."""
    validation_steps: frozenset[int]
    """Numbers of finished steps at which a front is measured, besides the one at the end."""
    references: int = 0
    """Queries about originals of training pictures, for reference answers."""

    @classmethod
    def of(cls, config: TrainerConfig) -> Self:
        """Divide the budget of a run."""
        reserve = int(config.validation * config.max_queries)
        warmup = int(config.query_warmup * config.steps)
        fronts = config.validations + 1
        by_model = config.references == "model"
        bought = int(_reference_share(config) * (config.max_queries - reserve)) if by_model else 0
        return cls(
            training=config.max_queries - reserve - bought,
            front_point=reserve // (len(FRONT_LEVELS) * fronts + by_model),
            steps=config.steps,
            warmup_steps=warmup,
            validation_steps=frozenset(
                warmup + (config.steps - warmup) * turn // fronts for turn in range(1, fronts)
            )
            - {0},
            references=bought,
        )

    def due(self, step: int, *, planned: int, saved: int, generator: torch.Generator) -> int:
        """Count the queries that are due in a step.

        The training budget that is left is spread over the steps that are left, and rounded at random without bias.

        Args:
            step: Steps that are finished.
            planned: Queries that earlier steps chose.
            saved: Queries that earlier steps were due and did not choose; they are due again.
            generator: Source of randomness; not used before the first query.

        Returns:
            Queries, at most the budget that is left.
        """
        if not self.warmup_steps <= step < self.steps:
            return 0
        left = self.training - planned
        share = (left - saved) / (self.steps - step)
        due = saved + math.floor(share + float(torch.rand((), generator=generator)))
        return max(0, min(left, due))

    def front_queries(self, measurable: int) -> int:
        """Count the queries of all fronts.

        Args:
            measurable: (Image, question) pairs of the validation split.
        """
        fronts = len(self.validation_steps) + 1
        return fronts * len(FRONT_LEVELS) * min(self.front_point, measurable)


def _reference_share(config: TrainerConfig) -> float:
    match config.estimator:
        case "none":
            return 0.0
        case "label-only":
            return 1.0
    return config.reference_share


def require_price(max_cost: float | None, price: tuple[float, float] | None) -> None:
    """Refuse a limit on cost without the price of tokens.

    Raises:
        TrainingError: If there is a limit and no price.
    """
    if max_cost is not None and price is None:
        raise TrainingError("a limit on cost needs the price of tokens; nothing was sent. Give config.price.")


def plan_training_queries(config: TrainerConfig, space: AnswerSpace, references: Tensor) -> int:
    """Count the queries that training will choose, by drawing the batches of all steps in advance.

    The count is exact for a run to its last step, with one exception: a student that asks several questions per call
    chooses whole requests only, and may end with fewer.

    Args:
        config: Settings of the run.
        space: Questions and answers.
        references: Index of the reference answer to each question about each training image, shape ``[N, Q]``; ``-1``
            where it can't be asked.
    """
    plan = BudgetPlan.of(config)
    count = _proposal_counter(config, space)
    planned = saved = 0
    for step in range(plan.warmup_steps, plan.steps):
        generator = batch_generator(config.seed, step)
        rows, _ = draw_rows(len(references), config.batch, generator)
        due = plan.due(step, planned=planned, saved=saved, generator=generator)
        chosen = count(references[rows], due)
        planned, saved = planned + chosen, due - chosen
    return planned


def batch_generator(seed: int, step: int) -> torch.Generator:
    """Source of randomness of a step's batch, of its number of queries, and of their choice, in this order."""
    return keyed_generator(seed, "batch", step)


def _proposal_counter(config: TrainerConfig, space: AnswerSpace) -> Callable[[Tensor, int], int]:
    """Return a function that counts the probes of an estimator, given a batch's references and the queries due."""
    if config.estimator in {"none", "label-only"}:
        return lambda _references, _due: 0
    if config.estimator == "student":
        return lambda references, due: min(due, int((references >= 0).sum()))
    estimator = named_zeroth_order(config, space)
    side = config.zeroth_order.cell or 8
    blank = torch.full((config.batch, 3, side, side), 0.5)
    generator = keyed_generator(config.seed, "planned proposals")
    return lambda references, due: len(estimator.propose(blank, references, due, generator=generator).rows)
