"""Settings of a training run."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from langchain_vpp.network.protector import ProtectorConfig
from trainer.runtime.precision import Precision  # noqa: TC001  pydantic reads it

RENAMED: Final = {
    "averaging": "ema_decay",
    "plainness": "grey_penalty",
    "reopening": "reveal_penalty",
    "quiet": "query_warmup",
}
"""Names of settings in version 0.1 and their names since; version 0.3 drops the old names."""
REMOVED: Final = {
    "criticality": ("loss", "records are always scored by the student's loss"),
    "criticality_half_life": (None, "criticality does not fade with age"),
}
"""Settings of version 0.1 that were removed: the value that still holds, and the reason."""

ADDED: Final = frozenset(
    {
        "audit_images",
        "learning_rate_floor",
        "mends",
        "recolour",
        "grey_penalty_rise",
        "references",
        "reader_width",
        "reference_share",
        "student_anchor",
        "student_ladder",
        "student_start",
    }
)
"""Settings that version 0.1 did not have; it behaved as if the rate's floor and the rise of grey were 0."""


class ZerothOrderConfig(BaseModel):
    """Tuned settings of a zeroth-order estimator; ``None`` leaves the estimator's default.

    :mod:`trainer.algorithms.zeroth_order` explains them. Each estimator takes only its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: int | None = Field(None, ge=1)
    """Side of a cell of the code in pixels; must divide the sides of the images."""
    radius: float | None = Field(None, gt=0)
    directions: int | None = Field(None, ge=1)
    images: int | None = Field(None, ge=1)
    radius_decay: float | None = Field(None, ge=0)
    gain: float | None = Field(None, gt=0)
    gain_decay: float | None = Field(None, ge=0)
    offset: float | None = Field(None, ge=0)
    momentum: float | None = Field(None, ge=0, lt=1)
    perturbation: Literal["segmented", "rademacher"] | None = None
    memory: int | None = Field(None, ge=0)
    memory_decay: float | None = Field(None, gt=0, le=1)


_PER_IMAGE: Final = frozenset({"cell", "radius"})
_SHARED: Final = _PER_IMAGE | {"directions", "images"}
_SPSA: Final = _SHARED | {"radius_decay", "gain", "gain_decay", "offset", "perturbation"}
_ZEROTH_ORDER: Final = {
    "zo-image": _PER_IMAGE,
    "zo-code": _PER_IMAGE,
    "spsa": _SPSA,
    "spsa-gc": _SPSA | {"momentum"},
    "rgf": _SHARED | {"memory", "memory_decay"},
}

EstimatorName = Literal["student", "label-only", "zo-image", "zo-code", "spsa", "spsa-gc", "rgf", "none"]
_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class TrainerConfig(BaseModel):
    """Everything that decides the outcome of a run, besides the chat model and the data set.

    The chapter on measurements in the documentation says what the defaults reach.
    Settings also take their names of version 0.1, with a ``FutureWarning``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, lt=2**31)
    protector: ProtectorConfig = ProtectorConfig()

    steps: int = Field(1500, ge=1)
    """Protector steps."""
    batch: int = Field(32, ge=2, le=1024)
    """Images per protector step."""
    learning_rate: float = Field(4e-3, gt=0)
    """Peak learning rate of the protector; 20 steps of warm-up, then cosine down to the floor."""
    learning_rate_floor: float = Field(0.25, ge=0, le=1)
    """Share of the peak rate at the last step.

    A protector whose rate falls to nothing is overtaken by its assessor, which keeps its rate: it then ends at a front
    that was better some steps ago.
    """
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Decay of the exponential moving average of the weights that becomes the artifact."""
    fidelity: float = Field(1.0, ge=0)
    """Weight of the mean squared pixel change, scaled by one minus the level."""

    grey_penalty: float = Field(0.5, ge=0)
    """Weight of the mean distance of a pixel from mid-grey, scaled by the level and by its fourth power."""
    grey_penalty_rise: float = Field(3.0, ge=0)
    r"""Coefficient :math:`c` of the fourth power in the factor :math:`\lambda + c \lambda^4` of the grey penalty.

    The most private levels so turn to grey by themselves where the assessor happens to be weak.
    """

    recolour: Literal["faded", "grey", "learned"] = "faded"
    """Colour of what is hidden: mid-grey, an image that the protector learns to draw, or first the one, then the other.

    A protector that draws can cover private attributes half, under patterns that blind its assessor and no other
    attacker. In grey nothing is left to read at level 1; but a run that is grey from the start may never find where
    things stand, and hides all of a picture or nothing. So what it draws fades to grey between three and six tenths of
    the steps. A protector to start from stays as it is: one that draws goes on drawing, and one that hides in grey
    never draws, except with ``learned``.
    """

    reveal_penalty: float = Field(0.0, ge=0)
    """Penalty for revealing pixels that the initial protector hid: mean gain in distance from mid-grey.

    Without it the utility gradient can reveal regions that the assessor never checks, such as private text. Hiding more
    costs nothing. Has no effect when training starts from new weights.
    """

    assessor_steps: int = Field(3, ge=1)
    """Assessor steps per protector step, each on a protected batch of its own, so that the assessor keeps up."""
    assessor_originals: float = Field(0.0, ge=0, le=1)
    """Share of unprotected pictures in the assessor's own batches.

    Without them an assessor forgets its task where nearly everything is hidden from the start, and predicts the same
    class for every picture.
    """

    precision: Precision = "auto"
    """Number format of the convolutions; ``auto`` takes bfloat16 where the processor supports it."""

    scalarisation: Literal["weighted_sum", "smooth_tchebycheff", "upgrad", "mgda"] = "weighted_sum"
    """Rule that combines utility and privacy into one step; the last two aggregate gradients (extra ``pareto``)."""
    estimator: EstimatorName = "student"
    """Source of utility gradients. Two ask nothing and are baselines: with ``label-only`` a student learns from the
    user's labelled pictures, and with ``none`` fidelity alone keeps utility."""
    zeroth_order: ZerothOrderConfig = ZerothOrderConfig()
    student_steps: int = Field(2, ge=1)
    student_batch: int = Field(32, ge=4)
    history_capacity: int = Field(10_000, ge=1)
    student_anchor: float = Field(0.5, ge=0)
    """Weight of the labelled images while the student learns from answers."""
    student_ladder: bool = False
    """Whether the student first sees the labelled images at several resolutions, as ``label-only`` always does."""
    student_start: Literal["new", "assessor"] = "new"
    """Whether the student's eyes are new, or begin as those of the pretrained assessor."""
    query_choice: Literal["critical", "disagreement", "uniform"] = "critical"
    """Ask first where the student's answer is about to flip, or also where answers have made it differ from a student
    of the labels alone; or choose (image, question) pairs uniformly."""
    replay: Literal["critical", "critical-uncorrected", "recent", "uniform"] = "critical"
    """Replay critical records more often, with or without importance correction; half from the newest; or all alike."""
    reader_width: int = Field(96, ge=6)
    """Channels of the last convolutions of student and assessor. Both learn faster with fewer, and see less."""
    pretraining_steps: int = Field(600, ge=0)
    """Steps on labelled images for the student, and as many for the assessor; they cost no query."""
    references: Literal["labels", "model"] = "labels"
    """Source of reference answers: the data set's labels, or, for who has none, the chat model's own answers about
    originals of pictures that may be shown (``may_be_shown`` in the data set). What it was not asked about originals,
    the student answers in its place."""
    reference_share: float = Field(0.5, gt=0, le=1)
    """Share of the training budget for such answers; ``label-only`` spends all of it on them."""
    query_warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps before the first query, so that no nearly unprotected image is sent."""
    validation: float = Field(0.1, ge=0, lt=1)
    """Share of the query budget kept for measuring fronts on the validation split, whatever the estimator."""
    validations: int = Field(0, ge=0)
    """Fronts measured during training, evenly spaced, besides the one at the end.

    All share the budget of ``validation``. The weights with the best front become the artifact.
    """
    audit_images: int = Field(500, ge=0)
    """Training images to which a fresh attacker adapts at each level of the front at the end.

    It learns to read originals from four times as many. Its readings on the validation split are the leak of the
    manifest's front, choose the weights, and have a run that hides too little at level 1 learn on. With 0 training's
    own assessor takes its place, which flatters, and nothing is mended; so it does in runs of fewer than 100 steps.
    """
    mends: int = Field(2, ge=0)
    """Most times that a run which hides too little at level 1 goes back to earlier weights and learns on."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many fronts in a row without a larger hypervolume."""

    max_queries: int = Field(2000, ge=0)
    max_cost: float | None = Field(None, gt=0)
    """Limit in US dollars; needs a price."""
    price: tuple[_Dollars, _Dollars] | None = None
    """US dollars per million input and output tokens."""
    access: Literal["logprobs", "labels"] = "labels"
    max_concurrency: int = Field(8, ge=1, le=256)
    questions_per_call: int = Field(1, ge=1, le=64)
    """Most questions about one picture in one request; more than 1 needs the access ``labels``."""
    requests_per_second: float | None = Field(None, gt=0)
    store_images: bool = True
    """Whether the ledger keeps protected pictures. Without them a resumed student starts with an empty history."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints."""
    licence: str = ""
    """Licence of the artifact's weights, for its manifest."""
    attribution: str = ""
    """Makers of the training data, for the manifest; many licences ask for it."""
    tensorboard: bool = False
    """Whether metrics are also written for TensorBoard (extra ``tensorboard``)."""

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for name, (only, reason) in REMOVED.items():
            if name in values and values[name] != only:
                raise ValueError(f"{name} was removed: {reason}; leave it out")
        values = {name: value for name, value in values.items() if name not in REMOVED}
        renamed = {old: new for old, new in RENAMED.items() if old in values}
        for old, new in renamed.items():
            if new in values:
                raise ValueError(f"{old} is now {new}; give one of them")
            warnings.warn(
                f"{old} is now {new}; the old name goes with version 0.3", FutureWarning, stacklevel=3
            )
        return {renamed.get(name, name): value for name, value in values.items()}

    @model_validator(mode="after")
    def _settings_fit_together(self) -> Self:
        given = {name for name, value in self.zeroth_order if value is not None}
        foreign = sorted(given - _ZEROTH_ORDER.get(self.estimator, frozenset()))
        if foreign:
            raise ValueError(f"zeroth_order: the estimator {self.estimator!r} has no {', '.join(foreign)}")
        if self.patience is not None and not self.validations:
            raise ValueError("patience needs validations")
        return self
