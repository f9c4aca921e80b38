"""Settings of an evaluation, and the list of threats that a report made with them says nothing about."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from langchain_vpp.engines import CLASSICAL_ENGINES, FaceBlur
from langchain_vpp.engines.faces import is_installed
from trainer.attackers.classifier import Architecture  # noqa: TC001  pydantic reads it
from trainer.attackers.prompted import Style  # noqa: TC001

Attack = Literal["identity", "inversion", "text"]
"""Attacks besides classifiers."""

UNTESTED: Final[dict[str, str]] = {
    "identity": "re-identification of the people in the pictures",
    "inversion": "reconstruction of the originals from protected pictures",
    "repeated": "the same picture asked for many times, at several levels, sizes or crops",
    "text": "text in the pictures, read by an OCR engine",
}
"""Attack -> the threat that stays untested without it."""
_NEVER_TESTED: Final = (
    "private attributes that the data set does not label",
    "other chat models than this one",
)


class EvaluationSettings(BaseModel):
    """Settings of an evaluation. The defaults are those of the demo."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Levels of the protector."""
    baselines: dict[Literal["blur", "pixelate", "downscale", "face-blur"], tuple[float, ...]] = Field(
        default=dict.fromkeys(CLASSICAL_ENGINES, (0.2, 0.4, 0.6, 0.8)), validate_default=True
    )
    """Classical engines and their levels. ``face-blur`` needs the extra ``faces``; ``vpp evaluate`` adds it where that
    extra is installed."""
    seed: int = Field(0, ge=0, lt=2**31)
    resolution: int | None = Field(None, ge=32, le=1024)
    """Longest side in pixels at which attackers see images. ``None`` takes the protector's working resolution, or 384
    for an engine that has none."""
    train_images: int = Field(1500, ge=1)
    """Images of the train split from which attackers learn at each operating point, drawn anew for each."""
    original_images: int = Field(3000, ge=1)
    """Images of the train split from which attackers learn to read originals."""
    classifiers: tuple[Architecture, ...] = ("small", "resnet10")
    """Architectures of the fresh classifiers that start from what they learned from originals. Where pictures are
    large, ``small`` stands for two classifiers: one sees pictures at their size, one scaled down."""
    cold: tuple[Architecture, ...] = ("small",)
    """Architectures of the classifiers that learn from protected images alone. ``small`` sees large pictures scaled
    down."""
    attacks: tuple[Attack | Literal["repeated"], ...] = ()
    """Further attacks at the protector's levels: ``identity``, ``inversion``, ``text``, ``repeated``."""
    text_pictures: int = Field(200, ge=1)
    """Test images that an OCR engine reads at each operating point."""

    queries_per_point: int = Field(200, ge=0)
    """(image, question) pairs of the test split, the same at every operating point, evenly over the questions."""
    private_questions: dict[str, str] = {}
    """Private attribute -> question to the chat model about it, at the protector's levels; as many queries again."""
    styles: tuple[Style, ...] = Field(("direct",), min_length=1)
    """Styles in which private questions are put; each style asks all of them."""
    query_originals: bool = False
    """Whether the chat model sees *unprotected* test images, to measure what originals would give. Never by default."""
    max_concurrency: int = Field(8, ge=1, le=256)
    """Requests to the chat model that are in flight at once."""


def not_tested(settings: EvaluationSettings) -> tuple[str, ...]:
    """List the threats and baselines that an evaluation with these settings leaves out."""
    return (
        *(threat for attack, threat in UNTESTED.items() if attack not in settings.attacks),
        *_left_out_baseline(settings),
        *_NEVER_TESTED,
    )


def _left_out_baseline(settings: EvaluationSettings) -> tuple[str, ...]:
    """Name face blurring, the baseline that readers look for, and the reason if it was not measured."""
    if FaceBlur.name in settings.baselines:
        return ()
    why = "it was not asked for" if is_installed() else "the extra faces is not installed"
    return (f"{FaceBlur.name}: {why}",)
