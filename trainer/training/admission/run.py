"""The run of a learned admission: read, ask, believe, measure, save."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from langchain_vpp.artifact import FrontPoint, Manifest, ShownKinds, save_admission
from langchain_vpp.engines.words.kinds import KINDS
from langchain_vpp.engines.words.vault import Vault
from langchain_vpp.errors import BudgetExhaustedError, DataError, TrainingError
from trainer.data.checks import require_pictures
from trainer.data.contamination import note_training_pictures
from trainer.oracle.ledger import Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Counts, Oracle
from trainer.oracle.query import Query
from trainer.oracle.scoring import accuracy
from trainer.oracle.subprocess import SubprocessOracle
from trainer.runtime.rng import keyed_generator
from trainer.training.admission.learner import KindsLearner, Subject
from trainer.training.admission.pages import Pages
from trainer.training.budget import require_price
from trainer.training.progress import Phase, Progress
from trainer.training.run_folder import exclusive
from trainer.training.run_log import MetricsLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.language_models import BaseChatModel

    from langchain_vpp.engines.words.reader import TextReader
    from trainer.data.dataset import Dataset
    from trainer.data.format import Task
    from trainer.oracle.query import Purpose
    from trainer.training.admission.config import AdmissionConfig
    from trainer.training.admission.learner import KindOffer
    from trainer.training.admission.pages import Page

_RUN: Final = "admission.json"
"""File of a run's folder by which a resumed run knows its own."""
_FREE_SETTINGS: Final = frozenset(
    {"max_queries", "max_cost", "max_concurrency", "requests_per_second", "price"}
)
"""Settings that may change when a run is resumed."""


