"""Requests to one chat model on several servers, sent by processes of a cluster of Ray.

The ledger, the budget and the pace stay in the process that trains: a worker is handed one request at a time, sends it
and returns the reply. It keeps nothing, and never sends a request again by itself. The queries of a worker that dies
count as sent and are never asked again, as always where a process dies, so no budget is exceeded. Another worker takes
its place.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from langchain_vpp.errors import OracleError, TrainingError
from trainer.oracle.batching import BatchedModel, RequestLostError, check_access
from trainer.oracle.model_spec import ModelSpec, model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.portable import pack, unpack
from trainer.scale.ray import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AIMessage

    from trainer.oracle.ledger import Budget, Ledger
    from trainer.oracle.query import Access, Query

logger = logging.getLogger(__name__)

_MOST_DEATHS: Final = 5
"""Workers that may die in a row, without a reply in between, before something else is wrong."""


class ClusterOracle:
    """Asks one chat model, which several servers may offer, through workers on a cluster.

    Args:
        models: The chat model at each of its servers. API keys come from the environment of each machine.
        address: The cluster; see :func:`trainer.scale.ray.connect`.
        workers: Processes that send requests; they take turns at the servers.

    Attributes:
        identity: Name of the chat model; see :func:`~trainer.oracle.model_spec.model_identity`.

    Raises:
        TrainingError: If the chat model can't be set up, or the servers offer different ones.
        ProtectionError: If there is no cluster at the address.
    """

    def __init__(self, models: Sequence[ModelSpec], address: str, *, workers: int = 4) -> None:
        if len({(each.provider, each.name) for each in models}) != 1:
            raise TrainingError("nothing was sent: all servers must offer the same model, by the same name.")
        built = [each.build() for each in models]
        self.identity = model_identity(built[0], *built[1:])
        self._model, self._models, self._count = built[0], tuple(models), max(workers, len(models))
        self._ray = connect(address)
        self._workers: _Workers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._workers is not None:
            self._workers.close()

    def open(
        self,
        ledger: Ledger,
        budget: Budget,
        *,
        access: Access,
        questions_per_call: int,
        requests_per_second: float | None,
        max_concurrency: int,
    ) -> Oracle:
        """Have the chat model answer through a ledger; see :class:`~trainer.oracle.oracle.Oracle`.

        Args:
            ledger: Where this process records every query and answer.
            budget: Limit on queries and cost of all workers together.
            access: Whether log-probabilities are asked for.
            questions_per_call: Most questions about one picture in one request.
            requests_per_second: Upper limit of all workers together.
            max_concurrency: Requests in flight at once, of all workers together.

        Raises:
            TrainingError: If the arguments contradict each other.
        """
        check_access(access, questions_per_call)
        self.__exit__()
        self._workers = _Workers(
            self._ray, self._models, self._count, (access, questions_per_call), max_concurrency
        )
        asked = _Sent(self._workers, self._model, access=access, questions_per_call=questions_per_call)
        return Oracle(
            asked,
            ledger,
            budget,
            access=access,
            requests_per_second=requests_per_second,
            max_concurrency=max_concurrency,
        )


class _Sent(BatchedModel):
    """Asks a chat model through workers, and reads the replies here."""

    def __init__(self, workers: _Workers, model: Any, *, access: Access, questions_per_call: int) -> None:
        super().__init__(model, access=access, questions_per_call=questions_per_call)
        self._workers = workers

    def reply(self, queries: Sequence[Query]) -> AIMessage:
        return self._workers.send(queries)


class _Workers:
    """The workers, the idlest of which gets the next request. Any number of threads may send."""

    def __init__(
        self, ray: Any, models: Sequence[ModelSpec], count: int, how: tuple[Access, int], concurrency: int
    ) -> None:
        self._ray, self._models, self._how = ray, models, how
        # Workers only wait for servers, so they take no CPU from a cluster that trains or protects.
        options = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0, "max_concurrency": concurrency}
        self._kind = ray.remote(_Worker).options(scheduling_strategy="SPREAD", **options)
        self._lock = threading.Lock()
        self._busy = [0] * count
        self._actors = [self._start(place) for place in range(count)]
        self._deaths = 0

    def _start(self, place: int) -> Any:
        return self._kind.remote(self._models[place % len(self._models)], *self._how)

    def send(self, queries: Sequence[Query]) -> AIMessage:
        """Send a request, and return the reply.

        Raises:
            RequestLostError: If the worker died: nobody knows whether the server has answered.
            OracleError: If several workers died in a row.
            Exception: Whatever the chat model's client raised, without the request.
        """
        while True:
            place, actor = self._take()
            is_sent = False
            try:
                self._ray.get(actor.is_ready.remote())
                is_sent = True
                reply, failure = self._ray.get(actor.reply.remote(list(queries)))
                break
            except self._ray.exceptions.RayActorError:
                self._replace(place, actor)
                if is_sent:
                    raise RequestLostError from None
            finally:
                with self._lock:
                    self._busy[place] -= 1
        self._deaths = 0
        if failure is not None:
            raise unpack(failure)
        found: AIMessage = reply
        return found

    def _take(self) -> tuple[int, Any]:
        """Choose the idlest worker."""
        with self._lock:
            if self._deaths >= _MOST_DEATHS:
                raise OracleError(
                    f"{self._deaths} workers died in a row, so nothing more was sent. See that the machines of the "
                    "cluster have the chat model's package and its API key, then Ray's logs."
                )
            place = self._busy.index(min(self._busy))
            self._busy[place] += 1
            return place, self._actors[place]

    def _replace(self, place: int, dead: Any) -> None:
        with self._lock:
            if self._actors[place] is not dead:
                return  # another thread has noticed
            self._deaths += 1
            self._actors[place] = self._start(place)
        self._ray.kill(dead)  # it may only be out of reach
        logger.warning("a worker died; what it had sent counts as sent, and another takes its place")

    def close(self) -> None:
        """End the workers."""
        for actor in self._actors:
            self._ray.kill(actor)


class _Worker:
    """Sends requests; an actor of Ray."""

    def __init__(self, model: ModelSpec, access: Access, questions_per_call: int) -> None:
        self._model = BatchedModel(
            ModelSpec(*model).build(), access=access, questions_per_call=questions_per_call
        )

    def is_ready(self) -> bool:
        """Answer as soon as the chat model is set up."""
        return True

    def process(self) -> int:
        """Id of this process on its machine."""
        return os.getpid()

    def reply(self, queries: Sequence[Query]) -> tuple[AIMessage | None, bytes | None]:
        """Send a request, and return the reply or the packed failure."""
        try:
            return self._model.reply(queries), None
        except Exception as error:  # noqa: BLE001  raised again where the oracle judges it
            return None, pack(error)
