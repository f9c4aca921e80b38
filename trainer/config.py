"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.protector import ProtectorConfig
from trainer.arithmetic import Precision  # noqa: TC001  pydantic reads it


class TrainerConfig(BaseModel):
    """Everything that decides the outcome of a run, next to the chat model and the data set.

    Defaults are those that were measured in ``trainer/README.md``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0, lt=2**31)
    protector: ProtectorConfig = ProtectorConfig()

    steps: int = Field(1500, ge=1)
    """Protector steps."""
    batch: int = Field(32, ge=2, le=1024)
    """Images per protector step."""
    learning_rate: float = Field(4e-3, gt=0)
    """Peak for the protector; 20 steps of warm-up, then cosine."""
    averaging: float = Field(0.98, ge=0, lt=1)
    """Decay of the exponential moving average of the weights that becomes the artifact."""
    fidelity: float = Field(1.0, ge=0)
    """Weight of the mean squared pixel change, scaled by one minus the level."""

    plainness: float = Field(0.5, ge=0)
    """Weight of the mean distance of a pixel from mid-grey, scaled by the level."""

    assessor_steps: int = Field(3, ge=1)
    """Steps of the assessor on every protected batch, so that it keeps up with the protector."""

    precision: Precision = "auto"
    """Arithmetic of the convolutions; ``auto`` takes bfloat16 where the processor computes in it (twice as fast)."""

    estimator: Literal["student", "none"] = "student"
    """Where utility gradients come from; ``none`` asks nothing and keeps fidelity alone (the baseline)."""
    student_steps: int = Field(2, ge=1)
    student_batch: int = Field(32, ge=4)
    history_capacity: int = Field(10_000, ge=1)
    query_choice: Literal["critical", "uniform"] = "critical"
    """Which of a batch's (image, question) pairs are asked."""
    pretraining_steps: int = Field(600, ge=0)
    """Steps on the labelled images for the student and as many for the assessor; they cost no query."""
    quiet: float = Field(0.1, ge=0, lt=1)
    """Share of the steps before the first query, so that no nearly unprotected image is sent."""
    validation: float = Field(0.1, ge=0, lt=1)
    """Share of the query budget kept for measuring the front on the validation split."""

    max_queries: int = Field(2000, ge=0)
    max_cost: float | None = Field(None, gt=0)
    """US dollars; needs a price."""
    price: tuple[float, float] | None = None
    """US dollars per million input and output tokens."""
    access: Literal["logprobs", "labels"] = "labels"
    max_concurrency: int = Field(8, ge=1, le=256)
    questions_per_call: int = Field(1, ge=1, le=64)
    """Most questions about one picture in one request; with ``labels`` only."""
    requests_per_second: float | None = Field(None, gt=0)
    store_images: bool = True
    """Keep protected pictures in the ledger. Without them a resumed student starts with an empty history."""
    checkpoint_every: int = Field(50, ge=1)
    """Steps between checkpoints."""
