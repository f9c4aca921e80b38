"""Grids of a comparison: methods, budgets, kinds of access and seeds, spelled out as cells."""

from __future__ import annotations

import hashlib
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from langchain_vpp.errors import DataError
from trainer.experiments.regimes import REGIMES, RegimeName
from trainer.oracle.query import Access  # noqa: TC001  pydantic reads it
from trainer.recipes.demo import DEMO
from trainer.training.config import TrainerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


EngineName = Literal["blur", "pixelate", "downscale"]
_STRENGTHS: Final = (0.2, 0.4, 0.6, 0.8, 1.0)


class Frozen(BaseModel):
    """Base of immutable settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Method(Frozen):
    """A way to train: one row of the table."""

    name: str = Field(min_length=1)
    settings: dict[str, JsonValue] = {}
    """Fields of :class:`~trainer.training.config.TrainerConfig` that differ from the demo's."""
    budgets: tuple[int, ...] | None = None
    """Query budgets; those of the grid if not given."""
    access: tuple[Access, ...] | None = None
    """Kinds of access; those of the grid if not given."""
    white_box: bool = False
    """Take the utility gradient through the chat model itself, without a query."""
    regimes: tuple[RegimeName, ...] | None = None
    """Regimes; those of the grid if not given."""

    def spread(self, grid: Grid, regime: RegimeName = "labels") -> tuple[tuple[int, ...], tuple[Access, ...]]:
        """Return budgets and kinds of access; one of each for a method that asks nothing in a regime."""
        estimator = self.settings.get("estimator")
        buys_references = estimator == "label-only" and REGIMES[regime].references == "model"
        if self.white_box or estimator == "none" or (estimator == "label-only" and not buys_references):
            return (0,), ("labels",)
        return self.budgets or grid.budgets, self.access or grid.access


class Sizes(Frozen):
    """Sizes of the data set and of the measurement."""

    train: int = Field(3000, ge=1)
    val: int = Field(300, ge=1)
    test: int = Field(500, ge=1)
    data_seed: int = Field(0, ge=0)
    """Seed of the data set, which all seeds of a cell share; their spread is that of training and of the attacker."""
    attacker_images: int = Field(1500, ge=1)
    """Training images that the attacker adapts to at each point, drawn anew each time."""
    questions: int | None = Field(None, ge=1)
    """(Image, question) pairs that the chat model is asked about at each point; all of the test split if ``None``."""


class Grid(Frozen):
    """A whole comparison; the content of ``--grid FILE.json``."""

    methods: tuple[Method, ...]
    budgets: tuple[int, ...] = (500, 2000, 10_000)
    access: tuple[Access, ...] = ("labels", "logprobs")
    baselines: dict[EngineName, tuple[float, ...]] = {
        "blur": _STRENGTHS,
        "pixelate": _STRENGTHS,
        "downscale": _STRENGTHS,
    }
    """Classical engines and their strengths."""
    levels: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    """Levels at which protectors are measured."""
    sizes: Sizes = Sizes()
    settings: dict[str, JsonValue] = {}
    """Fields of :class:`~trainer.training.config.TrainerConfig` that hold for all methods."""
    regimes: tuple[RegimeName, ...] = ("labels",)
    """Chat models to train against; see :mod:`trainer.experiments.regimes`."""

    def restricted(
        self,
        methods: Sequence[str] | None = None,
        regimes: Sequence[str] | None = None,
        budgets: Sequence[int] | None = None,
    ) -> Grid:
        """Return the part of the grid with some methods, regimes and budgets; all of a kind that is not given.

        Raises:
            DataError: If the grid has no such part.
        """
        chosen = tuple(each for each in self.methods if methods is None or each.name in methods)
        kept = tuple(each for each in self.regimes if regimes is None or each in regimes)
        unknown = {*(methods or ())} - {each.name for each in chosen} | {*(regimes or ())} - {*kept}
        if unknown:
            raise DataError(f"the grid has no {', '.join(sorted(unknown))}. Nothing was run.")
        update = {"methods": chosen, "regimes": kept, "budgets": tuple(budgets or self.budgets)}
        return self.model_copy(update=update)