class AdmissionTrainer:
    """Learns which kinds of words and regions the questions of a data set need.

    The chat model sees pictures of the training and validation split, in which kinds are shown that the settings allow:
    those that are known to be harmless, and private kinds that were named.

    Args:
        model: The chat model, or a :class:`~trainer.oracle.subprocess.SubprocessOracle`; see
            :class:`~trainer.training.trainer.Trainer`.
        dataset: Pictures with questions and reference answers. Private attributes need no labels.
        config: Settings.
        reader: Finds the words of a picture. Default: :class:`~langchain_vpp.engines.words.reader.RapidReader`.

    Attributes:
        counts: Answers and failures of the chat model in the last call of :meth:`fit`.

    Raises:
        TrainingError: If there is a limit on cost and no price.
        DataError: If the data set has videos.

    Example:
        >>> trainer = AdmissionTrainer(
        ...     ChatOpenAI(model="gpt-4o-mini"), load_dataset("letters", needs_attributes=False), AdmissionConfig()
        ... )  # doctest: +SKIP
        >>> trainer.fit("runs/letters")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: BaseChatModel | SubprocessOracle,
        dataset: Dataset,
        config: AdmissionConfig,
        *,
        reader: TextReader | None = None,
    ) -> None:
        self._model, self._dataset, self._config, self._reader = model, dataset, config, reader
        self.counts = Counts()
        require_price(config.max_cost, config.price)
        require_pictures(dataset, "learning which words a task needs")

    def fit(
        self,
        out: str | Path,
        *,
        resume: bool = False,
        ledger: str | Path | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Path:
        """Learn, measure and save an artifact.

        A run that was interrupted asks the same queries again from the first on: the ledger answers those that were
        paid. So a resumed run ends as one that was not interrupted.

        Args:
            out: Folder for the artifact, the ledger, and the words that were read.
            resume: Go on with the run in ``out``, if there is one.
            ledger: File of the paid queries, which runs may share. ``ledger.sqlite`` in ``out`` if not given.
            on_progress: Called often, in this thread.

        Returns:
            The artifact's folder, which is ``out``.

        Raises:
            TrainingError: See :mod:`langchain_vpp.errors`. Paid answers are in the ledger: call again with ``resume``.
        """
        folder, config, model = Path(out), self._config, self._model
        name = model.identity if isinstance(model, SubprocessOracle) else model_identity(model)
        path = folder / "ledger.sqlite" if ledger is None else Path(ledger)
        with exclusive(folder):
            _claim(folder, config, self._dataset, name, resume=resume)
            price = None if config.price is None else Price(*config.price)
            with Ledger(
                path, model=f"{name}|labels", price=price, store_images=config.store_images
            ) as opened:
                oracle = self._connect(opened)
                self.counts = oracle.counts
                pages = Pages(self._dataset, self._reader, folder / "words")
                run = _Run(self._dataset, config, pages, oracle, opened, report=on_progress)
                run.complete(folder, name)
        return folder

    def _connect(self, ledger: Ledger) -> Oracle | SubprocessOracle:
        model, config = self._model, self._config
        connect: Callable[..., Oracle | SubprocessOracle] = (
            model.open if isinstance(model, SubprocessOracle) else partial(Oracle, model)
        )
        return connect(
            ledger,
            Budget(config.max_queries, config.max_cost),
            access="labels",
            questions_per_call=1,
            requests_per_second=config.requests_per_second,
            max_concurrency=config.max_concurrency,
        )


def _claim(folder: Path, config: AdmissionConfig, dataset: Dataset, model: str, *, resume: bool) -> None:
    """Write down whose run a folder holds.

    Raises:
        TrainingError: If it holds another run, or one that is not to be resumed.
    """
    settings = config.model_dump_json(exclude=set(_FREE_SETTINGS))
    fingerprint = hashlib.sha256(f"{settings}{dataset.digest}{model}".encode()).hexdigest()
    path = folder / _RUN
    if (folder / "checkpoint.pt").exists() or (path.exists() and not resume):
        raise TrainingError(
            f"{folder} holds a run already; nothing was done. Resume it or choose another folder."
        )
    if not path.exists():
        path.write_text(json.dumps({"fingerprint": fingerprint}), encoding="utf-8")
    elif json.loads(path.read_text(encoding="utf-8"))["fingerprint"] != fingerprint:
        raise TrainingError(
            f"the run in {folder} belongs to other settings, data or chat model; nothing was done. Resume with those "
            "of the first call, or choose another folder."
        )


class _Run:
    """One call of :meth:`AdmissionTrainer.fit`."""

    def __init__(
        self,
        dataset: Dataset,
        config: AdmissionConfig,
        pages: Pages,
        oracle: Oracle | SubprocessOracle,
        ledger: Ledger,
        *,
        report: Callable[[Progress], None] | None,
    ) -> None:
        self._dataset, self._config, self._pages = dataset, config, pages
        self._oracle, self._ledger, self._report = oracle, ledger, report
        self._planned = 0
        """Queries that were chosen, paid now or before."""

    def complete(self, folder: Path, model: str) -> None:
        """Go all the way to the artifact."""
        config = self._config
        if config.for_learning < 2 * len(self._dataset.questions):
            raise BudgetExhaustedError(
                f"a budget of {config.max_queries} queries is too small for {len(self._dataset.questions)} questions; "
                "nothing was sent. Give --max-queries."
            )
        train, held_out = (self._read(split) for split in ("train", "val"))
        try:
            learner = KindsLearner(
                [Subject(page.kinds, page.example.tasks) for page in train],
                config.allowed,
                {kind: config.price_of(kind) for kind in KINDS},
                choice=config.query_choice,
                generator=keyed_generator(config.seed, "admission"),
            )
        except ValueError as error:
            reason = str(error)
        else:
            self._learn(learner, train, folder)
            offers = learner.front(config.least_gain)
            self._save(folder, model, learner, self._measured(offers, held_out))
            return
        raise DataError(
            f"nothing can be learned: {reason}. Nothing was sent; name private kinds that may be shown."
        )

    def _read(self, split: str) -> list[Page]:
        examples = [each for each in self._dataset.examples if each.split == split]
        return self._pages.read(examples, lambda count: self._tell("reading", count, len(examples)))

    def _learn(self, learner: KindsLearner, train: Sequence[Page], folder: Path) -> None:
        config = self._config
        budget = config.for_learning
        with MetricsLog(folder, step=0, tensorboard=False) as metrics:
            while self._planned < budget:
                probes = learner.propose(budget - self._planned, least_information=config.least_information)
                if not probes:
                    break
                asked = [(train[each.picture], learner.shown(each), learner.task(each)) for each in probes]
                for probe, score in zip(probes, self._ask(asked, "train"), strict=True):
                    if score is not None:
                        learner.observe(probe, score)
                        metrics.write(self._planned, {"question": probe.question, "right": score})
                self._tell("admission", self._planned, budget)

    def _measured(self, offers: Sequence[KindOffer], pages: Sequence[Page]) -> list[tuple[KindOffer, int]]:
        """Measure the utility of offers on the same questions and pictures, with what is left of the budget."""
        pairs = [(page, task) for page in pages for task in page.example.tasks]
        count = min(len(pairs), (self._config.max_queries - self._planned) // len(offers))
        order = torch.randperm(len(pairs), generator=keyed_generator(self._config.seed, "validation"))
        chosen = [pairs[place] for place in order[: count if self._config.validation else 0].tolist()]
        found = []
        for place, offer in enumerate(offers, start=1):
            asked = [(page, frozenset(offer.kinds) & page.kinds, task) for page, task in chosen]
            scores = [each for each in self._ask(asked, "validate") if each is not None]
            utility = sum(scores) / len(scores) if scores else offer.utility
            found.append((offer._replace(utility=utility), len(scores)))
            self._tell("validation", place, len(offers))
        return found

    def _ask(
        self, asked: Sequence[tuple[Page, frozenset[str], Task]], purpose: Purpose
    ) -> list[float | None]:
        """Ask questions about pictures with some kinds shown, and score the answers; ``None`` for one that is lost."""
        self._planned += len(asked)
        vaults = [Vault() for _ in asked]
        queries = [
            Query(self._pages.paint(page, shown, vault), task.question, task.choices, "words")
            for (page, shown, task), vault in zip(asked, vaults, strict=True)
        ]
        answers = self._oracle.ask(queries, purpose=purpose)
        return [
            None if answer is None else self._score(answer.text, vault, task)
            for answer, vault, (_, _, task) in zip(answers, vaults, asked, strict=True)
        ]

    def _score(self, text: str, vault: Vault, task: Task) -> float:
        """Score an answer as the user's program gets it: with values in the places of tokens, if it restores."""
        given = vault.restored(text) if self._config.restored else text
        return accuracy(given, task.answer, choices=task.choices, answers=task.answers)

    def _save(
        self, folder: Path, model: str, learner: KindsLearner, measured: Sequence[tuple[KindOffer, int]]
    ) -> None:
        config = self._config
        queries, cost = self._ledger.spent()
        levels = _levels(len(measured))
        answers = sum(count for _, count in measured)
        save_admission(
            folder,
            Manifest(
                engine="words",
                protector={},
                shown=tuple(
                    ShownKinds(level=level, kinds=offer.kinds)
                    for level, (offer, _) in reversed(list(zip(levels, measured, strict=True)))
                ),
                needs=learner.needs(),
                prices={kind: config.price_of(kind) for kind in learner.kinds},
                private_attributes={},
                questions=tuple(learner.questions),
                trained_against=model,
                access="labels",
                queries=queries,
                cost_usd=cost if config.price else None,
                steps=self._planned,
                seed=config.seed,
                data_digest=self._dataset.digest,
                training_digest=note_training_pictures(folder, self._dataset.picture_digests("train")),
                front=tuple(
                    FrontPoint(level=level, leak=offer.leak, utility=offer.utility, answers=count)
                    for level, (offer, count) in reversed(list(zip(levels, measured, strict=True)))
                ),
                front_measured_by="the prices of the kinds that are shown, and the chat model, "
                + ("with tokens restored, " if config.restored else "")
                + ("on the validation split" if answers else "as expected from its answers in training"),
                presets=_presets(levels, [offer.utility for offer, _ in measured]),
                licence=config.licence,
                attribution=config.attribution,
                created_with=f"langchain-vpp {version('langchain-vpp')}",
            ),
        )

    def _tell(self, phase: Phase, step: int, steps: int) -> None:
        if self._report is not None:
            queries, cost = self._ledger.spent()
            self._report(Progress(phase, step, steps, queries, self._config.max_queries, cost))


def _levels(count: int) -> list[float]:
    """Return the highest level of each offer, the cheapest first; each offer has an equal part of the levels."""
    return [round((count - place) / count, 6) for place in range(count)]


def _presets(levels: Sequence[float], utilities: Sequence[float]) -> dict[str, float]:
    """Choose presets on the front: all that it gains, 90 % of it, and half of it, each at the lowest price."""
    least, most = utilities[0], max(utilities)

    def cheapest(share: float) -> float:
        wanted = least + share * (most - least) - 1e-9
        return next(level for level, utility in zip(levels, utilities, strict=True) if utility >= wanted)

    return {"low": cheapest(1.0), "balanced": cheapest(0.9), "high": cheapest(0.5)}
