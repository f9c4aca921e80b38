"""Settings of a learned admission."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from langchain_vpp.engines.words.kinds import HARMLESS, KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICES: Final[Mapping[str, float]] = MappingProxyType({
    "words": 0.5, "numbers": 1, "amounts": 1, "dates": 1, "links": 3, "companies": 3, "other": 4, "handles": 4,
    "mails": 5, "phones": 5, "names": 5, "codes": 5, "background": 5, "addresses": 6, "births": 6, "faces": 8,
    "accounts": 8, "ids": 8, "secrets": 10,
})  # fmt: skip
"""Privacy price of showing each kind, by our judgement; yours may differ."""
_Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class AdmissionConfig(BaseModel):
    """Everything that decides which kinds are learned, besides the chat model and the data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, lt=2**31)
    may_show: tuple[str, ...] = ()
    """Private kinds that the chat model may see in training, and that the artifact may show; harmless kinds always are
    among them. ``("all",)`` allows every kind."""
    prices: dict[str, _Price] = {}
    """Kind -> its privacy price, where it differs from :data:`PRICES`."""
    restored: bool = True
    """Judge answers with the covered values in the places of their tokens, as ``protect(..., restore=True)`` gives
    them: then ``NAME_1`` is a right answer where it stands for the right name, and the name need not be shown. Choose
    ``False`` if your program does not restore."""
    query_choice: Literal["informative", "uniform"] = "informative"
    """Ask where the belief about a question is split, or choose kinds, question and picture uniformly."""
    validation: float = Field(0.25, ge=0, lt=1)
    """Share of the query budget kept for measuring the front on the validation split."""
    least_information: float = Field(2e-3, ge=0)
    """Nats that the most informative query must be expected to tell; below it the rest of the budget is kept."""
    least_gain: float = Field(0.01, ge=0)
    """Gain in utility up to which a set of kinds with a higher price is left out of the front."""

    max_queries: int = Field(300, ge=0)
    max_cost: float | None = Field(None, gt=0)
    """Limit in US dollars; needs a price of tokens."""
    price: tuple[_Dollars, _Dollars] | None = None
    """US dollars per million input and output tokens."""
    max_concurrency: int = Field(8, ge=1, le=256)
    requests_per_second: float | None = Field(None, gt=0)
    store_images: bool = True
    """Whether the ledger keeps the pictures as they were sent."""
    licence: str = ""
    """Licence of the artifact, for its manifest."""
    attribution: str = ""
    """Makers of the training data, for the manifest."""

    @property
    def allowed(self) -> frozenset[str]:
        """Kinds that may be shown to the chat model."""
        return frozenset(KINDS) if "all" in self.may_show else HARMLESS | set(self.may_show)

    @property
    def for_learning(self) -> int:
        """Queries that are not kept for measuring the front."""
        return int(self.max_queries * (1 - self.validation))

    def price_of(self, kind: str) -> float:
        """Return the privacy price of a kind."""
        return self.prices.get(kind, PRICES[kind])

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Self:
        unknown = sorted({*self.may_show, *self.prices} - {*KINDS, "all"})
        if unknown or "all" in self.prices:
            raise ValueError(f"there are no kinds {', '.join(unknown)}; there are {', '.join(KINDS)}")
        return self