_WHITE_BOX: Final = Method(name="white box", white_box=True)


def _fidelity_alone(*weights: float) -> tuple[Method, ...]:
    return tuple(
        Method(name=f"none, fidelity {weight:g}", settings={"estimator": "none", "fidelity": weight})
        for weight in weights
    )


LABEL_ONLY: Final = "label-only"
"""Name of the student of the labels, the baseline that paid answers must exceed."""
_LABEL_ONLY: Final = Method(name=LABEL_ONLY, settings={"estimator": "label-only"})
_SCALARISATIONS: Final = (
    ("smooth Tchebycheff", "smooth_tchebycheff"),
    ("UPGrad", "upgrad"),
    ("MGDA", "mgda"),
)
_STEPS: Final[dict[str, JsonValue]] = {"steps": 320}
"""Steps of the comparisons; the demo, which has to end within minutes, takes fewer."""

QUICK: Final = Grid(
    methods=(Method(name="student"), _LABEL_ONLY, _WHITE_BOX, *_fidelity_alone(3.0)),
    budgets=(500, 2000),
    access=("labels",),
    settings=_STEPS,
)
"""The student between the white box and the baselines."""

PAPER: Final = Grid(
    methods=(
        Method(name="student"),
        Method(name="student, uniform replay", settings={"replay": "uniform"}),
        Method(
            name="student, uniform replay and queries",
            settings={"replay": "uniform", "query_choice": "uniform"},
        ),
        *(
            Method(name=name, settings={"estimator": name})
            for name in ("zo-image", "zo-code", "spsa", "spsa-gc", "rgf")
        ),
        Method(
            name="spsa-gc, tuned",
            settings={
                "estimator": "spsa-gc",
                "zeroth_order": {"radius": 0.1, "directions": 1, "images": 8, "momentum": 0.5},
            },
        ),
        *(
            Method(
                name=f"student, {name}",
                settings={"scalarisation": scalarisation},
                budgets=(2000,),
                access=("labels",),
            )
            for name, scalarisation in _SCALARISATIONS
        ),
        _LABEL_ONLY,
        _WHITE_BOX,
        *_fidelity_alone(1.0, 3.0, 10.0, 30.0),
    ),
    settings=_STEPS,
)
"""The table of ``docs/measurements/utility_gradient.md``."""

ESTIMATORS: Final = Grid(
    methods=(
        Method(name="student"),
        Method(name="student, uniform queries", settings={"query_choice": "uniform"}),
        *(
            Method(name=f"student, {name}", settings={"scalarisation": scalarisation})
            for name, scalarisation in _SCALARISATIONS
        ),
        *(Method(name=name, settings={"estimator": name}) for name in ("zo-image", "zo-code", "spsa", "rgf")),
        _LABEL_ONLY,
        _WHITE_BOX,
        *_fidelity_alone(30.0),
    ),
    budgets=(500,),
    access=("labels",),
    baselines={},
    levels=(0.5, 1.0),
    sizes=Sizes(train=800, val=60, test=250, attacker_images=400),
    settings={
        "steps": 90,
        "pretraining_steps": 150,
        "batch": 16,
        "student_batch": 16,
        "precision": "auto",
        "protector": {"width": 16, "blocks": [1, 2, 1], "working_resolution": 64},
    },
)
"""The options that the main table leaves out, at small sizes: 24 cells with two seeds take 18 CPU minutes."""

REGIME_BED: Final[dict[str, JsonValue]] = {
    "steps": 140,
    "pretraining_steps": 350,  # with 160 its student knows no task yet, and one seed in two turns all levels to grey
    "fidelity": 5.0,
    "batch": 16,
    "student_batch": 32,
    "reader_width": 48,
    "assessor_steps": 2,
    "grey_penalty": 0.5,
    "audit_images": 0,  # each cell is measured by a fresh attacker anyway
    "precision": "auto",
    "protector": {"width": 16, "blocks": [1, 1, 1], "working_resolution": 64},
}
"""Settings of a run that takes a minute of one core: small networks, and few steps."""

