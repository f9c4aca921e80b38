"""What training will ask and cost, before anything is asked.

Prices and image rules are those that providers publish. They change: a table of the past is a guess about the present,
so every estimate says what it is based on, and the user's own price comes first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from langchain_vpp.images.codec import decode_image
from langchain_vpp.network.protector import working_size
from trainer.data.answers import answer_space, references
from trainer.oracle.ledger import Price
from trainer.oracle.query import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainer.data.dataset import Dataset
    from trainer.training.config import TrainerConfig

AS_OF: Final = "2026-11"
"""When the list prices were noted, from the table of LiteLLM 1.109.1, which names the providers' pages below. They may
be out of date: look at the source before you rely on them."""

_OPENAI: Final = "https://developers.openai.com/api/docs/pricing"
_ANTHROPIC: Final = "https://platform.claude.com/docs/en/about-claude/pricing"
_GOOGLE: Final = "https://ai.google.dev/gemini-api/docs/pricing"
_MISTRAL: Final = "https://docs.mistral.ai/models/model-cards/mistral-small-4-0-26-03"

_CHARACTERS_PER_TOKEN: Final = 4
_PROMPT_OVERHEAD: Final = 12
"""Tokens of a request besides its text and picture."""
_ANSWER_OVERHEAD: Final = 8
"""Tokens of an answer's name or number among several."""
_PICTURES_LOOKED_AT: Final = 200
_FRONT_POINTS: Final = 5
"""Levels at which training measures the front on the validation split."""


class ListPrice(NamedTuple):
    """A published price."""

    price: Price
    source: str
    """Address of the provider's page."""
    image_tokens: Callable[[int, int], int]
    """Tokens of a picture of a width and height in pixels, as its provider describes it."""


def _tiles(base: int, tile: int) -> Callable[[int, int], int]:
    """OpenAI's rule of tiles of 512 px, after shrinking to 2,048 px and then to 768 px on the shorter side."""

    def tokens(width: int, height: int) -> int:
        scale = min(1.0, 2048 / max(width, height))
        scale = min(scale, 768 / min(width, height))
        return base + tile * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)

    return tokens


def _patches(size: int, factor: float, most: int) -> Callable[[int, int], int]:
    """One token per patch, times a factor, for no more than so many patches."""
    return lambda width, height: math.ceil(
        min(most, math.ceil(width / size) * math.ceil(height / size)) * factor
    )


def _area(width: int, height: int) -> int:
    """Anthropic's rule: width times height over 750, after shrinking to 1,568 px."""
    scale = min(1.0, 1568 / max(width, height))
    return math.ceil(width * height * scale * scale / 750)


def _gemini(width: int, height: int) -> int:
    """Google's rule: 258 tokens for a small picture, and for each tile of 768 px of a larger one."""
    return 258 if max(width, height) <= 384 else 258 * math.ceil(width / 768) * math.ceil(height / 768)


_GPT_4: Final = _tiles(85, 170)

LIST_PRICES: Final[dict[str, ListPrice]] = {
    "gpt-4o": ListPrice(Price(2.50, 10.00), _OPENAI, _GPT_4),
    "gpt-4o-mini": ListPrice(Price(0.15, 0.60), _OPENAI, _tiles(2833, 5667)),
    "gpt-4.1": ListPrice(Price(2.00, 8.00), _OPENAI, _GPT_4),
    "gpt-4.1-mini": ListPrice(Price(0.40, 1.60), _OPENAI, _patches(32, 1.62, 1536)),
    "gpt-5": ListPrice(Price(1.25, 10.00), _OPENAI, _tiles(70, 140)),
    "gpt-5-mini": ListPrice(Price(0.25, 2.00), _OPENAI, _patches(32, 1.62, 1536)),
    "gpt-5-nano": ListPrice(Price(0.05, 0.40), _OPENAI, _patches(32, 2.46, 1536)),
    "claude-haiku-4-5": ListPrice(Price(1.00, 5.00), _ANTHROPIC, _area),
    "claude-sonnet-4-6": ListPrice(Price(3.00, 15.00), _ANTHROPIC, _area),
    "claude-opus-4-8": ListPrice(Price(5.00, 25.00), _ANTHROPIC, _area),
    "gemini-2.5-flash-lite": ListPrice(Price(0.10, 0.40), _GOOGLE, _gemini),
    "gemini-2.5-flash": ListPrice(Price(0.30, 2.50), _GOOGLE, _gemini),
    "gemini-2.5-pro": ListPrice(Price(1.25, 10.00), _GOOGLE, _gemini),
    "mistral-small": ListPrice(Price(0.15, 0.60), _MISTRAL, _patches(28, 1.0, 3025)),
}
"""US dollars per million tokens by model name, and how pictures are counted; prices as of :data:`AS_OF`."""

