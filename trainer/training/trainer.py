"""The training loop, its order of effects, and its checkpoints."""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
import math
import os
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save as save_tensors
from torch import Tensor

from langchain_vpp.artifact import FrontPoint, Manifest, save_artifact
from langchain_vpp.errors import BudgetExhaustedError, TrainingError
from langchain_vpp.images.codec import decode_image, encode_image
from langchain_vpp.network.protector import Protector
from trainer.algorithms.augmentation import augment
from trainer.algorithms.critical_history import CriticalHistory
from trainer.algorithms.interface import (
    AnswerSpace,
    LabelledImages,
    NoQueries,
    Probes,
    Records,
    UtilityEstimator,
)
from trainer.algorithms.pareto import (
    aggregate_gradients,
    by_preference,
    hypervolume,
    sample_levels,
    smooth_tchebycheff,
    spread_levels,
    weighted_sum,
)
from trainer.algorithms.surrogate import DistilledStudent, StudentSettings
from trainer.algorithms.zeroth_order import (
    BlockCode,
    OperatorCode,
    PerImageDifferences,
    RGFSettings,
    SharedRGF,
    SharedSPSA,
    SPSASettings,
)
from trainer.data.contamination import note_training_pictures
from trainer.data.dataset import Dataset, answer_space, as_image, as_tensor, check_for_training, references
from trainer.oracle.ledger import Answer, Budget, Ledger, Price
from trainer.oracle.model_spec import model_identity
from trainer.oracle.oracle import Counts, Oracle
from trainer.oracle.scoring import distribution
from trainer.oracle.subprocess import SubprocessOracle
from trainer.runtime.optim import SHORTEST_CYCLE, OneCycle, fit
from trainer.runtime.precision import cpu_precision
from trainer.runtime.rng import keyed_generator
from trainer.training.assessor import Assessor, as_assessed, privacy_loss
from trainer.training.run_log import MetricsLog
from trainer.training.validation import Validation, as_query, encode, is_right, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_core.language_models import BaseChatModel

    from langchain_vpp.network.protector import ProtectorConfig
    from trainer.training.config import TrainerConfig

logger = logging.getLogger(__name__)

_WARM_UP = 20
_CALIBRATION_LEVELS = tuple(step / 16 for step in range(17))
_KNOTS = 9
_FRONT_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
_PRESET_UTILITY = {"low": 0.985, "balanced": 0.95}
"""Share of the utility at level 0 that a preset keeps; ``high`` is level 1."""
_PRESET_LEVELS = tuple(step / 20 for step in range(21))


class Progress(NamedTuple):
    """Where a run stands."""

    phase: Literal["assessor", "student", "protector", "validation"]
    step: int
    steps: int
    queries: int
    max_queries: int
    cost: float
    utility: float | None = None
    """Share of the queries answered right lately."""
    leak: float | None = None
    """What the training assessor reads lately, over all levels: 0 at chance, 1 all."""


class _Point(NamedTuple):
    """Of a front; see :class:`~langchain_vpp.artifact.FrontPoint`."""

    level: float
    leak: float
    utility: float
    answers: int = 0