REGIME_GRID: Final = Grid(
    methods=(
        _LABEL_ONLY,
        *_fidelity_alone(3.0, 30.0),
        Method(name="student"),
        Method(name="student, no anchor", settings={"student_anchor": 0.0}),
        Method(name="student, disagreement", settings={"query_choice": "disagreement"}),
        Method(name="student, recent replay", settings={"replay": "recent"}),
        Method(name="student, critical uncorrected", settings={"replay": "critical-uncorrected"}),
        Method(name="student, uniform", settings={"replay": "uniform", "query_choice": "uniform"}),
        Method(name="student, assessor's eyes", settings={"student_start": "assessor"}),
    ),
    budgets=(200, 500, 2000),
    access=("labels",),
    baselines={},
    sizes=Sizes(train=1500, val=100, test=200, attacker_images=400, questions=300),
    settings=REGIME_BED,
    regimes=("labels", "no-labels", "coarse", "text-first", "changing"),
)
"""Where paid answers buy something: each way to learn from them, in each of :mod:`trainer.experiments.regimes`."""

GRIDS: Final[Mapping[str, Grid]] = {
    "quick": QUICK,
    "paper": PAPER,
    "estimators": ESTIMATORS,
    "regimes": REGIME_GRID,
}


class GridCell(Frozen):
    """One training with one seed, or one classical engine, with the sizes of its measurement."""

    method: str
    seed: int = Field(ge=0, lt=2**31)
    sizes: Sizes
    levels: tuple[float, ...]
    config: TrainerConfig | None = None
    """``None`` for a classical engine."""
    white_box: bool = False
    engine: EngineName | None = None
    regime: RegimeName = "labels"

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.config is None) == (self.engine is None):
            raise ValueError("a cell has either a config or an engine")
        return self

    @property
    def asks(self) -> bool:
        """Whether the cell pays for queries."""
        return self.config is not None and self.config.max_queries > 0

    @property
    def label(self) -> str:
        """Name of the cell in a line of progress."""
        asked = f", {self.config.max_queries} queries, {self.config.access}" if self.config else ""
        return f"{self.method}{asked}, {self.regime}, seed {self.seed}"

    def digest(self) -> str:
        """Return the SHA-256 of everything that decides the outcome besides the code.

        Settings of later versions count only where they are used, so that results of earlier ones still belong to
        their cells.
        """
        later: dict[str, Any] = {} if self.regime != "labels" else {"regime": True}
        if self.sizes.questions is None:
            later["sizes"] = {"questions"}
        return hashlib.sha256(self.model_dump_json(exclude=later).encode()).hexdigest()

    def recipe(self) -> str:
        """Return a digest that cells with other seeds share."""
        config = None if self.config is None else self.config.model_copy(update={"seed": 0})
        return self.model_copy(update={"seed": 0, "config": config}).digest()


def cells(grid: Grid, seeds: Sequence[int]) -> list[GridCell]:
    """Spell out a grid, cheap cells first.

    Raises:
        DataError: If a method has settings that a trainer does not accept.
    """
    found: list[GridCell] = []
    for seed in seeds:
        found += [
            GridCell(method=name, seed=seed, sizes=grid.sizes, levels=levels, engine=name)
            for name, levels in grid.baselines.items()
        ]
        for method in grid.methods:
            for regime in method.regimes or grid.regimes:
                found += [
                    _cell(grid, method, regime, {"seed": seed, "max_queries": budget, "access": access})
                    for budget, access in product(*method.spread(grid, regime))
                ]
    return sorted(found, key=lambda cell: cell.config.max_queries if cell.config else -1)


def _cell(grid: Grid, method: Method, regime: RegimeName, keyed: Mapping[str, Any]) -> GridCell:
    references = {"references": REGIMES[regime].references}
    config = _config(method, {**grid.settings, **method.settings, **references, **keyed})
    return GridCell(
        method=method.name,
        seed=config.seed,
        sizes=grid.sizes,
        levels=grid.levels,
        config=config,
        white_box=method.white_box,
        regime=regime,
    )


def _config(method: Method, settings: Mapping[str, Any]) -> TrainerConfig:
    problem = ""
    try:
        return TrainerConfig.model_validate({**DEMO.model_dump(), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    raise DataError(f"the settings of {method.name!r} can't be trained with ({problem}). Nothing was run.")
