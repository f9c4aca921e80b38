"""Options of ``vpp train`` for several processes and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from langchain_vpp.cli.display import say
from langchain_vpp.cli.options import InputError

if TYPE_CHECKING:
    from trainer.oracle.model_spec import ModelSpec
    from trainer.oracle.subprocess import SubprocessOracle
    from trainer.scale.asking import ClusterOracle
    from trainer.scale.processes import SharedRun

ProcessesOption = Annotated[
    int,
    typer.Option(
        "--processes", min=1, help="Processes of this machine that share every batch (extra distributed)."
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Send the requests from a cluster of Ray (extra ray): auto, local, host:port.",
    ),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="With --ray: one more server of the same model, besides --base-url. Can be given several times.",
    ),
]


class Machines(NamedTuple):
    """Processes and machines that train together.

    Attributes:
        processes: Processes that share every batch.
        ray: Address of the cluster that sends the requests, or ``None``.
        endpoints: Further servers of the chat model.
    """

    processes: int
    ray: str | None
    endpoints: tuple[str, ...]

    def check(self, engine: str) -> None:
        """Refuse options that do not go together.

        Raises:
            InputError: If there are some.
        """
        several = self.processes > 1
        for wrong, told in (
            (self.endpoints and self.ray is None, "--endpoint needs --ray"),
            (several and self.ray is not None, "give either --processes or --ray"),
            (
                engine == "words" and (several or self.ray),
                "--engine words learns in one process, without --ray",
            ),
        ):
            if wrong:
                raise InputError(f"nothing was sent: {told}.")

    def oracle(self, model: ModelSpec) -> SubprocessOracle | ClusterOracle:
        """Start what asks the chat model."""
        if self.ray is None:
            from trainer.oracle.subprocess import SubprocessOracle  # noqa: PLC0415

            return SubprocessOracle(model)
        from trainer.scale.asking import ClusterOracle  # noqa: PLC0415

        servers = [model, *(model._replace(base_url=each) for each in self.endpoints)]
        return ClusterOracle(servers, self.ray)

    def fit(self, run: SharedRun) -> None:
        """Train with several processes."""
        from trainer.scale.processes import fit_together  # noqa: PLC0415

        say(f"training begins in {self.processes} processes. To follow it: vpp studio --run {run.out}")
        fit_together(run, self.processes)
