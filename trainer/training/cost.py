"""Estimates of what training will ask and cost, before anything is asked.

Image tokens and list prices are those of :mod:`langchain_vpp.providers`. Every estimate says what it is based on, and
the user's own price comes first.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from langchain_vpp.images.codec import decode_image
from langchain_vpp.network.protector import working_size
from langchain_vpp.providers import AS_OF, FAMILIES, find_model
from trainer.data.answers import answer_space, as_query, asked_tasks, references
from trainer.oracle.clips import unpack
from trainer.oracle.ledger import Price
from trainer.oracle.query import Query
from trainer.oracle.tokens import CHARACTERS_PER_TOKEN, PROMPT_OVERHEAD
from trainer.training.budget import BudgetPlan, plan_training_queries
from trainer.training.references import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain_vpp.providers import Model
    from trainer.data.dataset import Dataset
    from trainer.training.config import TrainerConfig

_ANSWER_OVERHEAD: Final = 8
"""Tokens of an answer's name or number among several."""
_PICTURES_LOOKED_AT: Final = 200


class _Seen(NamedTuple):
    """Size of the pictures of a request, and their number."""

    width: int
    height: int
    frames: int = 1

    @classmethod
    def largest(cls, sizes: Sequence[tuple[int, int]], frames: Iterable[int]) -> Self:
        """Take the greatest width, height and number of frames of several pictures or clips."""
        return cls(
            max(width for width, _ in sizes), max(height for _, height in sizes), max(frames, default=1)
        )


class _Load(NamedTuple):
    """Number of queries and of requests."""

    queries: int
    requests: int
    together: bool
    """Whether several questions may share a request."""


class CostEstimate(NamedTuple):
    """Upper limit of the queries of a run, and an estimate of their tokens and cost."""

    queries: int
    """Questions about pictures; each is a row of the ledger."""
    requests: int
    """Calls of the chat model; fewer than queries where several questions share one."""
    input_tokens: int
    output_tokens: int
    """Without any hidden reasoning, which some models also charge."""
    cost: float | None
    """US dollars; ``None`` if no price is known."""
    basis: str
    """Source of the figures, so that the user can judge them."""

    @property
    def line(self) -> str:
        """The whole estimate in one line."""
        cost = "an unknown cost"
        if self.cost is not None:
            cost = f"about ${self.cost:.2f}" if self.cost >= 1 else f"about ${self.cost:.2g}"
        return (
            f"at most {self.queries:,} queries in {self.requests:,} requests, about {self.input_tokens:,} input and "
            f"{self.output_tokens:,} output tokens, {cost} ({self.basis})"
        )


def list_price(model: str) -> Price | None:
    """Return the published price of a model, named alone or as ``provider:name``; ``None`` if it is not known."""
    listed = find_model(model)
    return None if listed is None else Price(listed.input, listed.output)


def estimate(config: TrainerConfig, dataset: Dataset, model: str, price: Price | None = None) -> CostEstimate:
    """Estimate the queries and the cost of a training run, without asking anything.

    Args:
        config: Settings of the run.
        dataset: Data set of the run; some of the pictures are opened for their size.
        model: Name of the chat model, alone or as ``provider:name``.
        price: Price that the user pays; the list price if not given.

    Raises:
        DataError: If a picture can't be read.
    """
    prompts, answers = _texts(dataset)
    return _estimate(
        _planned(config, dataset),
        _canvas(dataset, config.protector.working_resolution),
        _text_tokens(prompts, answers),
        model,
        price,
    )


def estimate_queries(
    queries: Sequence[Query], model: str, price: Price | None = None, *, questions_per_call: int = 1
) -> CostEstimate:
    """Estimate the cost of some queries, without asking them.

    Args:
        queries: Queries; equal ones are asked once.
        model: Name of the chat model, alone or as ``provider:name``.
        price: Price that the user pays; the list price if not given.
        questions_per_call: Most questions about one picture in one request.
    """
    asked = dict.fromkeys(queries)
    by_image = Counter(query.image for query in asked)
    packed = [unpack(image) for image in list(by_image)[:_PICTURES_LOOKED_AT]]
    return _estimate(
        _Load(
            len(asked),
            sum(math.ceil(count / questions_per_call) for count in by_image.values()),
            together=questions_per_call > 1,
        ),
        _Seen.largest([decode_image(frames[0]).size for frames in packed], map(len, packed)),
        _text_tokens(
            [query.prompt for query in asked],
            [choice for query in asked for choice in query.choices or ("one word",)],
        ),
        model,
        price,
    )


