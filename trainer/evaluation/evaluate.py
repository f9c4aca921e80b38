"""The evaluation of a protector: engines x levels x attackers, and the chat model's own answers, as a report."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from langchain_vpp.errors import DataError, TrainingError
from trainer.evaluation.attack_suite import AttackSuite, fresh_classifiers
from trainer.evaluation.conditions import Conditions, EvaluatedEngine
from trainer.evaluation.judging import Answers, Judge
from trainer.evaluation.pictures import Pictures
from trainer.evaluation.questions import Questionnaire
from trainer.evaluation.results import OURS, STRONGEST, QueryCount, Report
from trainer.evaluation.schedule import AttackSchedule, Phase
from trainer.evaluation.settings import EvaluationSettings, not_tested
from trainer.evaluation.splits import Splits, checked_splits
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Oracle
from trainer.oracle.scoring import AnswerJudge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from langchain_vpp.engines import Engine
    from trainer.attackers.classifier import Attacker, Scores
    from trainer.attackers.identity import Embedder
    from trainer.data.dataset import Dataset
    from trainer.evaluation.conditions import Condition
    from trainer.evaluation.schedule import AttackOutcome

_RESOLUTION: Final = 384
"""Longest side in pixels at which attackers see images of an engine that has no working resolution."""


def evaluate(
    source: str | Path | Engine,
    dataset: Dataset,
    model: BaseChatModel | None = None,
    settings: EvaluationSettings | None = None,
    *,
    attackers: Sequence[Attacker] | None = None,
    embedder: Embedder | None = None,
    answer_judge: BaseChatModel | None = None,
    ledger: str | Path | None = None,
    budget: Budget | None = None,
    price: Price | None = None,
    on_progress: Callable[[Phase], None] | None = None,
) -> Report:
    """Measure leak and utility of a protector and of classical engines, on the test split.

    Images of all splits go through each engine one by one and through the same encoder as at run time. Fresh
    classifiers learn the private attributes from protected *train* images at every operating point, are tuned on *val*
    and judged on *test*; further attacks that the settings name do the same. The chat model is asked task questions
    about protected test images, through the ledger. All frames of a video are protected at one level, attackers see
    them together, and the chat model is asked about all of them at once.

    Args:
        source: An artifact's folder, or any engine.
        dataset: Images or videos with task questions and private labels.
        model: The chat model; without one only the leak is measured.
        settings: Sizes, levels, baselines and attacks.
        attackers: Attackers of the private attributes, in place of the settings' classifiers; names must differ.
        embedder: Compares faces for the attack ``identity``, in place of a network of its own.
        answer_judge: Chat model that decides which answers to open questions mean the same ("sofa", "couch"); without
            one only equal words do. It is sent pairs of answers, never a picture; see
            :class:`~trainer.oracle.scoring.AnswerJudge`.
        ledger: File for the queries of this evaluation alone. Needed with a model.
        budget: Limit of what is spent in the ledger, over all calls; unlimited if not given.
        price: Price of tokens, for a budget in money.
        on_progress: Called often, in this thread.

    Raises:
        DataError: If the data set can't show anything: no test image, one class only, or no attribute that can be read
            even from originals; or if two attackers have one name.
        DataError: Also if the artifact's training saw pictures of the test split.
        ArtifactError: If the artifact can't be loaded.
        ProtectionError: If ``face-blur`` is a baseline and the extra ``faces`` is missing.
        BudgetExhaustedError: Before the first query, if all of them would exceed the budget.
        OracleError: If the chat model fails; call again, answers that had arrived are not paid again.
    """
    if model is not None and ledger is None:
        raise TrainingError("an evaluation with a chat model needs a ledger file; nothing was sent.")
    plan = _Plan.make(source, dataset, settings or EvaluationSettings(), attackers, embedder)
    tell = on_progress or (lambda _: None)
    outcomes = plan.attack(tell)
    answers: dict[Condition, Answers] = {}
    queries = QueryCount()
    if model is not None and ledger is not None:
        with Ledger(Path(ledger), model=f"{model_identity(model)}|labels", price=price) as book:
            oracle = Oracle(
                model, book, budget or Budget(2**31), max_concurrency=plan.settings.max_concurrency
            )
            answers, queries = plan.ask(outcomes, oracle, book, tell)
    return plan.report(outcomes, answers, queries, model, answer_judge)


@dataclass(frozen=True)
class _Plan:
    """Everything that one evaluation measures, settled before anything is measured."""

    subject: EvaluatedEngine
    splits: Splits
    settings: EvaluationSettings
    conditions: Conditions
    questionnaire: Questionnaire
    attackers: tuple[Attacker, ...]
    pictures: Pictures
    suite: AttackSuite

    @classmethod
    def make(
        cls,
        source: str | Path | Engine,
        dataset: Dataset,
        settings: EvaluationSettings,
        attackers: Sequence[Attacker] | None,
        embedder: Embedder | None,
    ) -> _Plan:
        """Load the engine, check the data and prepare the attackers."""
        subject = EvaluatedEngine.load(source, dataset)
        working: int | None = getattr(subject.engine, "working_resolution", None)
        resolution = settings.resolution or working or _RESOLUTION
        splits = checked_splits(dataset, settings.private_questions)
        conditions = Conditions.of(subject.engine, settings)
        questionnaire = Questionnaire.draw(splits, settings)
        if attackers is None:
            attackers = fresh_classifiers(splits.attributes, settings, resolution, of_clips=dataset.has_clips)
        if len({each.name for each in attackers}) < max(1, len(attackers)):
            raise DataError("two attackers have one name, or there is none. Nothing was measured.")
        pictures = Pictures(splits, settings, resolution)
        suite = AttackSuite.of(splits, settings, pictures.paired_rows, embedder)
        return cls(subject, splits, settings, conditions, questionnaire, tuple(attackers), pictures, suite)

    def attack(self, tell: Callable[[Phase], None]) -> dict[Condition, AttackOutcome]:
        """Protect the pictures and run all attacks."""
        return AttackSchedule(
            self.conditions,
            self.pictures,
            self.questionnaire,
            self.attackers,
            self.suite,
            seed=self.settings.seed,
            tell=tell,
        ).run()

    def ask(
        self,
        outcomes: Mapping[Condition, AttackOutcome],
        oracle: Oracle,
        ledger: Ledger,
        tell: Callable[[Phase], None],
    ) -> tuple[dict[Condition, Answers], QueryCount]:
        """Ask everything in one batch, so that the budget is checked before the first query."""
        everything = [
            (condition, asked)
            for condition in self.conditions.asked
            for asked in self.questionnaire.under(condition)
        ]
        queries = [
            asked.query(outcomes[condition].sent[asked.pair.row], self.settings.seed)
            for condition, asked in everything
        ]
        before, _ = ledger.spent()
        count = iter(range(1, len(queries) + 1))
        replies = oracle.ask(
            queries, purpose="evaluate", on_answer=lambda: tell(Phase("ask", next(count), len(queries)))
        )
        after, _ = ledger.spent()
        answers: dict[Condition, Answers] = {condition: {} for condition in self.conditions.asked}
        for (condition, asked), reply in zip(everything, replies, strict=True):
            answers[condition][asked] = reply
        return answers, QueryCount(
            tasks=sum(asked.style is None for _, asked in everything),
            private=sum(asked.style is not None for _, asked in everything),
            originals=sum(condition is self.conditions.originals for condition, _ in everything),
            paid=after - before,
            lost=sum(reply is None for reply in replies),
        )

    def report(
        self,
        outcomes: Mapping[Condition, AttackOutcome],
        answers: Mapping[Condition, Answers],
        queries: QueryCount,
        model: BaseChatModel | None,
        answer_judge: BaseChatModel | None,
    ) -> Report:
        """Judge everything that attackers and the chat model made of the pictures.

        Raises:
            DataError: If no attacker reads any private attribute from originals.
        """
        same_meaning = None if answer_judge is None else AnswerJudge(answer_judge).same
        judge = Judge(self.splits, self.questionnaire, self.settings, same_meaning)
        condition = self.conditions.originals
        originals = judge.point(condition, outcomes[condition], answers.get(condition, {}))
        if originals.leak is None:
            raise DataError(
                "the attacker reads no private attribute even from originals, so it can't tell what protection hides. "
                "Give it more training images; no report was made."
            )
        leading = self.attackers[0].name if len(self.attackers) == 1 else STRONGEST
        unreadable = tuple(
            f"{each.reader} hardly reads {each.subject!r} from originals: nothing is known about its protection"
            for each in originals.attributes
            if each.scaled is None and each.reader == leading
        )
        points = tuple(
            judge.point(
                condition,
                outcomes[condition],
                answers.get(condition, {}),
                repeated=self._repeated(condition, outcomes),
                originals=originals,
            )
            for condition in self.conditions.points
        )
        packages = ("langchain-vpp", "torch", "pillow", "langchain-core")
        return Report(
            created_with={name: version(name) for name in packages},
            artifact_digest=self.subject.digest,
            data_digest=self.splits.dataset.digest,
            seed=self.settings.seed,
            model=None if model is None else model_identity(model),
            judge=None if answer_judge is None else model_identity(answer_judge),
            images={split: len(examples) for split, examples in self.splits.examples.items()},
            attacker="; ".join((*(each.description for each in self.attackers), *self.suite.descriptions)),
            task_floors=judge.task_floors(),
            originals=originals,
            points=points,
            queries=queries,
            warnings=(*self.subject.warnings, *self.splits.warnings, *unreadable),
            not_tested=not_tested(self.settings),
        )

    def _repeated(
        self, condition: Condition, outcomes: Mapping[Condition, AttackOutcome]
    ) -> Mapping[str, Scores] | None:
        """Find the scores for averages of repeated queries at one of the protector's levels."""
        if condition.name != OURS:
            return None
        levels = {each.level: outcomes[each].scores for each in self.conditions.repeated}
        return levels.get(condition.level)
