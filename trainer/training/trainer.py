"""The training loop: what is asked, learned, measured and saved, in this order."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.language_models import BaseChatModel

from langchain_vpp.artifact import Manifest, save_artifact
from langchain_vpp.errors import BudgetExhaustedError, TrainingError
from trainer.data.answers import answer_space
from trainer.data.checks import check_for_training
from trainer.data.contamination import note_training_pictures
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Counts, Oracle
from trainer.runtime.precision import cpu_precision
from trainer.runtime.processes import Alone
from trainer.training.batches import TrainingSplit
from trainer.training.budget import FRONT_LEVELS, BudgetPlan, require_price
from trainer.training.calibration import presets, unanswered_questions, unread_attributes
from trainer.training.checkpoint import (
    RunIdentity,
    check_answer_space,
    load_checkpoint,
    save_checkpoint,
    space_digest,
)
from trainer.training.domain import give_domain
from trainer.training.fronts import Fronts
from trainer.training.learners import Learners, SuppliedParts, weights_digest
from trainer.training.mending import Mending
from trainer.training.probing import UtilityProbing
from trainer.training.progress import Phase, Progress
from trainer.training.references import ask_references, complete, draw_pairs, require_shown, shown
from trainer.training.run_folder import exclusive
from trainer.training.run_log import MetricsLog
from trainer.training.shared import Book, SharedAnswers, ledger_model, open_ledger, require_divisible
from trainer.training.step import TrainingStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_vpp.network.config import ProtectorConfig
    from langchain_vpp.network.protector import Protector
    from trainer.algorithms.interface import UtilityEstimator
    from trainer.data.dataset import Dataset
    from trainer.oracle.oracle import Asks, Elsewhere
    from trainer.oracle.subprocess import SubprocessOracle
    from trainer.runtime.processes import Processes
    from trainer.training.assessor import Assessor
    from trainer.training.config import TrainerConfig

logger = logging.getLogger(__name__)
CHECKPOINT: Final = "checkpoint.pt"
"""Name of the file, in a run's folder, from which the run is resumed."""
_OF_CLIPS: Final = ("student", "label-only", "none")
"""Estimators that learn from videos too."""


