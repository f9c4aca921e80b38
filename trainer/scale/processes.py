"""Training by several processes of this machine, each with its share of every batch (Lightning Fabric, gloo).

Fabric rather than Accelerate: it starts the processes itself from a function, and broadcasts any object, which is all
that is needed here. Divided is the work of the protector. Assessor and student learn in every process alike, from the
same batches, because their batch normalization sees the whole batch: so the result is that of one process with the same
batch, but for the order in which floats are added.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from langchain_vpp import errors, extras
from langchain_vpp.errors import OracleError, TrainingError, VPPError
from trainer.data.dataset import load_dataset
from trainer.oracle.subprocess import SubprocessOracle
from trainer.training.trainer import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from langchain_vpp.network.protector import Protector
    from trainer.oracle.model_spec import ModelSpec
    from trainer.training.config import TrainerConfig

_T = TypeVar("_T")
_UNDONE: Final = "nothing was sent"


class SharedRun(NamedTuple):
    """A training that several processes do together.

    Attributes:
        model: The chat model.
        data: Folder of the data set.
        config: Settings.
        out: Folder of the run.
        resume: Go on from the last checkpoint.
        ledger: File of the paid queries, or ``None`` for one in ``out``.
        protector: Protector whose weights training starts from, or ``None``.
    """

    model: ModelSpec
    data: Path
    config: TrainerConfig
    out: Path
    resume: bool = False
    ledger: Path | None = None
    protector: Protector | None = None


def fit_together(run: SharedRun, count: int) -> None:
    """Train with several processes of this machine, and wait for them.

    Raises:
        MissingExtraError: If Lightning Fabric is missing.
        TrainingError: See :meth:`trainer.training.trainer.Trainer.fit`.
    """
    fabric = extras.load("lightning_fabric", extra="distributed", undone=_UNDONE)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    if sys.platform == "linux":  # what the processes tell each other stays on this machine
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    failure = ""
    told: tuple[str, str] | None = None
    try:
        started = fabric.Fabric(accelerator="cpu", devices=count, strategy="ddp_spawn")
        told = started.launch(_fit, run, torch.get_num_threads())
    except RuntimeError as error:  # of torch: a process died
        failure = type(error).__name__
    if failure:
        raise OracleError(
            f"a process of the training ended early ({failure}). Answers that had arrived are saved: resume."
        )
    if told is not None:
        kind, message = told
        raise getattr(errors, kind)(message)


def _fit(fabric: Any, run: SharedRun, threads: int) -> tuple[str, str] | None:
    """Train in one of the processes; returns our error, if there was one, as text."""
    torch.set_num_threads(max(1, threads // fabric.world_size))
    processes = FabricProcesses(fabric)
    if not processes.is_first:
        logging.disable(logging.WARNING)  # the first process says it
    oracle: Any = None
    try:
        oracle = SubprocessOracle(run.model) if processes.is_first else None
        identity = processes.from_first(lambda: oracle.identity)
        trainer = Trainer(
            oracle or _Named(identity), load_dataset(run.data), run.config, protector=run.protector
        )
        trainer.fit(run.out, resume=run.resume, ledger=run.ledger, processes=processes)
    except VPPError as error:
        return type(error).__name__, str(error)
    finally:
        if oracle is not None:
            oracle.close()
    return None


class _Named:
    """The chat model as processes know it that don't ask it."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def open(self, *_: object, **__: object) -> Any:
        raise TrainingError("nothing was sent: only the first process asks the chat model.")


class FabricProcesses:
    """Processes that Lightning Fabric has started; see :class:`~trainer.runtime.processes.Processes`."""

    def __init__(self, fabric: Any) -> None:
        self._fabric = fabric
        self.is_first: bool = fabric.is_global_zero
        self.count: int = fabric.world_size

    def from_first(self, produce: Callable[[], _T]) -> _T:
        """Call a function in the first process, and return its result, or raise its error, in all of them."""
        result: Any = None
        problem: BaseException | None = None
        if self.is_first:
            try:
                result = produce()
            except BaseException as error:  # noqa: BLE001  raised again below, when the others know
                problem = error
        told = (
            None
            if problem is None
            else (_kind(problem), str(problem) if isinstance(problem, VPPError) else "")
        )
        result, told = self._fabric.broadcast((result, told))
        if problem is not None:
            raise problem
        if told is not None:
            kind, message = told
            raise getattr(errors, kind)(message or "the first process of the training ended early. Resume.")
        found: _T = result
        return found

    def rows(self, function: Callable[..., Tensor], *columns: Tensor) -> Tensor:
        """Apply a function to this process's rows, and return the results of all, in their order."""
        rank = self._fabric.global_rank
        mine = function(*(column.tensor_split(self.count)[rank] for column in columns))
        gathered: Tensor = _Gathered.apply(mine, self._fabric)
        return gathered

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace the gradients of weights by their sums over the processes."""
        trained = list(parameters)
        flat = torch.cat(
            [(torch.zeros_like(each) if each.grad is None else each.grad).flatten() for each in trained]
        )
        flat = self._fabric.all_reduce(flat, reduce_op="sum")
        for each, part in zip(trained, flat.split([each.numel() for each in trained]), strict=True):
            each.grad = part.reshape(each.shape).clone(memory_format=torch.preserve_format)

    def require_same(self, digest: str) -> None:
        """Refuse to go on unless all processes hold the same."""
        first = self._fabric.broadcast(digest)
        others = self._fabric.all_reduce(torch.tensor(float(digest != first)), reduce_op="sum")
        if others:
            raise TrainingError(
                "the processes of the training hold different weights, so nothing more was saved. Use one process."
            )


class _Gathered(torch.autograd.Function):
    """Rows of all processes; the gradient of this process's rows comes back as it is."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, fabric: Any) -> Tensor:
        ctx.rank, ctx.rows = fabric.global_rank, len(mine)
        gathered: Tensor = fabric.all_gather(mine.detach().contiguous())
        return gathered.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        start = ctx.rank * ctx.rows
        return gradients[0][start : start + ctx.rows], None


def _kind(error: BaseException) -> str:
    return type(error).__name__ if isinstance(error, VPPError) else "TrainingError"
