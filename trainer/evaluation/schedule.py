"""The order of attacks: what runs at once, what waits for what, and in which threads."""

from __future__ import annotations

import copy
from collections import defaultdict
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, ParamSpec, TypeVar

from langchain_vpp.guard.pool import usable_cpus
from langchain_vpp.network.threads import one_thread
from trainer.evaluation.attack_suite import AttackSuite, SuiteOutcome
from trainer.evaluation.conditions import ORIGINALS, REPEATED
from trainer.evaluation.results import OURS
from trainer.runtime.cancellation import thread_pools
from trainer.runtime.rng import keyed_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch
    from torch import Tensor

    from trainer.attackers.classifier import AttackData, Attacker, Scores
    from trainer.evaluation.conditions import Condition, Conditions
    from trainer.evaluation.pictures import Pictures
    from trainer.evaluation.questions import Questionnaire

P = ParamSpec("P")
T = TypeVar("T")

_TICK_S: Final = 0.5
"""Seconds between two reports of progress."""


class Phase(NamedTuple):
    """Progress of an evaluation."""

    name: Literal["attack", "ask"]
    done: int
    of: int


class AttackOutcome(NamedTuple):
    """Results of all attacks under one condition."""

    scores: Mapping[str, Scores]
    """Name of the attacker -> its scores."""
    sent: Mapping[int, bytes]
    """Row of the test split -> encoded picture that the chat model is asked about."""
    suite: SuiteOutcome
    restored: Mapping[str, Tensor]
    """Name of the attacker -> classes that it reads from reconstructions of the test images, ``[N, A]``."""


class _Started(NamedTuple):
    """Attacks that have started under one condition."""

    sent: Mapping[int, bytes]
    """Row of the test split -> encoded picture."""
    scores: Mapping[str, Future[Scores]]
    """Name of the attacker -> its scores."""
    suite: Future[SuiteOutcome] | None

    @property
    def futures(self) -> tuple[Future[Any], ...]:
        """All results to wait for."""
        return (*self.scores.values(), *(() if self.suite is None else (self.suite,)))

    def wait(self) -> None:
        """Wait for all attacks; raise the first error."""
        for future in self.futures:
            future.result()