class Trainer:
    """Learns a protector by querying a chat model as a black box.

    Args:
        model: The chat model that the protector is to serve, queried through LangChain from within this process. Or
            what queries it from others, such as a :class:`~trainer.oracle.subprocess.SubprocessOracle`: then answers
            that are in flight when this process is killed are recorded too, and a resumed run equals an uninterrupted
            one.
        dataset: Images or videos with task questions and private labels.
        config: Settings.
        estimator: Source of utility gradients, in place of the one that ``config`` names.
        assessor: Assessor to train further, in place of a new one.
        protector: Protector whose weights training starts from, such as that of an earlier artifact when the provider
            changed its model; new weights if not given. It is not changed.

    Attributes:
        warnings: Doubts about the data set, a sentence each; see :func:`trainer.data.checks.check_for_training`.
        counts: Answers and failures of the chat model in the last call of :meth:`fit`.

    Raises:
        TrainingError: If the settings or the data can't be trained with.

    Example:
        >>> trainer = Trainer(ChatOpenAI(model="gpt-4o-mini"), load_dataset("cards"))  # doctest: +SKIP
        >>> trainer.fit("runs/cards")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: BaseChatModel | Elsewhere,
        dataset: Dataset,
        config: TrainerConfig,
        *,
        estimator: UtilityEstimator | None = None,
        assessor: Assessor | None = None,
        protector: Protector | None = None,
    ) -> None:
        self._model, self._dataset, self._config = model, dataset, config
        self._supplied = SuppliedParts(estimator, assessor, protector)
        self.warnings = check_for_training(dataset)
        self.counts = Counts()
        require_price(config.max_cost, config.price)
        if dataset.has_clips and config.estimator not in _OF_CLIPS:
            raise TrainingError(
                f"the estimator {config.estimator!r} perturbs single pictures, and the data set has videos; nothing "
                f"was sent. Choose one of {', '.join(_OF_CLIPS)}."
            )
        if config.references == "model":
            require_shown(dataset)
        if protector is not None and _shape(protector.config) != _shape(config.protector):
            raise TrainingError(
                "the protector to start from is not of the shape that config.protector asks for; nothing was sent. "
                "Give config.protector the values of the other one's config."
            )
        if assessor is not None and list(assessor.attributes.items()) != list(
            dataset.private_attributes.items()
        ):
            raise TrainingError(
                "the assessor reads other private attributes than the data set labels; nothing was sent. "
                "Give it those of the data set."
            )

    def fit(
        self,
        out: str | Path,
        *,
        resume: bool = False,
        ledger: str | Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        processes: Processes | None = None,
    ) -> Path:
        """Train, calibrate and save an artifact.

        Args:
            out: Folder for the artifact, the ledger, checkpoints and metrics.
            resume: Go on from the last checkpoint, if there is one.
            ledger: File of the paid queries, which runs may share: a query that one run has paid is free for all, and
                the budget counts the queries of all. ``ledger.sqlite`` in ``out`` if not given.
            on_progress: Called often, in this thread.
            processes: Those that run this training together, each of which makes the same call.

        Returns:
            The artifact's folder, which is ``out``.

        Raises:
            TrainingError: See :mod:`langchain_vpp.errors`. Paid answers are in the ledger: call again with ``resume``.
                Also if another run is writing to ``out``; then nothing was touched.
        """
        folder, together = Path(out), processes or Alone()
        require_divisible(self._config, together)
        path = folder / "ledger.sqlite" if ledger is None else Path(ledger)
        identity = self.identity
        with ExitStack() as held:
            book: Book | None = None

            def begin() -> None:
                nonlocal book
                held.enter_context(exclusive(folder))
                if (folder / CHECKPOINT).exists() and not resume:
                    raise TrainingError(
                        f"{folder} holds a run already; nothing was done. Resume it or choose another folder."
                    )
                opened = held.enter_context(open_ledger(path, identity))
                oracle = self._connect(opened)
                self.counts = oracle.counts
                book = Book(oracle, opened)

            together.from_first(begin)
            held.enter_context(cpu_precision(self._config.precision))
            run = _Run(
                self._dataset,
                self._supplied,
                identity,
                folder=folder,
                ledger=path,
                book=book,
                processes=together,
                report=on_progress,
            )
            run.complete()
        return folder

    @property
    def identity(self) -> RunIdentity:
        """Everything that a resumed run must have in common with this one."""
        model, supplied = self._model, self._supplied
        return RunIdentity(
            self._config,
            self._dataset.digest,
            model_identity(model) if isinstance(model, BaseChatModel) else model.identity,
            "" if supplied.estimator is None else type(supplied.estimator).__qualname__,
            supplied.assessor is not None,
            weights_digest(supplied.protector),
        )

    def _connect(self, ledger: Ledger) -> Oracle | SubprocessOracle:
        """Have the chat model answer through a ledger."""
        model, config = self._model, self._config
        connect: Callable[..., Oracle | SubprocessOracle] = (
            partial(Oracle, model) if isinstance(model, BaseChatModel) else model.open
        )
        return connect(
            ledger,
            Budget(config.max_queries, config.max_cost),
            access=config.access,
            questions_per_call=config.questions_per_call,
            requests_per_second=config.requests_per_second,
            max_concurrency=config.max_concurrency,
        )


def _shape(config: ProtectorConfig) -> ProtectorConfig:
    """Settings that the shapes of a protector's weights depend on; training calibrates the level anew."""
    return config.model_copy(update={"level_knots": (0.0, 1.0)})


