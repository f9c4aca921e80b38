"""Limits on what a command may spend, and the ways of commands that only ask chat models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.cli.display import console, print_json, say
from langchain_vpp.cli.options import InputError
from trainer.cli.options import known_price, read_price

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from trainer.oracle.ledger import Budget, Price
    from trainer.reporting.rows import Table
    from trainer.training.cost import CostEstimate


class Spending(NamedTuple):
    """Limits that the user sets.

    Attributes:
        max_queries: Most paid queries.
        max_cost: Most US dollars, or ``None``.
        price: US dollars per million input and output tokens, or ``None``.
    """

    max_queries: int
    max_cost: float | None
    price: tuple[float, float] | None

    @classmethod
    def of(cls, max_queries: int | None, max_cost: float | None, price: str | None) -> Spending:
        """Read the options ``--max-queries``, ``--max-cost`` and ``--price``."""
        return cls(2**31 if max_queries is None else max_queries, max_cost, read_price(price))

    @property
    def budget(self) -> Budget:
        """The limits, for a ledger."""
        from trainer.oracle.ledger import Budget  # noqa: PLC0415

        return Budget(self.max_queries, self.max_cost)

    def charged(self, model: str) -> Price | None:
        """Return the price of a model's tokens, if it is known.

        Raises:
            InputError: If there is a limit on cost, and it is not above 0 or no price is known.
        """
        from trainer.oracle.ledger import Price  # noqa: PLC0415

        charged = known_price(model, self.price)
        if self.max_cost is not None and (charged is None or not self.max_cost > 0):
            raise InputError(
                "nothing was sent: --max-cost must be above 0 and needs the price of tokens. Give --price, "
                "US dollars per million input and output tokens, such as 0.15,0.60."
            )
        return None if charged is None else Price(*charged)


class Inquiry(NamedTuple):
    """Options that commands share which only ask chat models.

    Attributes:
        data: Folder of the data set.
        out: File for the report.
        spending: The user's limits.
        timeout: Seconds to wait for an answer, or ``None``.
        dry_run: Say what would be asked, and send nothing.
        as_json: Print the result on stdout.
    """

    data: Path
    out: Path
    spending: Spending
    timeout: float | None
    dry_run: bool
    as_json: bool

    @property
    def ledger(self) -> Path:
        """File of the paid queries, beside the report."""
        return self.out.with_suffix(".ledger.sqlite")

    def require_new(self) -> None:
        """Refuse a report that exists: queries that its ledger holds would not be asked again.

        Raises:
            InputError: If it exists.
        """
        if self.out.exists():
            raise InputError(
                f"nothing was sent: {self.out} exists, and what its ledger holds is not asked again. "
                "Choose another --out."
            )

    def foresee(self, estimates: Mapping[str, CostEstimate]) -> None:
        """Show what each model would be asked and cost; as JSON too, if that is all that was wanted."""
        for model, each in estimates.items():
            say(f"estimate for {model}: {each.line}")
        if self.dry_run and self.as_json:
            print_json({model: each._asdict() for model, each in estimates.items()})

    def show(self, report: BaseModel, tables: Sequence[Table]) -> None:
        """Write a report to its file, and show it."""
        from trainer.reporting.files import save_json  # noqa: PLC0415
        from trainer.reporting.terminal import for_terminal  # noqa: PLC0415

        save_json(report, self.out)
        if self.as_json:
            print_json(report.model_dump(mode="json"))
        for table in tables:
            console().print(for_terminal(table))
