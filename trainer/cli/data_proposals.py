"""Proposals of ``vpp data init``: consent, and the models and detectors that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_vpp.cli.options import InputError
from trainer.cli.spending import Spending

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from langchain_vpp.cli.display import Display
    from trainer.data.making import Propose


class Consent(NamedTuple):
    """A chat model that is to propose answers, and whether the user lets it see originals.

    Attributes:
        model: Its name, or ``None``.
        base_url: Address of its server.
        timeout: Seconds to wait for an answer.
        given: Whether the user consents.
    """

    model: str | None
    base_url: str | None
    timeout: float | None
    given: bool


def proposers(
    consent: Consent,
    limits: tuple[int | None, float | None, str | None],
    detectors: Sequence[str],
    folder: Path,
    display: Display,
) -> tuple[Propose, ...]:
    """Set up what proposes answers and labels.

    Args:
        consent: The chat model.
        limits: Most queries, most US dollars, and price of tokens.
        detectors: ``faces``, ``identities``, ``words``.
        folder: Folder of the data set.
        display: Shows progress.

    Raises:
        InputError: If a model that is not known to run on this machine is to see originals without consent.
        MissingExtraError: If the extra of a detector is missing.
    """
    from trainer.data.identities import FaceReader, IdentityProposals  # noqa: PLC0415  loads chat models
    from trainer.data.proposals import (  # noqa: PLC0415  loads chat models
        FaceProposals,
        ModelProposals,
        WordProposals,
        is_local,
        private_text_finder,
    )

    if unknown := sorted(set(detectors) - {"faces", "identities", "words"}):
        raise InputError(
            f"nothing was written: there is no detector {unknown[0]!r}. --propose-labels takes faces, identities or "
            "words."
        )
    result: list[Propose] = []
    if consent.model is not None:
        from trainer.oracle.model_spec import ModelSpec  # noqa: PLC0415

        spending = Spending.of(*limits)
        charged = spending.charged(consent.model)
        model = ModelSpec.parse(consent.model, consent.base_url, consent.timeout).build()
        if not consent.given and not is_local(model):
            raise InputError(
                f"nothing was sent: to propose answers, {consent.model} would see your pictures UNPROTECTED. Give "
                "--i-know-it-sees-originals if its provider may have them, or name a model on this machine."
            )
        result.append(
            ModelProposals(
                model, folder, spending.budget, charged, lambda n, of: display.show("propose", n, of)
            )
        )
    if "faces" in detectors:
        from langchain_vpp.engines.faces import FaceFinder  # noqa: PLC0415  extra `faces`

        result.append(FaceProposals(folder, FaceFinder(), lambda n, of: display.show("faces", n, of)))
    if "identities" in detectors:
        result.append(
            IdentityProposals(folder, FaceReader(), lambda n, of: display.show("identities", n, of))
        )
    if "words" in detectors:
        find = private_text_finder()
        result.append(WordProposals(folder, find, lambda n, of: display.show("words", n, of)))
    return tuple(result)