class _Candidate(NamedTuple):
    """Weights that were measured on the validation split."""

    step: int
    weights: dict[str, Tensor]
    knots: tuple[float, ...]
    front: tuple[_Point, ...]
    hypervolume: float

    def plain(self) -> dict[str, Any]:
        """Of types that torch loads without unpickling."""
        return self._asdict() | {"front": [tuple(point) for point in self.front]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Self:
        return cls(**(plain | {"front": tuple(_Point(*point) for point in plain["front"])}))


class _Given(NamedTuple):
    """What a caller brought along in place of what the settings name."""

    estimator: UtilityEstimator | None
    assessor: Assessor | None
    protector: Protector | None


class Trainer:
    """Learns a protector by querying a chat model as a black box.

    Args:
        model: The chat model that the protector is to serve, queried through LangChain from within this process. Or a
            courier, which queries it from another one: then also the answers that are in flight when this process is
            killed are recorded, and a resumed run equals one that was not interrupted.
        dataset: Images with task questions and private labels.
        config: Settings.
        estimator: Where utility gradients come from, in place of the one that ``config`` names.
        assessor: One that has learned before, in place of a new one.
        protector: Whose weights training starts from, such as those of an earlier artifact when the provider changed
            its model; new ones if not given. It is not changed.

    Attributes:
        warnings: What the data set makes doubtful, a sentence each; see :func:`trainer.data.dataset.check_for_training`.
        counts: What the chat model returned in the last call of :meth:`fit`.

    Raises:
        TrainingError: If the settings or the data can't be trained with.

    Example:
        >>> trainer = Trainer(ChatOpenAI(model="gpt-4o-mini"), load_dataset("cards"))  # doctest: +SKIP
        >>> trainer.fit("runs/cards")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: BaseChatModel | SubprocessOracle,
        dataset: Dataset,
        config: TrainerConfig,
        *,
        estimator: UtilityEstimator | None = None,
        assessor: Assessor | None = None,
        protector: Protector | None = None,
    ) -> None:
        self._model, self._dataset, self._config = model, dataset, config
        self._given = _Given(estimator, assessor, protector)
        self.warnings = check_for_training(dataset)
        self.counts = Counts()
        if config.max_cost is not None and config.price is None:
            raise TrainingError(
                "a limit on cost needs the price of tokens; nothing was sent. Give config.price."
            )
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
    ) -> Path:
        """Train, calibrate and save an artifact.

        Args:
            out: Folder for the artifact, the ledger, checkpoints and metrics.
            resume: Go on from the last checkpoint, if there is one.
            ledger: File of the paid queries, which other runs may share: a query that one has paid is free for all, and
                the budget counts what all have spent. ``ledger.sqlite`` in ``out`` if not given.
            on_progress: Called often, in this thread.

        Returns:
            The artifact's folder, which is ``out``.

        Raises:
            TrainingError: See :mod:`langchain_vpp.errors`. What was paid is in the ledger: call again with ``resume``.
                Also if another run is writing to ``out``; then nothing was touched.
        """
        folder = Path(out)
        book = folder / "ledger.sqlite" if ledger is None else Path(ledger)
        with (
            _exclusive(folder),
            cpu_precision(self._config.precision),
            _Run(
                self._model,
                self._dataset,
                self._config,
                self._given,
                folder,
                ledger=book,
                report=on_progress or (lambda _: None),
            ) as run,
        ):
            self.counts = run.oracle.counts
            run.start(resume=resume)
            run.learn()
            run.finish()
        return folder


def _shape(config: ProtectorConfig) -> ProtectorConfig:
    """What weights depend on; training calibrates the level anew."""
    return config.model_copy(update={"level_knots": (0.0, 1.0)})


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder; the operating system lets go when this process ends, however it ends."""
    lock = FileLock(folder / "run.lock", blocking=False)
    taken, failure = False, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        taken = True
    except OSError as error:
        failure = error.strerror or type(error).__name__
    if taken:
        raise TrainingError(
            f"another run is writing to {folder}; nothing was done. Wait for it, or choose another folder."
        )
    if failure:
        raise TrainingError(
            f"the folder {folder} could not be opened: {failure}. "
            "Nothing was sent; choose a folder that can be written."
        )
    try:
        yield
    finally:
        lock.release()


def _named_estimator(config: TrainerConfig, space: AnswerSpace, labelled: LabelledImages) -> UtilityEstimator:
    """Construct the estimator that the settings name; the one place that knows them apart."""
    tuned = config.zeroth_order.model_dump(exclude_none=True)
    cell = tuned.pop("cell", 8)
    code = BlockCode(cell) if config.estimator == "zo-image" else OperatorCode(cell)
    match config.estimator:
        case "student":
            history = CriticalHistory(config.history_capacity, replay=config.replay)
            settings = StudentSettings(
                steps=config.student_steps,
                batch=config.student_batch,
                query_choice=config.query_choice,
                questions_per_call=config.questions_per_call,
            )
            return DistilledStudent(space, labelled, history, settings)
        case "none":
            return NoQueries()
        case "zo-image" | "zo-code":
            return PerImageDifferences(space, code, **tuned)
        case "spsa":
            return SharedSPSA(space, code, SPSASettings(config.batch, momentum=0.0, **tuned))
        case "spsa-gc":
            return SharedSPSA(space, code, SPSASettings(config.batch, **tuned))
        case "rgf":
            return SharedRGF(space, code, RGFSettings(config.batch, **tuned))


class _Run:
    """State of one call of :meth:`Trainer.fit`."""

    def __init__(
        self,
        model: BaseChatModel | SubprocessOracle,
        dataset: Dataset,
        config: TrainerConfig,
        given: _Given,
        folder: Path,
        *,
        ledger: Path,
        report: Callable[[Progress], None],
    ) -> None:
        self.config, self.dataset, self.folder, self.report = config, dataset, folder, report
        self.given = given
        self.identity = model.identity if isinstance(model, SubprocessOracle) else model_identity(model)
        self.space = answer_space(dataset)
        self.attributes = dataset.private_attributes
        self.step = 0
        self.planned = 0
        """Queries that training has chosen so far, whether they had to be paid or not."""
        self.saved = 0
        """Of the queries that were due so far, those that the estimator did not use yet."""
        self.asked: list[tuple[str, int]] = []
        """Ledger key and question of every record that the estimator observed, in order."""
        self.right: list[float] = []
        self.leak: float | None = None
        self.best: _Candidate | None = None
        """The validated weights of the largest hypervolume; of equals the latest."""
        self.stale = 0
        """Validations since the hypervolume last grew."""
        price = None if config.price is None else Price(*config.price)
        together = f"|{config.questions_per_call} at once" if config.questions_per_call > 1 else ""
        self.ledger = Ledger(
            ledger,
            model=f"{self.identity}|{config.access}{together}",
            price=price,
            store_images=config.store_images,
        )
        self.opened = ExitStack()
        self.opened.callback(self.ledger.close)
        self.budget = Budget(config.max_queries, config.max_cost)
        connect: Callable[..., Oracle | SubprocessOracle] = (
            model.open if isinstance(model, SubprocessOracle) else partial(Oracle, model)
        )
        self.oracle = connect(
            self.ledger,
            self.budget,
            access=config.access,
            questions_per_call=config.questions_per_call,
            requests_per_second=config.requests_per_second,
            max_concurrency=config.max_concurrency,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.close()

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self, *, resume: bool) -> None:
        checkpoint = self.folder / "checkpoint.pt"
        if checkpoint.exists() and not resume:
            raise TrainingError(
                f"{self.folder} holds a run already; nothing was done. Resume it or choose another folder."
            )
        train = self.dataset.split("train")
        self.images = self.dataset.pixels(train, self.config.protector.working_resolution)
        self.labels = self.dataset.labels(train)
        self.references = references(train, self.space)
        self.pictures = self.dataset.picture_digests("train")
        self._build()
        self._check_budget()
        resumed = checkpoint.exists()
        if resumed:
            self._load(checkpoint)
        self.metrics = self.opened.enter_context(
            MetricsLog(self.folder, step=self.step, tensorboard=self.config.tensorboard)
        )
        if not resumed:
            self._pretrain()
            self._save()

    def _build(self) -> None:
        with torch.random.fork_rng(
            devices=[]
        ):  # layers draw their weights from torch's global generator only
            torch.manual_seed(self.config.seed)
            # The layout in which processors convolve fastest.
            self.protector = Protector(self.config.protector).to(memory_format=torch.channels_last)
            if self.given.protector is not None:
                self.protector.load_state_dict(self.given.protector.state_dict())
            assessor = self.given.assessor or Assessor(self.attributes)
            self.assessor = assessor.to(memory_format=torch.channels_last)
            self.estimator = self.given.estimator or _named_estimator(
                self.config, self.space, LabelledImages(self.images, self.references)
            )
        self.averaged = copy.deepcopy(self.protector).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(
            self.protector.parameters(), lr=self.config.learning_rate, weight_decay=0.0
        )
        self.assessor_optimizer = torch.optim.AdamW(
            self.assessor.parameters(), lr=self.assessor.learning_rate, weight_decay=1e-2
        )

    def _check_budget(self) -> None:
        if self._training_budget < self.estimator.min_queries:
            raise BudgetExhaustedError(
                f"a budget of {self.config.max_queries} queries leaves nothing to learn utility from: this estimator "
                f"needs {self.estimator.min_queries} or more for training; nothing was sent. "
                "Give --max-queries, or choose the estimator 'none'."
            )
        if self.config.validations and not self._validation_queries:
            raise BudgetExhaustedError(
                "the validation share of the budget is too small for so many fronts; nothing was sent. "
                "Give --max-queries, or ask for fewer validations."
            )

    @property
    def _training_budget(self) -> int:
        return self.config.max_queries - int(self.config.validation * self.config.max_queries)

    @property
    def _validation_queries(self) -> int:
        """Queries for each point of each front."""
        share = int(self.config.validation * self.config.max_queries)
        return share // (len(_FRONT_LEVELS) * (self.config.validations + 1))

    @property
    def _warmup_steps(self) -> int:
        return int(self.config.query_warmup * self.config.steps)

    def _pretrain(self) -> None:
        steps = self.config.pretraining_steps

        def ticker(phase: Literal["assessor", "student"]) -> Callable[[], None]:
            counter = iter(range(1, steps + 1))
            return lambda: self._tell(phase, next(counter), steps)

        def assess(generator: torch.Generator) -> Tensor:
            rows = torch.randint(len(self.images), (64,), generator=generator)
            level = torch.rand(64, generator=generator)  # originals look alike at every level
            return self.assessor.loss(
                augment(self.images[rows].float() / 255, noise=0.02, generator=generator),
                level,
                self.labels[rows],
            )

        if not self.assessor.has_learned:
            self.assessor.train()
            tick = ticker("assessor")
            fit(
                OneCycle(
                    self.assessor.parameters(),
                    steps=max(steps, SHORTEST_CYCLE),
                    learning_rate=4e-3,
                    clip=1.0,
                ),
                assess,
                itertools.repeat(self._generator("assessor"), steps),
                on_step=lambda _, __: tick(),
            )
        self.estimator.pretrain(
            steps, learning_rate=4e-3, generator=self._generator("student"), progress=ticker("student")
        )

    # -- one training step ---------------------------------------------------------------------------------------

    def learn(self) -> None:
        every, steps = self.config.checkpoint_every, self.config.steps
        while self.step < steps and not self._is_stale:
            row = self._train_step()
            self.step += 1
            if self.step % 10 == 0:
                self.metrics.write(self.step, row)
            validating = self.step in self._validation_steps
            if validating:
                self._validate()
            if validating or self.step % every == 0 or self.step == steps:
                self._save()
            self._tell("protector", self.step, steps)

    @property
    def _validation_steps(self) -> set[int]:
        count, warmup = self.config.validations, self._warmup_steps
        return {warmup + (self.config.steps - warmup) * turn // (count + 1) for turn in range(1, count + 1)}

    @property
    def _is_stale(self) -> bool:
        return self.config.patience is not None and self.stale >= self.config.patience

    def _validate(self) -> None:
        """Measure the weights of now and keep them if there are no better ones."""
        candidate = self._measured()
        grown = self.best is None or candidate.hypervolume > self.best.hypervolume
        self.stale = 0 if grown else self.stale + 1
        if grown or self.best is None or candidate.hypervolume == self.best.hypervolume:
            self.best = candidate
        self.metrics.write(self.step, {"hypervolume": candidate.hypervolume})

    def _train_step(self) -> dict[str, float]:
        config = self.config
        generator = self._generator("batch", self.step)
        rows, images, level = self._draw(generator)
        protected = self.protector.at_network_level(images, level)
        encoded, sent = encode(protected.detach())
        # Straight through the encoder (Bengio et al., 2013): the values that arrive with the gradient of what was
        # encoded. Otherwise the protector hides the task in detail that the student reads and the encoder drops.
        protected = protected + (sent.float() / 255 - protected).detach()

        self.assessor.eval()
        read = self.assessor(protected, level)
        privacy = privacy_loss(read)
        row: dict[str, float] = {}
        self._query(encoded, sent, rows, generator)
        row |= self.estimator.fit(generator=self._generator("fit", self.step))
        utility = self.estimator.loss(
            protected, self.references[rows], generator=self._generator("perturb", self.step)
        )
        fidelity = (protected - images).square().mean(dim=(1, 2, 3))
        grey_penalty = (protected - 0.5).abs().mean(dim=(1, 2, 3))
        self._protector_step(
            self._scalarised(utility, privacy, level),
            config.fidelity * (1 - level) * fidelity,
            config.grey_penalty * level * grey_penalty
            + config.reveal_penalty * self._reopened(protected, images, level),
        )

        with torch.random.fork_rng(devices=[]):
            # If one was given that has dropout; torch's own takes no generator.
            torch.manual_seed(self._generator("dropout", self.step).initial_seed())
            loss = self.assessor.learn(self.assessor_optimizer, protected.detach(), level, self.labels[rows])
            for turn in range(1, config.assessor_steps):
                loss = self.assessor.learn(self.assessor_optimizer, *self._assessor_batch(turn))

        now = float(privacy_loss(read.detach(), pull=0).mean())
        self.leak = now if self.leak is None else 0.9 * self.leak + 0.1 * now
        return row | {
            "utility_loss": float(utility.detach().mean()),
            "privacy_loss": now,
            "fidelity": float(fidelity.detach().mean()),
            "assessor_loss": float(loss),
            "queries": float(self.planned),
        }

    def _reopened(self, protected: Tensor, images: Tensor, level: Tensor) -> Tensor:
        """By how much more than under the protector of the start pixels stand out from grey, ``[B]``."""
        if self.given.protector is None or not self.config.reveal_penalty:
            return torch.zeros(len(images))
        with torch.no_grad():
            before = self.given.protector.at_network_level(images, level)
        return ((protected - 0.5).abs() - (before - 0.5).abs()).relu().mean(dim=(1, 2, 3))

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the training split, their images in [0, 1], and a level for each."""
        rows = torch.randint(len(self.images), (self.config.batch,), generator=generator)
        return rows, self.images[rows].float() / 255, sample_levels(self.config.batch, generator=generator)

    def _assessor_batch(self, turn: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images, levels and labels for one more step: on the same batch again it would learn it by heart."""
        generator = self._generator(f"assessor/{turn}", self.step)
        rows, images, level = self._draw(generator)
        shown = as_assessed(
            self.protector, images, level, originals=self.config.assessor_originals, generator=generator
        )
        return shown, level, self.labels[rows]

    def _scalarised(self, utility: Tensor, privacy: Tensor, level: Tensor) -> tuple[Tensor, ...]:
        """One objective, or one for utility and one for privacy whose gradients are to be aggregated; ``[B]`` each."""
        match self.config.scalarisation:
            case "weighted_sum":
                return (weighted_sum(utility, privacy, level),)
            case "smooth_tchebycheff":
                return (smooth_tchebycheff(utility, privacy, level),)
            case "upgrad" | "mgda":
                return by_preference(utility, privacy, level)

    def _protector_step(self, objectives: tuple[Tensor, ...], fidelity: Tensor, grey_penalty: Tensor) -> None:
        """Step down the objectives; fidelity goes with the first of them, grey_penalty with the last."""
        warm = min(1.0, (self.step + 1) / _WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = (
                self.config.learning_rate
                * warm
                * 0.5
                * (1 + math.cos(math.pi * self.step / self.config.steps))
            )
        self.optimizer.zero_grad(set_to_none=True)
        if self.config.scalarisation in {"upgrad", "mgda"}:
            first, last = objectives
            parts = ((first + fidelity).mean(), (last + grey_penalty).mean())
            with torch.autocast("cpu", enabled=False):  # products of gradients need all their digits
                aggregate_gradients(parts, self.protector.parameters(), self.config.scalarisation)
        else:
            (objective,) = objectives
            (objective + fidelity + grey_penalty).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.protector.parameters(), 1.0)
        self.optimizer.step()
        # A short average early on, so that the first steps are soon forgotten.
        decay = min(self.config.ema_decay, (self.step + 1) / (self.step + 10))
        for average, current in zip(self.averaged.parameters(), self.protector.parameters(), strict=True):
            average.lerp_(current.detach(), 1 - decay)

    def _quota(self, generator: torch.Generator) -> int:
        """Queries due by this step: the budget left, spread over the steps left and rounded at random without bias."""
        if self.step < self._warmup_steps:
            return 0
        left = self._training_budget - self.planned
        share = (left - self.saved) / (self.config.steps - self.step)
        due = self.saved + math.floor(share + float(torch.rand((), generator=generator)))
        return max(0, min(left, due))

    def _query(self, encoded: list[bytes], sent: Tensor, rows: Tensor, generator: torch.Generator) -> None:
        """Have the estimator's probes of this batch answered, and let it observe the answers."""
        quota = self._quota(generator)
        references = self.references[rows]
        arrived = sent.float() / 255
        probes = self.estimator.propose(arrived, references, quota, generator=generator)
        self.saved = quota - len(probes.rows)
        if not len(probes.rows):
            return
        self.planned += len(probes.rows)
        asked = list(zip(probes.rows.tolist(), probes.questions.tolist(), strict=True))
        queries = [
            # An image of the batch has been encoded already; to encode what arrived once more would change it.
            as_query(
                self.space,
                encoded[row] if torch.equal(image, arrived[row]) else encode_image(as_image(image)),
                question,
            )
            for image, (row, question) in zip(probes.images, asked, strict=True)
        ]
        answers = self.oracle.ask(
            queries, purpose="train", on_answer=lambda: self._tell("protector", self.step, self.config.steps)
        )
        kept: list[tuple[bytes, int, Answer]] = []
        known = torch.tensor([answer is not None for answer in answers])
        for query, (row, question), answer in zip(queries, asked, answers, strict=True):
            if answer is not None:
                kept.append((query.image, question, answer))
                self.asked.append((self.ledger.key(query), question))
                self.right.append(is_right(self.space, answer, question, int(references[row, question])))
        if kept:
            self.estimator.observe(self._records(kept), Probes(*(column[known] for column in probes)))

    def _records(self, answered: Sequence[tuple[bytes, int, Answer]]) -> Records:
        """Records of one or more answers, each with the picture that was sent and the question."""
        targets = torch.zeros(len(answered), len(self.space.answers))
        for row, (_, question, answer) in zip(targets, answered, strict=True):
            row[self.space.candidates[question]] = torch.tensor(
                distribution(answer, options(self.space, question))
            )
        images = torch.stack([as_tensor(decode_image(image)) for image, _, _ in answered])
        return Records(images, torch.tensor([question for _, question, _ in answered]), targets)

    # -- the end -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Save the artifact: the weights of now, or those validated on the way that reached a better front."""
        chosen = self.best
        if chosen is None or not self._is_stale:
            last = self._measured()
            if chosen is None or last.hypervolume >= chosen.hypervolume:
                chosen = last
        protector = self._protector_of(chosen)
        queries, cost = self.ledger.spent()
        save_artifact(
            self.folder,
            protector,
            Manifest(
                protector={},
                private_attributes=self.attributes,
                questions=self.space.questions,
                trained_against=self.identity,
                access=self.config.access,
                queries=queries,
                cost_usd=cost if self.config.price else None,
                steps=chosen.step,
                seed=self.config.seed,
                data_digest=self.dataset.digest,
                training_digest=note_training_pictures(self.folder, self.pictures),
                started_from=self._started_from,
                questions_per_call=self.config.questions_per_call,
                front=tuple(FrontPoint(**point._asdict()) for point in chosen.front),
                front_measured_by="the training assessor and the chat model, on the validation split"
                if chosen.front
                else "",
                presets=self._presets(protector, chosen.front),
                licence=self.config.licence,
                attribution=self.config.attribution,
                created_with=f"langchain-vpp {version('langchain-vpp')}",
            ),
        )

    def _measured(self) -> _Candidate:
        """Calibrate the level of the averaged weights and measure their front on the validation split."""
        self.assessor.eval()
        leaks = [self._leak(level) for level in _CALIBRATION_LEVELS]
        weights = {name: tensor.clone() for name, tensor in self.averaged.state_dict().items()}
        candidate = _Candidate(
            self.step, weights, spread_levels(_CALIBRATION_LEVELS, leaks, _KNOTS), front=(), hypervolume=0.0
        )
        front = self._front(self._protector_of(candidate))
        # What lies beyond [0, 1] is noise.
        area = hypervolume([(max(point.leak, 0.0), min(point.utility, 1.0)) for point in front])
        return candidate._replace(front=front, hypervolume=area)

    @cached_property
    def _validation(self) -> Validation:
        return Validation.of(self.dataset, self.config.protector.working_resolution)

    def _protector_of(self, candidate: _Candidate) -> Protector:
        config = self.config.protector.model_copy(update={"level_knots": candidate.knots})
        protector = Protector(config)
        protector.load_state_dict(candidate.weights)
        return protector.eval()

    @torch.no_grad()
    def _leak(self, level: float) -> float:
        """What the training assessor reads from validation images at a network level."""
        predicted = []
        for images in torch.split(self._validation.images, 100):
            levels = torch.full((len(images),), level)
            protected = self.averaged.at_network_level(images.float() / 255, levels)
            predicted.append(self.assessor(protected, levels).argmax(dim=-1))
        return self._validation.leak(torch.cat(predicted))

    def _front(self, protector: Protector) -> tuple[_Point, ...]:
        validation = self._validation
        pairs = validation.pairs(self._validation_queries, seed=self.config.seed)
        if not len(pairs):
            return ()
        points = []
        for index, level in enumerate(_FRONT_LEVELS):
            queries = validation.queries(protector, level, pairs)
            scores = validation.score(pairs, self.oracle.ask(queries, purpose="validate"))
            network_level = float(protector.calibrated(torch.tensor([level])))
            leak = self._leak(network_level)
            points.append(_Point(level, leak, scores.utility, scores.answers))
            self._tell("validation", index + 1, len(_FRONT_LEVELS))
        return tuple(points)

    def _presets(self, protector: Protector, front: Sequence[_Point]) -> dict[str, float]:
        """The most private levels at which a given share of the utility at level 0 is still expected.

        The estimator says what to expect; if it can't, the measured front does, with straight lines in between. There,
        utility that rises with the level counts as noise.
        """
        utility = self._expected_utility(protector)
        if utility is None and front:
            measured = itertools.accumulate((point.utility for point in front), min)
            utility = np.interp(_PRESET_LEVELS, [point.level for point in front], list(measured)).tolist()
        if utility is None:
            return {}
        presets = {
            name: max(
                (
                    level
                    for level, value in zip(_PRESET_LEVELS, utility, strict=True)
                    if value >= share * utility[0]
                ),
                default=0.0,
            )
            for name, share in _PRESET_UTILITY.items()
        }
        return presets | {"high": 1.0}

    def _expected_utility(self, protector: Protector) -> list[float] | None:
        """Share of right answers that the estimator expects at each preset level, if it expects any."""
        images, answers = self._validation.images, self._validation.references
        expected = []
        for level in _PRESET_LEVELS:
            right = []
            for start in range(0, len(images), 100):
                batch = images[start : start + 100].float() / 255
                with torch.no_grad():
                    protected = protector(batch, torch.full((len(batch),), level))
                posteriors = self.estimator.posteriors(protected)
                if posteriors is None:
                    return None
                wanted = answers[start : start + 100]
                right.append((posteriors.argmax(dim=-1) == wanted)[wanted >= 0].float())
            expected.append(float(torch.cat(right).mean()))
        return expected

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _generator(self, purpose: str, step: int = 0) -> torch.Generator:
        """Randomness keyed by purpose and step: nothing needs to be saved, and no order of calls matters."""
        return keyed_generator(self.config.seed, purpose, step)

    @cached_property
    def _started_from(self) -> str:
        if self.given.protector is None:
            return ""
        weights = {name: tensor.contiguous() for name, tensor in self.given.protector.state_dict().items()}
        return hashlib.sha256(save_tensors(weights)).hexdigest()

    def _fingerprint(self) -> str:
        free = {
            "max_queries",
            "max_cost",
            "max_concurrency",
            "requests_per_second",
            "checkpoint_every",
            "price",
            "tensorboard",
        }
        text = self.config.model_dump_json(exclude=free) + self.dataset.digest + self.identity
        if self.given.estimator is not None:
            text += type(self.given.estimator).__qualname__
        if self.given.assessor is not None:
            text += "a given assessor"
        text += self._started_from
        return hashlib.sha256(text.encode()).hexdigest()

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint(),
            "step": self.step,
            "planned": self.planned,
            "saved": self.saved,
            "asked": self.asked,
            "right": self.right,
            "leak": self.leak,
            "protector": self.protector.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "assessor": self.assessor.state_dict(),
            "assessor_optimizer": self.assessor_optimizer.state_dict(),
            "estimator": self.estimator.state_dict(),
            "best": None if self.best is None else self.best.plain(),
            "stale": self.stale,
        }
        path = self.folder / "checkpoint.pt"
        temporary = path.with_suffix(".tmp")
        failure = ""
        try:
            torch.save(state, temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            failure = getattr(error, "strerror", None) or type(error).__name__
        if failure:
            raise TrainingError(
                f"the checkpoint {path} was not written: {failure}. "
                "The one before it is whole: free the disk, then resume."
            )

    def _load(self, path: Path) -> None:
        failure = ""
        try:
            state: dict[str, Any] = torch.load(path, weights_only=True)
        except Exception as error:  # noqa: BLE001  torch.load raises many types on a damaged file; all mean the same
            failure = type(error).__name__
        if failure:
            raise TrainingError(
                f"the checkpoint {path} can't be read ({failure}). Remove it to start over with the ledger kept."
            )
        if state["fingerprint"] != self._fingerprint():
            raise TrainingError(
                f"the checkpoint {path} belongs to other settings, data or chat model; nothing was done. "
                "Resume with those of the first call, or choose another folder."
            )
        self.step, self.planned, self.saved = state["step"], state["planned"], state["saved"]
        self.asked, self.right, self.leak = state["asked"], state["right"], state["leak"]
        self.protector.load_state_dict(state["protector"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.assessor.load_state_dict(state["assessor"])
        self.assessor_optimizer.load_state_dict(state["assessor_optimizer"])
        self.estimator.load_state_dict(state["estimator"], self._recall)
        self.best = None if state["best"] is None else _Candidate.of(state["best"])
        self.stale = state["stale"]

    def _recall(self) -> Records | None:
        """Every record that the estimator observed, from the ledger."""
        if not self.config.store_images:
            logger.warning(
                "pictures were not stored: the history of %d answers starts empty, the budget is kept",
                len(self.asked),
            )
            # Another history chooses other queries: what was paid since the checkpoint is not found again.
            self.planned = max(self.planned, self.ledger.spent()[0])
            return None
        answered = [(*self.ledger.lookup(key), question) for key, question in self.asked]
        return self._records([(image, question, answer) for image, answer, question in answered])

    def _tell(
        self, phase: Literal["assessor", "student", "protector", "validation"], step: int, steps: int
    ) -> None:
        recent = self.right[-200:]
        queries, cost = self.ledger.spent()
        self.report(
            Progress(
                phase,
                step,
                steps,
                queries,
                self.config.max_queries,
                cost,
                utility=sum(recent) / len(recent) if recent else None,
                leak=self.leak,
            )
        )