class _Run:
    """The loop of one call of :meth:`Trainer.fit`, and the parts that it goes through."""

    def __init__(
        self,
        dataset: Dataset,
        supplied: SuppliedParts,
        identity: RunIdentity,
        *,
        folder: Path,
        ledger: Path,
        book: Book | None,
        processes: Processes,
        report: Callable[[Progress], None] | None,
    ) -> None:
        config = identity.config
        self._config, self._dataset, self._identity, self._folder = config, dataset, identity, folder
        self._ledger, self._book, self._processes, self._report = ledger, book, processes, report
        self._step = 0
        """Protector steps that are finished."""
        self._unread: tuple[str, ...] = ()
        """Private attributes that the assessor can't read even from originals."""
        self._plan = BudgetPlan.of(config)
        self._space = answer_space(dataset)
        self._split = TrainingSplit.load(
            dataset,
            self._space,
            config.protector.working_resolution,
            labelled=config.references == "labels",
        )
        self._pictures = dataset.picture_digests("train")
        self._learners = Learners.build(
            config, supplied, self._space, dataset.private_attributes, self._split
        )
        self._check_budget()
        answers = SharedAnswers(processes, ledger_model(identity), book)
        self._oracle: Asks = answers
        self._probing = UtilityProbing(self._plan, self._space, self._learners.estimator, answers, answers)
        self._stepping = TrainingStep(
            config, self._split, self._learners, self._probing, start=supplied.protector, processes=processes
        )
        self._fronts = Fronts(
            config,
            self._plan,
            dataset,
            self._split,
            self._learners,
            oracle=answers,
            progress=lambda count: self._tell("validation", count, len(FRONT_LEVELS)),
        )
        self._mending = Mending(config, self._split, self._learners, self._fronts)

    def complete(self) -> None:
        """Go on from the checkpoint, if there is one, to the artifact."""
        checkpoint = self._folder / CHECKPOINT
        resumed = self._processes.from_first(checkpoint.exists)
        if resumed:
            state = load_checkpoint(checkpoint, self._identity, ledger=self._ledger)
            check_answer_space(checkpoint, state, self._space, ledger=self._ledger)
            self._load(state)
        folder = self._folder if self._processes.is_first else None
        with MetricsLog(folder, step=self._step, tensorboard=self._config.tensorboard) as metrics:
            if not resumed:
                self._pretrain()
                self._save()
            self._learn(metrics)
            while self._mending.mend(self._step):
                self._save()
                self._learn(metrics)
        self._finish()

    def _pretrain(self) -> None:
        """Let the networks learn what costs no query, and name what the assessor can't read."""
        config, steps = self._config, self._config.pretraining_steps
        learners, assessor = self._learners, self._learners.assessor
        learners.pretrain_assessor(config, self._split, lambda step: self._tell("assessor", step, steps))
        self._unread = unread_attributes(assessor, self._fronts.validation, self._fronts.attack)
        if self._unread and not assessor.has_learned:
            self._learners.teach_assessor(
                config, self._split, lambda step: self._tell("assessor", step, steps), turn=1
            )
            self._unread = unread_attributes(assessor, self._fronts.validation, self._fronts.attack)
        if self._unread:
            logger.warning(
                "the assessor reads %s of validation originals no better than a guess, or far worse than an attacker, "
                "so the protector will not learn to hide it: give more labelled pictures, more pretraining_steps, or "
                "an assessor that has learned elsewhere",
                ", ".join(map(repr, self._unread)),
            )
        if config.references == "model":
            self._buy_references()
        self._pretrain_estimator()
        if config.references == "model":
            split = self._split
            split.references.copy_(complete(split.known, split.phrasings, split.images, learners.estimator))

    def _pretrain_estimator(self) -> None:
        """Let the estimator learn from labels, once more if it still knows no answer to a question."""
        config, learners, validation = self._config, self._learners, self._fronts.validation
        for turn in range(2):
            learners.pretrain_estimator(
                config, lambda step: self._tell("student", step, config.pretraining_steps), turn=turn
            )
            unanswered = unanswered_questions(learners.estimator, validation)
            if not unanswered:
                return
        logger.warning(
            "the student answers %s about validation originals no better than a guess, so nothing pulls against "
            "hiding what these questions need: give more labelled pictures or more pretraining_steps",
            ", ".join(map(repr, unanswered)),
        )

    def _buy_references(self) -> None:
        """Ask the chat model about originals that may be shown."""
        split, count = self._split, self._plan.references
        pairs = draw_pairs(split.phrasings, shown(self._dataset, "train"), count, seed=self._config.seed)
        split.known.copy_(ask_references(self._oracle, self._space, split.images, split.phrasings, pairs))
        self._fronts.refer()

    def _learn(self, metrics: MetricsLog) -> None:
        """Take the steps that are left, with fronts and checkpoints in between."""
        steps = self._mending.steps
        while self._step < steps and not self._fronts.is_stale:
            row = self._stepping.take(
                self._step,
                strictness=self._mending.strictness,
                on_answer=lambda: self._tell("protector", self._step, steps),
            )
            self._step += 1
            self._mending.note(self._step)
            if self._step % 10 == 0:
                metrics.write(self._step, row)
            validating = self._step in self._plan.validation_steps
            if validating:
                metrics.write(self._step, self._fronts.update(self._step))
            if validating or self._step % self._config.checkpoint_every == 0 or self._step == steps:
                self._save()
            self._tell("protector", self._step, steps)

    def _finish(self) -> None:
        """Save the artifact: the present weights, or earlier ones with a better front."""
        config = self._config
        chosen = self._fronts.choose(self._step)
        protector = self._fronts.protector(chosen)
        if self._book is None:
            return
        queries, cost = self._book.ledger.spent()
        save_artifact(
            self._folder,
            protector,
            Manifest(
                protector={},
                private_attributes=self._dataset.private_attributes,
                unread=self._unread,
                questions=self._space.questions,
                trained_against=self._identity.model,
                access=config.access,
                queries=queries,
                cost_usd=cost if config.price else None,
                steps=chosen.step,
                seed=config.seed,
                data_digest=self._dataset.digest,
                training_digest=note_training_pictures(self._folder, self._pictures),
                started_from=self._identity.started_from,
                questions_per_call=config.questions_per_call,
                front=chosen.front,
                front_measured_by=self._fronts.measured_by if chosen.front else "",
                presets=presets(protector, self._learners.estimator, self._fronts.validation, chosen.front),
                licence=config.licence,
                attribution=config.attribution,
                created_with=f"langchain-vpp {version('langchain-vpp')}",
            ),
        )
        give_domain(
            self._folder,
            self._dataset,
            seed=config.seed,
            progress=lambda done, of: self._tell("domain", done, of),
        )

    def _check_budget(self) -> None:
        """Refuse a budget with which nothing can be learned or measured."""
        least, plan = self._learners.estimator.min_queries, self._plan
        if self._config.references == "model" and self._config.estimator != "none" and not plan.references:
            raise BudgetExhaustedError(
                f"a budget of {self._config.max_queries} queries leaves none for reference answers; nothing was sent. "
                "Give --max-queries, or labels."
            )
        if plan.training < least:
            raise BudgetExhaustedError(
                f"a budget of {self._config.max_queries} queries leaves nothing to learn utility from: this estimator "
                f"needs {least} or more for training; nothing was sent. "
                "Give --max-queries, or choose the estimator 'none'."
            )
        if self._plan.validation_steps and not self._plan.front_point:
            raise BudgetExhaustedError(
                "the validation share of the budget is too small for so many fronts; nothing was sent. "
                "Give --max-queries, or ask for fewer validations."
            )

    def _save(self) -> None:
        self._processes.require_same(weights_digest(self._learners.protector))
        if self._book is None:
            return
        state: dict[str, Any] = {
            "step": self._step,
            "leak": self._stepping.leak,
            "space": space_digest(self._space),
            "unread": list(self._unread),
        }
        if self._config.references == "model":
            state |= {"known": self._split.known, "references": self._split.references}
        for part in (self._probing, self._learners, self._fronts, self._mending):
            state |= part.state_dict()
        save_checkpoint(self._folder / CHECKPOINT, self._identity, state)

    def _load(self, state: dict[str, Any]) -> None:
        self._step, self._stepping.leak = state["step"], state["leak"]
        self._unread = tuple(state.get("unread", ()))
        for name in {"known", "references"} & state.keys():
            getattr(self._split, name).copy_(state[name])
        if self._learners.have_changed(state):
            self._pretrain()  # costs no query; the history of answers is restored below
        self._probing.load_state_dict(state)
        self._learners.load_state_dict(
            state, partial(self._probing.recall, store_images=self._config.store_images)
        )
        self._fronts.load_state_dict(state)
        self._mending.load_state_dict(state)

    def _tell(self, phase: Phase, step: int, steps: int) -> None:
        if self._report is None or self._book is None:
            return
        queries, cost = self._book.ledger.spent()
        self._report(
            Progress(
                phase,
                step,
                steps,
                queries,
                self._config.max_queries,
                cost,
                utility=self._probing.accuracy,
                leak=self._stepping.leak,
            )
        )