class _Turns(NamedTuple):
    """Thread pools for work that may have to follow other work."""

    workers: Executor
    """Threads that compute."""
    waiting: Executor
    """Threads that wait for earlier work, so that no processor idles."""

    def follow(
        self, previous: Future[Any], work: Callable[P, T], *given: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Start work once ``previous`` is done; an error of ``previous`` becomes the error of this work."""

        def take_turn() -> T:
            previous.result()
            return self.workers.submit(work, *given, **named).result()

        return self.waiting.submit(take_turn)


class AttackSchedule:
    """Protects everything and runs all attacks, as many at once as there are processors.

    Each engine is attacked from its weakest level to its strongest, and every attacker goes on from where the previous
    level left it. An attacker that is done with one level starts the next while others are still at it.

    Args:
        conditions: All engines and levels.
        pictures: Delivers the pictures.
        questionnaire: Decides which pictures are kept for the chat model.
        attackers: Attackers of the private attributes.
        suite: Further attacks.
        seed: Seed of the evaluation.
        tell: Called often, in the calling thread.
    """

    def __init__(
        self,
        conditions: Conditions,
        pictures: Pictures,
        questionnaire: Questionnaire,
        attackers: Sequence[Attacker],
        suite: AttackSuite,
        *,
        seed: int,
        tell: Callable[[Phase], None],
    ) -> None:
        self._conditions, self._pictures, self._questionnaire = conditions, pictures, questionnaire
        self._attackers, self._suite, self._seed, self._tell = tuple(attackers), suite, seed, tell
        self._started: dict[Condition, _Started] = {}

    def run(self) -> dict[Condition, AttackOutcome]:
        """Run all attacks and wait for them.

        Raises:
            Exception: The first error of any attack; the others are given up.
        """
        chains: dict[str, list[Condition]] = defaultdict(list)
        for condition in sorted(self._conditions.protected, key=lambda condition: condition.level):
            chains[condition.name].append(condition)
        longest_first = sorted(chains.values(), key=len, reverse=True)  # so that none of them ends alone
        at_once = max(1, min(len(chains), usable_cpus()))  # each holds the pictures of two levels
        sizes = (usable_cpus(), 2 * at_once * (len(self._attackers) + 1), at_once)
        # Parallel attackers with one thread each: faster than sharing, and no result depends on the cores.
        with one_thread(), thread_pools(*sizes) as (workers, waiting, engines):
            turns = _Turns(workers, waiting)
            self._wait([engines.submit(self._attack_originals, turns)])
            self._wait([engines.submit(self._attack_engine, chain, turns) for chain in longest_first])
            self._wait(self._started[self._conditions.originals].futures)
        return {condition: self._collected(started) for condition, started in self._started.items()}

    def _wait(self, futures: Iterable[Future[Any]]) -> None:
        pending = set(futures)
        while pending:
            self._tell_progress()
            finished, pending = wait(pending, timeout=_TICK_S, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        self._tell_progress()

    def _tell_progress(self) -> None:
        conditions = (self._conditions.originals, *self._conditions.protected)
        of = sum(len(self._against(each)) + self._has_suite(each) for each in conditions)
        futures = [future for started in list(self._started.values()) for future in started.futures]
        self._tell(Phase("attack", sum(future.done() for future in futures), of))

    def _against(self, condition: Condition) -> tuple[Attacker, ...]:
        """Choose the attackers under a condition: averages of repeated queries meet the first one alone."""
        return self._attackers[:1] if condition.name == REPEATED else self._attackers

    def _has_suite(self, condition: Condition) -> bool:
        return condition.name in {OURS, ORIGINALS} and not self._suite.is_empty

    def _attack_originals(self, turns: _Turns) -> None:
        """Let every attacker begin to learn from originals."""
        condition = self._conditions.originals
        data, sent = self._deliver(condition, turns)
        scores = {
            each.name: turns.workers.submit(
                each.prepare, data, generator=self._generator(f"prepare/{each.name}")
            )
            for each in self._attackers
        }
        suite = None
        if self._has_suite(condition):
            paired = self._paired(condition, data, turns.workers)
            suite = turns.workers.submit(self._suite.prepare, paired, generator=self._generator("prepare"))
        self._started[condition] = _Started(sent, scores, suite)

    def _attack_engine(self, chain: Sequence[Condition], turns: _Turns) -> None:
        """Attack an engine from its weakest level to its strongest."""
        prepared = self._started[self._conditions.originals].scores
        copies = {
            each.name: turns.follow(prepared[each.name], copy.deepcopy, each)
            for each in self._against(chain[0])
        }
        last: Mapping[str, Future[Any]] = copies
        before: _Started | None = None
        for condition in chain:
            data, sent = self._deliver(condition, turns)
            key = f"{condition.name}/{condition.level}"
            scores = {
                name: turns.follow(last[name], _attack, copied, data, self._generator(f"attack/{key}/{name}"))
                for name, copied in copies.items()
            }
            started = _Started(sent, scores, self._attack_with_suite(condition, data, turns))
            last, self._started[condition] = scores, started
            if before is not None:
                before.wait()
            before = started
        if before is not None:
            before.wait()

    def _attack_with_suite(
        self, condition: Condition, data: AttackData, turns: _Turns
    ) -> Future[SuiteOutcome] | None:
        """Attack with a copy of the suite that has learned from originals."""
        prepared = self._started[self._conditions.originals].suite
        if prepared is None or not self._has_suite(condition):
            return None
        paired = self._paired(condition, data, turns.workers)
        generator = self._generator(f"audit/{condition.name}/{condition.level}")
        return turns.follow(prepared, _attack_with_copy, self._suite, paired, generator)

    def _collected(self, started: _Started) -> AttackOutcome:
        """Collect the results of attacks that are done, and read the reconstructions."""
        scores = {name: future.result() for name, future in started.scores.items()}
        suite = SuiteOutcome() if started.suite is None else started.suite.result()
        restored: dict[str, Tensor] = {}
        if suite.reconstructions is not None:
            # By attackers that know originals: a reconstruction is meant to look like one.
            restored = {each.name: each.read(suite.reconstructions).argmax(dim=2) for each in self._attackers}
        return AttackOutcome(scores, started.sent, suite, restored)

    def _deliver(self, condition: Condition, turns: _Turns) -> tuple[AttackData, Mapping[int, bytes]]:
        return self._pictures.under(condition, self._questionnaire.rows(condition), turns.workers)

    def _paired(self, condition: Condition, data: AttackData, workers: Executor) -> AttackData:
        """Replace the training images by those that are shown side by side, if the suite learns from any."""
        if not self._suite.learns_from_pairs:
            return data
        return data._replace(train=self._pictures.paired(condition, workers))

    def _generator(self, purpose: str) -> torch.Generator:
        return keyed_generator(self._seed, purpose)


def _attack(attacker: Future[Attacker], protected: AttackData, generator: torch.Generator) -> Scores:
    return attacker.result().attack(protected, generator=generator)


def _attack_with_copy(suite: AttackSuite, protected: AttackData, generator: torch.Generator) -> SuiteOutcome:
    return copy.deepcopy(suite).attack(protected, generator=generator)