def estimate_at_most(count: int, dataset: Dataset, model: str, price: Price | None = None) -> CostEstimate:
    """Estimate the cost of so many questions about a data set's pictures at their own size, each asked alone.

    Args:
        count: Most queries.
        dataset: The data set; some of the pictures are opened for their size.
        model: Name of the chat model, alone or as ``provider:name``.
        price: Price that the user pays; the list price if not given.

    Raises:
        DataError: If a picture can't be read.
    """
    examples = dataset.examples[:_PICTURES_LOOKED_AT]
    clips = [dataset.open_frames(example) for example in examples]
    tasks = [task for example in examples for task in example.tasks]
    prompts = [Query(b"", task.question, task.choices, "words").prompt for task in tasks]
    return _estimate(
        _Load(count, count, together=False),
        _Seen.largest([clip[0].size for clip in clips], map(len, clips)),
        _text_tokens(prompts, [task.answer for task in tasks]),
        model,
        price,
    )


def _estimate(
    load: _Load, seen: _Seen, text_tokens: tuple[int, int], model: str, price: Price | None
) -> CostEstimate:
    queries, requests, together = load
    (width, height, frames), (prompt, answer) = seen, text_tokens
    listed = find_model(model)
    family = FAMILIES[0] if listed is None else listed.family
    image_tokens = family.tokens(width, height)
    overhead = _ANSWER_OVERHEAD if together else 0
    input_tokens = requests * (frames * image_tokens + PROMPT_OVERHEAD) + queries * prompt
    output_tokens = queries * (answer + overhead)
    charged = price or list_price(model)
    cost = None if charged is None else (input_tokens * charged.input + output_tokens * charged.output) / 1e6
    return CostEstimate(
        queries,
        requests,
        input_tokens,
        output_tokens,
        cost,
        f"{f'{frames} times ' if frames > 1 else ''}{image_tokens} tokens for a picture of {width} x {height} px, "
        + ("as for this model" if listed is not None else "a guess for a model that the table lacks")
        + f"; {_price_basis(price, listed)}",
    )


def _price_basis(price: Price | None, listed: Model | None) -> str:
    if price is not None:
        return f"your price of ${price.input:g} and ${price.output:g} per million tokens"
    if listed is None:
        return "no price is known: give --price"
    return (
        f"the list price of {AS_OF}, ${listed.input:g} and ${listed.output:g} per million tokens, "
        f"which may be out of date: see {listed.family.prices}"
    )


def _planned(config: TrainerConfig, dataset: Dataset) -> _Load:
    """Count the queries that a run plans, and the requests that hold them."""
    space = answer_space(dataset)
    train, held_out = (references(dataset.split(split), space) for split in ("train", "val"))
    training, plan = plan_training_queries(config, space, train), BudgetPlan.of(config)
    fronts = plan.front_queries(int((held_out >= 0).sum()))
    if config.references == "model":
        fronts += plan.front_point + min(plan.references, int((train[shown(dataset, "train")] >= 0).sum()))
    requests = training
    if config.estimator == "student":  # others ask about perturbed copies, each a picture of its own
        asked = (train >= 0).sum(dim=1).float()
        per_picture = (asked / config.questions_per_call).ceil().sum().clamp(min=1)
        requests = math.ceil(training / max(1.0, float(asked.sum() / per_picture)))
    return _Load(training + fronts, requests + fronts, together=config.questions_per_call > 1)


def _canvas(dataset: Dataset, working_resolution: int) -> _Seen:
    """Size of the pictures that are sent, since training puts all on one canvas, and the frames of the longest clip."""
    clips = [dataset.open_frames(example) for example in dataset.split("train")[:_PICTURES_LOOKED_AT]]
    return _Seen.largest([working_size(*clip[0].size, working_resolution) for clip in clips], map(len, clips))


def _texts(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Prompts that training will send, each as often as it stands in the data, and answers that they may have."""
    space = answer_space(dataset)
    phrasings = asked_tasks(dataset.split("train"), space).phrasings
    asked = phrasings[phrasings >= 0].tolist()
    prompts = {each: as_query(space, b"", each).prompt for each in set(asked)}
    return [prompts[each] for each in asked], list(space.answers)


def _text_tokens(prompts: Sequence[str], answers: Sequence[str]) -> tuple[int, int]:
    """Mean tokens of a question and most tokens of an answer."""
    return (
        math.ceil(sum(map(len, prompts)) / len(prompts) / CHARACTERS_PER_TOKEN),
        math.ceil(max(map(len, answers)) / CHARACTERS_PER_TOKEN) + 1,
    )