_DATED: Final = re.compile(r"-(latest|preview|\d[\d-]*)")


class CostEstimate(NamedTuple):
    """What a run will ask at most."""

    queries: int
    """Questions about pictures; each is a row of the ledger."""
    requests: int
    """Calls; fewer than queries where several questions share one."""
    input_tokens: int
    output_tokens: int
    """Without any hidden reasoning, which some models also charge."""
    cost: float | None
    """US dollars; ``None`` if no price is known."""
    basis: str
    """Where the figures come from, for the user to judge."""

    @property
    def line(self) -> str:
        """All of it in one line."""
        cost = "an unknown cost"
        if self.cost is not None:
            cost = f"about ${self.cost:.2f}" if self.cost >= 1 else f"about ${self.cost:.2g}"
        return (
            f"at most {self.queries:,} queries in {self.requests:,} requests, about {self.input_tokens:,} input and "
            f"{self.output_tokens:,} output tokens, {cost} ({self.basis})"
        )


def list_price(model: str) -> ListPrice | None:
    """The published price of a model, by its name alone or ``provider:name``; ``None`` if it is not in the table.

    A dated version counts as its model.
    """
    for name in (model, model.partition(":")[2]):
        known = [each for each in LIST_PRICES if name == each or _is_version(name, each)]
        if known:
            return LIST_PRICES[max(known, key=len)]
    return None


def _is_version(name: str, model: str) -> bool:
    return name.startswith(model) and _DATED.fullmatch(name.removeprefix(model)) is not None


def estimate(config: TrainerConfig, dataset: Dataset, model: str, price: Price | None = None) -> CostEstimate:
    """Foresee what a training run asks and costs, without asking anything.

    Args:
        config: Its settings.
        dataset: Its data; some of the pictures are opened for their size.
        model: The chat model's name, alone or as ``provider:name``.
        price: The user's own; the list price if not given.

    Raises:
        DataError: If a picture can't be read.
    """
    train, validation = _queries(config, dataset)
    prompts, answers = _texts(dataset)
    return _estimate(
        _Load(
            train.queries + validation, train.requests + validation, together=config.questions_per_call > 1
        ),
        _canvas(dataset, config.protector.working_resolution),
        _text_tokens(prompts, answers),
        model,
        price,
    )


def estimate_queries(
    queries: Sequence[Query], model: str, price: Price | None = None, *, questions_per_call: int = 1
) -> CostEstimate:
    """Foresee what some queries cost, without asking them.

    Args:
        queries: Equal ones are asked once.
        model: The chat model's name, alone or as ``provider:name``.
        price: The user's own; the list price if not given.
        questions_per_call: Most questions about one picture in one request.
    """
    asked = dict.fromkeys(queries)
    by_image = Counter(query.image for query in asked)
    sizes = [decode_image(image).size for image in list(by_image)[:_PICTURES_LOOKED_AT]]
    return _estimate(
        _Load(
            len(asked),
            sum(math.ceil(count / questions_per_call) for count in by_image.values()),
            together=questions_per_call > 1,
        ),
        (max(width for width, _ in sizes), max(height for _, height in sizes)),
        _text_tokens(
            [query.prompt for query in asked],
            [choice for query in asked for choice in query.choices or ("one word",)],
        ),
        model,
        price,
    )


