"""Checkpoints: the state of a run on disk, tied to its settings, data and chat model."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from langchain_vpp.errors import TrainingError
from trainer.oracle.model_spec import without_address
from trainer.runtime.checkpoint import save_state
from trainer.training.config import ADDED, REMOVED, RENAMED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainer.algorithms.interface import AnswerSpace
    from trainer.training.config import TrainerConfig

_FORMAT: Final = 2
"""Version of the state. Format 1, of version 0.1, names no format and averages the weights without torch's class."""
_WITH_ADDRESS: Final = "model_with_address"
"""Mark of a state whose fingerprint tells servers apart; earlier states know the chat model's name alone."""
_FREE_SETTINGS: Final = frozenset(
    {
        "max_queries",
        "max_cost",
        "max_concurrency",
        "requests_per_second",
        "checkpoint_every",
        "price",
        "tensorboard",
    }
)
"""Settings that may change when a run is resumed."""


class RunIdentity(NamedTuple):
    """Everything that a resumed run must have in common with the run that wrote its checkpoint."""

    config: TrainerConfig
    data_digest: str
    model: str
    estimator: str = ""
    """Class of a supplied estimator."""
    has_assessor: bool = False
    """Whether an assessor was supplied."""
    started_from: str = ""
    """Digest of the weights that training started from."""

    def fingerprint(self, *, version_0_1: bool = False) -> str:
        """sha256, in hex.

        Args:
            version_0_1: Whether to spell the settings as version 0.1 did.
        """
        unknown = ADDED if version_0_1 else frozenset()
        settings = self.config.model_dump_json(exclude={*_FREE_SETTINGS, *unknown})
        if version_0_1:
            settings = _as_version_0_1(settings)
        assessor = "a given assessor" if self.has_assessor else ""
        text = settings + self.data_digest + self.model + self.estimator + assessor + self.started_from
        return hashlib.sha256(text.encode()).hexdigest()


def _as_version_0_1(settings: str) -> str:
    """Rewrite settings in JSON: with old names, and with the settings that were removed since, in their old place."""
    for old, new in RENAMED.items():
        settings = settings.replace(f'"{new}":', f'"{old}":')
    removed = "".join(f'"{name}":{json.dumps(value)},' for name, (value, _) in REMOVED.items())
    return settings.replace('"pretraining_steps":', f'{removed}"pretraining_steps":')


def save_checkpoint(path: Path, identity: RunIdentity, state: Mapping[str, Any]) -> None:
    """Write a checkpoint: whole, or not at all.

    Args:
        path: File.
        identity: The run.
        state: Tensors, numbers, and containers of them.

    Raises:
        TrainingError: If the file can't be written; an earlier checkpoint is left as it is.
    """
    failure = ""
    try:
        kept = {"format": _FORMAT, _WITH_ADDRESS: True, "fingerprint": identity.fingerprint(), **state}
        save_state(kept, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        failure = getattr(error, "strerror", None) or type(error).__name__
    if failure:
        raise TrainingError(
            f"the checkpoint {path} was not written: {failure}. "
            "The one before it is whole: free the disk, then resume."
        )


def load_checkpoint(path: Path, identity: RunIdentity, *, ledger: Path) -> dict[str, Any]:
    """Read a checkpoint, and bring that of an older version up to date.

    Args:
        path: File.
        identity: The run that is to be resumed.
        ledger: File of the run's paid queries, for the message.

    Raises:
        TrainingError: If the file can't be read, is of a newer version, or belongs to another run.
    """
    failure = ""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:  # noqa: BLE001  torch.load raises many types on a damaged file; all mean the same
        failure = type(error).__name__
    if failure:
        raise TrainingError(
            f"the checkpoint {path} can't be read ({failure}). Remove it to start over with the ledger kept."
        )
    kept = (
        f"train in a new folder with --ledger {ledger}: answers that are paid are used again, not paid again"
    )
    version = state.get("format", 1)
    if version > _FORMAT:
        raise TrainingError(
            f"the checkpoint {path} has format {version}; this version reads up to {_FORMAT}. Nothing was done. "
            f"Resume with the version that made it, or {kept}."
        )
    if _WITH_ADDRESS not in state:
        identity = identity._replace(model=without_address(identity.model))
    if state["fingerprint"] == identity.fingerprint(version_0_1=version == 1):
        return _from_version_0_1(state) if version == 1 else state
    if version == 1:
        raise TrainingError(
            f"the checkpoint {path} is of version 0.1 and belongs to other settings, data or chat model; nothing was "
            f"done, and nothing paid is lost. Resume with those of the first call, or {kept}."
        )
    raise TrainingError(
        f"the checkpoint {path} belongs to other settings, data or chat model; nothing was done. A model of the same "
        "name at another address is another model. Resume with those of the first call, or choose another folder."
    )


def space_digest(space: AnswerSpace) -> str:
    """sha256, in hex, of how a run asks its questions; part of its checkpoint."""
    asked = [(space.questions[each.question], each.choices) for each in space.phrasings]
    return hashlib.sha256(json.dumps([space.answers, asked]).encode()).hexdigest()


def check_answer_space(path: Path, state: Mapping[str, Any], space: AnswerSpace, *, ledger: Path) -> None:
    """Check that a checkpoint's indices of answers mean what they mean now.

    Checkpoints of version 0.1 don't say how the run asked: its questions offered every answer to them, in the normal
    form of that version. Such a run goes on if this gives the same answers in the same order.

    Args:
        path: File of the checkpoint, for the message.
        state: From :func:`load_checkpoint`.
        space: The run's questions and answers now.
        ledger: File of the run's paid queries, for the message.

    Raises:
        TrainingError: If they mean something else.
    """
    if state["space"] == space_digest(space) if "space" in state else _is_as_in_version_0_1(space):
        return
    raise TrainingError(
        f"the run of {path} was begun by a version that compared answers in another way, or offered other answers to "
        "these questions; nothing was done, and nothing paid is lost. Finish it with that version, or train in a new "
        f"folder with --ledger {ledger}: answers to prompts that are still the same are not paid again."
    )


def _is_as_in_version_0_1(space: AnswerSpace) -> bool:
    forms = [_form_of_version_0_1(answer) for answer in space.answers]
    return forms == sorted(set(forms)) and len(space.phrasings) == len(space.questions)


def _form_of_version_0_1(answer: str) -> str:
    numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    words = re.findall(r"[\w'+-]+", unicodedata.normalize("NFKC", answer).casefold())
    kept = [word for word in words if word not in {"a", "an", "the"}]
    return " ".join(str(numbers.index(word)) if word in numbers else word for word in kept)


def _from_version_0_1(state: dict[str, Any]) -> dict[str, Any]:
    """Convert the averaged weights to the state of torch's class, which counts its updates from the first copy."""
    averaged = {f"module.{name}": tensor for name, tensor in state["averaged"].items()}
    return state | {"averaged": averaged | {"n_averaged": torch.tensor(state["step"] + 1)}}