class _Load(NamedTuple):
    queries: int
    requests: int
    together: bool
    """Whether several questions may share a request."""


def _estimate(
    load: _Load, size: tuple[int, int], text_tokens: tuple[int, int], model: str, price: Price | None
) -> CostEstimate:
    queries, requests, together = load
    (width, height), (prompt, answer) = size, text_tokens
    listed = list_price(model)
    image_tokens = (_GPT_4 if listed is None else listed.image_tokens)(width, height)
    overhead = _ANSWER_OVERHEAD if together else 0
    input_tokens = requests * (image_tokens + _PROMPT_OVERHEAD) + queries * prompt
    output_tokens = queries * (answer + overhead)
    charged = price or (None if listed is None else listed.price)
    cost = None if charged is None else (input_tokens * charged.input + output_tokens * charged.output) / 1e6
    return CostEstimate(
        queries,
        requests,
        input_tokens,
        output_tokens,
        cost,
        f"{image_tokens} tokens for a picture of {width} x {height} px, "
        + ("as for this model" if listed is not None else "a guess for a model that the table lacks")
        + f"; {_price_basis(price, listed)}",
    )


def _price_basis(price: Price | None, listed: ListPrice | None) -> str:
    if price is not None:
        return f"your price of ${price.input:g} and ${price.output:g} per million tokens"
    if listed is None:
        return "no price is known: give --price"
    return (
        f"the list price of {AS_OF}, ${listed.price.input:g} and ${listed.price.output:g} per million tokens, "
        f"which may be out of date: see {listed.source}"
    )


class _Training(NamedTuple):
    queries: int
    requests: int


def _queries(config: TrainerConfig, dataset: Dataset) -> tuple[_Training, int]:
    """Queries of training, in how many requests, and those of the validation; as many as the budget allows."""
    space = answer_space(dataset)
    asked = (references(dataset.split("train"), space) >= 0).sum(dim=1).float()
    kept = int(config.validation * config.max_queries)
    measurable = int((references(dataset.split("val"), space) >= 0).sum())
    validation = min(kept, _FRONT_POINTS * measurable)
    if config.estimator == "none":
        return _Training(0, 0), validation
    if config.estimator != "student":  # others ask about perturbed copies, each a picture of its own
        return _Training(config.max_queries - kept, config.max_queries - kept), validation
    steps = config.steps - int(config.query_warmup * config.steps)
    train = min(config.max_queries - kept, math.floor(steps * config.batch * float(asked.mean())))
    requests = (asked / config.questions_per_call).ceil().sum().clamp(min=1)
    questions_per_request = max(1.0, float(asked.sum() / requests))
    return _Training(train, math.ceil(train / questions_per_request)), validation


def _canvas(dataset: Dataset, working_resolution: int) -> tuple[int, int]:
    """Width and height of what is sent: training puts all pictures on one canvas."""
    sizes = [
        working_size(*dataset.open_image(example).size, working_resolution)
        for example in dataset.split("train")[:_PICTURES_LOOKED_AT]
    ]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _texts(dataset: Dataset) -> tuple[list[str], list[str]]:
    """What may be asked and answered."""
    tasks = [task for example in dataset.split("train") for task in example.tasks]
    prompts = [Query(b"", task.question, task.choices).prompt for task in tasks]
    return prompts, [text for task in tasks for text in task.choices or (task.answer,)]


def _text_tokens(prompts: Sequence[str], answers: Sequence[str]) -> tuple[int, int]:
    """Mean tokens of a question and most tokens of an answer."""
    return (
        math.ceil(sum(map(len, prompts)) / len(prompts) / _CHARACTERS_PER_TOKEN),
        math.ceil(max(map(len, answers)) / _CHARACTERS_PER_TOKEN) + 1,
    )
