"""The training loop, its order of effects, and its checkpoints."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from langchain_vpp.artifact import FrontPoint, Manifest, save_artifact
from langchain_vpp.errors import BudgetExhaustedError, TrainingError
from langchain_vpp.pixels import decode_image, encode_image
from langchain_vpp.protector import Protector
from trainer.algorithms.critical_history import CriticalHistory, Records, query_criticality
from trainer.algorithms.estimators import DistilledStudent, LabelledImages, augment, pretrain_reader
from trainer.algorithms.pareto import sample_levels, spread_levels, weighted_sum
from trainer.arithmetic import fast_arithmetic
from trainer.assessor import Assessor, privacy_loss
from trainer.data import Dataset, answer_space, as_image, as_tensor, check_for_training, references
from trainer.ledger import Answer, Budget, Ledger, Price, Query
from trainer.oracle import Counts, Oracle
from trainer.scoring import chosen, distribution

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import BaseChatModel

    from trainer.config import TrainerConfig

logger = logging.getLogger(__name__)

_WARM_UP = 20
_CALIBRATION_LEVELS = tuple(step / 16 for step in range(17))
_KNOTS = 9
_FRONT_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
_PRESET_UTILITY = {"low": 0.985, "balanced": 0.95}
"""Share of the student's utility at level 0 that a preset keeps; ``high`` is level 1."""


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


class Trainer:
    """Learns a protector by querying a chat model as a black box.

    Args:
        model: The chat model that the protector is to serve, queried through LangChain.
        dataset: Images with task questions and private labels.
        config: Settings.

    Attributes:
        warnings: What the data set makes doubtful, a sentence each; see :func:`trainer.data.check_for_training`.
        counts: What the chat model returned in the last call of :meth:`fit`.

    Raises:
        TrainingError: If the settings or the data can't be trained with.

    Example:
        >>> trainer = Trainer(ChatOpenAI(model="gpt-4o-mini"), load_dataset("cards"))  # doctest: +SKIP
        >>> trainer.fit("runs/cards")  # doctest: +SKIP
    """

    def __init__(self, model: BaseChatModel, dataset: Dataset, config: TrainerConfig) -> None:
        self._model, self._dataset, self._config = model, dataset, config
        self.warnings = check_for_training(dataset)
        self.counts = Counts()
        if config.max_cost is not None and config.price is None:
            raise TrainingError(
                "a limit on cost needs the price of tokens; nothing was sent. Give config.price."
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
        """
        folder = Path(out)
        book = folder / "ledger.sqlite" if ledger is None else Path(ledger)
        with (
            fast_arithmetic(self._config.precision),
            _Run(
                self._model,
                self._dataset,
                self._config,
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


def model_identity(model: BaseChatModel) -> str:
    """What names a chat model in ledgers and manifests: its class and model name."""
    name = getattr(model, "model_name", None) or getattr(model, "model", None) or model._llm_type  # noqa: SLF001
    return f"{type(model).__name__}:{name}"


class _Run:
    """State of one call of :meth:`Trainer.fit`."""

    def __init__(
        self,
        model: BaseChatModel,
        dataset: Dataset,
        config: TrainerConfig,
        folder: Path,
        *,
        ledger: Path,
        report: Callable[[Progress], None],
    ) -> None:
        self.config, self.dataset, self.folder, self.report = config, dataset, folder, report
        self.identity = model_identity(model)
        self.space = answer_space(dataset)
        self.attributes = dataset.private_attributes
        self.step = 0
        self.planned = 0
        """Queries that training has chosen so far, whether they had to be paid or not."""
        self.asked: list[tuple[str, int]] = []
        """Ledger key and question of every record in the history, in order."""
        self.right: list[float] = []
        self.leak: float | None = None
        price = None if config.price is None else Price(*config.price)
        together = f"|{config.questions_per_call} at once" if config.questions_per_call > 1 else ""
        self.ledger = Ledger(
            ledger,
            model=f"{self.identity}|{config.access}{together}",
            price=price,
            store_images=config.store_images,
        )
        self.budget = Budget(config.max_queries, config.max_cost)
        self.oracle = Oracle(
            model,
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
        self.ledger.close()

    # -- start ---------------------------------------------------------------------------------------------------

    def start(self, *, resume: bool) -> None:
        checkpoint = self.folder / "checkpoint.pt"
        if checkpoint.exists() and not resume:
            raise TrainingError(
                f"{self.folder} holds a run already; nothing was done. Resume it or choose another folder."
            )
        if self.config.estimator == "student" and self.config.max_queries == 0:
            raise BudgetExhaustedError(
                "a budget of 0 queries leaves nothing to learn utility from; nothing was sent. "
                "Give --max-queries, or choose the estimator 'none'."
            )
        train = self.dataset.split("train")
        self.images = self.dataset.pixels(train, self.config.protector.working_resolution)
        self.labels = self.dataset.labels(train)
        self.references = references(train, self.space)
        self._build()
        if checkpoint.exists():
            self._load(checkpoint)
        else:
            self._pretrain()
            self._save()

    def _build(self) -> None:
        with torch.random.fork_rng(
            devices=[]
        ):  # layers draw their weights from torch's global generator only
            torch.manual_seed(self.config.seed)
            self.protector = Protector(self.config.protector)
            self.assessor = Assessor(self.attributes)
            history = CriticalHistory(self.config.history_capacity)
            self.student = DistilledStudent(
                self.space,
                LabelledImages(self.images, self.references),
                history,
                steps=self.config.student_steps,
                batch=self.config.student_batch,
            )
        self.averaged = copy.deepcopy(self.protector).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(
            self.protector.parameters(), lr=self.config.learning_rate, weight_decay=0.0
        )
        self.assessor_optimizer = torch.optim.AdamW(self.assessor.parameters(), lr=1e-3, weight_decay=1e-2)

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

        pretrain_reader(
            self.assessor,
            assess,
            steps,
            learning_rate=4e-3,
            generator=self._generator("assessor"),
            progress=ticker("assessor"),
        )
        if self.config.estimator == "student":
            self.student.pretrain(
                steps, learning_rate=4e-3, generator=self._generator("student"), progress=ticker("student")
            )

    # -- one training step ---------------------------------------------------------------------------------------

    def learn(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as metrics:
            while self.step < self.config.steps:
                row = self._train_step()
                self.step += 1
                if self.step % 10 == 0:
                    metrics.write(json.dumps({"step": self.step, **row}) + "\n")
                    metrics.flush()
                if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                    self._save()
                self._tell("protector", self.step, self.config.steps)

    def _train_step(self) -> dict[str, float]:
        config = self.config
        generator = self._generator("batch", self.step)
        rows = torch.randint(len(self.images), (config.batch,), generator=generator)
        level = sample_levels(config.batch, generator=generator)
        images = self.images[rows].float() / 255
        protected = self.protector.at_network_level(images, level)
        encoded, sent = self._encode(protected.detach())
        # Straight through the encoder (Bengio et al., 2013): the values that arrive with the gradient of what was
        # encoded. Otherwise the protector hides the task in detail that the student reads and the encoder drops.
        protected = protected + (sent.float() / 255 - protected).detach()

        self.assessor.eval()
        privacy = privacy_loss(self.assessor(protected, level))
        row: dict[str, float] = {}
        if config.estimator == "student":
            records = self._query(encoded, sent, rows, generator)
            if records is not None:
                self.student.observe(records)
            row |= self.student.fit(generator=self._generator("fit", self.step))
            utility = self.student.loss(
                protected, self.references[rows], generator=self._generator("perturb", self.step)
            )
        else:
            utility = torch.zeros(config.batch)
        fidelity = (protected - images).square().mean(dim=(1, 2, 3))
        plainness = (protected - 0.5).abs().mean(dim=(1, 2, 3))
        objective = (
            weighted_sum(utility, privacy, level)
            + config.fidelity * (1 - level) * fidelity
            + config.plainness * level * plainness
        )
        self._protector_step(objective.mean())

        loss = self._assessor_steps(protected.detach(), level, self.labels[rows])

        now = float(privacy.detach().mean())
        self.leak = now if self.leak is None else 0.9 * self.leak + 0.1 * now
        return row | {
            "utility_loss": float(utility.detach().mean()),
            "privacy_loss": now,
            "fidelity": float(fidelity.detach().mean()),
            "assessor_loss": float(loss),
            "queries": float(self.planned),
        }

    def _assessor_steps(self, protected: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        """Let the assessor follow the protector; returns its last loss."""
        self.assessor.train()
        for _ in range(self.config.assessor_steps):
            loss = self.assessor.loss(protected, level, labels)
            self.assessor_optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.assessor.parameters(), 1.0)
            self.assessor_optimizer.step()
        return loss.detach()

    @staticmethod
    def _encode(protected: Tensor) -> tuple[list[bytes], Tensor]:
        """Encode images as they are sent, and return them also as they arrive, ``uint8`` of the same shape."""
        encoded = [encode_image(as_image(image)) for image in protected]
        return encoded, torch.stack([as_tensor(decode_image(each)) for each in encoded])

    def _protector_step(self, objective: Tensor) -> None:
        warm = min(1.0, (self.step + 1) / _WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = (
                self.config.learning_rate
                * warm
                * 0.5
                * (1 + math.cos(math.pi * self.step / self.config.steps))
            )
        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.protector.parameters(), 1.0)
        self.optimizer.step()
        # A short average early on, so that the first steps are soon forgotten.
        decay = min(self.config.averaging, (self.step + 1) / (self.step + 10))
        for average, current in zip(self.averaged.parameters(), self.protector.parameters(), strict=True):
            average.lerp_(current.detach(), 1 - decay)

    def _quota(self, generator: torch.Generator) -> int:
        """Queries of this step: the budget left, spread over the steps left and rounded at random without bias."""
        if self.step < int(self.config.quiet * self.config.steps):
            return 0
        left = self.config.max_queries - int(self.config.validation * self.config.max_queries) - self.planned
        share = left / (self.config.steps - self.step)
        return max(0, min(left, math.floor(share + float(torch.rand((), generator=generator)))))

    def _query(
        self, encoded: list[bytes], sent: Tensor, rows: Tensor, generator: torch.Generator
    ) -> Records | None:
        quota = self._quota(generator)
        references = self.references[rows]
        pairs = (references >= 0).nonzero()
        quota = min(quota, len(pairs))
        if not quota:
            return None
        score = torch.rand(len(pairs), generator=generator)
        if self.config.query_choice == "critical":
            posteriors = self.student.posteriors(sent.float() / 255)
            score = score + query_criticality(posteriors[pairs[:, 0], pairs[:, 1]])
        pairs = pairs[score.topk(quota).indices.sort().values]
        questions = [int(question) for question in pairs[:, 1]]
        queries = [
            self._as_query(encoded[int(row)], question)
            for row, question in zip(pairs[:, 0], questions, strict=True)
        ]
        self.planned += quota
        answers = self.oracle.ask(
            queries, purpose="train", on_answer=lambda: self._tell("protector", self.step, self.config.steps)
        )
        kept: list[tuple[Query, int, Answer]] = []
        for query, question, row, answer in zip(queries, questions, pairs[:, 0], answers, strict=True):
            if answer is not None:
                kept.append((query, question, answer))
                self.asked.append((self.ledger.key(query), question))
                self.right.append(self._is_right(answer, question, int(references[row, question])))
        return self._records(kept)

    def _as_query(self, image: bytes, question: int) -> Query:
        return Query(image, self.space.questions[question], self._options(question))

    def _options(self, question: int) -> tuple[str, ...]:
        return tuple(
            answer
            for answer, allowed in zip(self.space.answers, self.space.candidates[question], strict=True)
            if allowed
        )

    def _is_right(self, answer: Answer, question: int, reference: int) -> float:
        options = self._options(question)
        index = chosen(answer.text, options)
        return float(index is not None and options[index] == self.space.answers[reference])

    def _records(self, answered: list[tuple[Query, int, Answer]]) -> Records | None:
        if not answered:
            return None
        targets = torch.zeros(len(answered), len(self.space.answers))
        for row, (_, question, answer) in zip(targets, answered, strict=True):
            row[self.space.candidates[question]] = torch.tensor(distribution(answer, self._options(question)))
        images = torch.stack([as_tensor(decode_image(query.image)) for query, _, _ in answered])
        return Records(images, torch.tensor([question for _, question, _ in answered]), targets)

    # -- the end -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Calibrate the level, measure the front on the validation split, and save the artifact."""
        examples = self.dataset.split("val")
        images = self.dataset.pixels(examples, self.config.protector.working_resolution)
        labels, answers = self.dataset.labels(examples), references(examples, self.space)
        self.assessor.eval()
        leaks = [self._leak(images, labels, level) for level in _CALIBRATION_LEVELS]
        knots = spread_levels(_CALIBRATION_LEVELS, leaks, _KNOTS)
        final = Protector(self.config.protector.model_copy(update={"level_knots": knots}))
        final.load_state_dict(self.averaged.state_dict())
        final.eval()
        front = self._front(final, images, labels, answers) if self.config.estimator == "student" else ()
        queries, cost = self.ledger.spent()
        save_artifact(
            self.folder,
            final,
            Manifest(
                protector={},
                private_attributes=self.attributes,
                questions=self.space.questions,
                trained_against=self.identity,
                access=self.config.access,
                queries=queries,
                cost_usd=cost if self.config.price else None,
                steps=self.config.steps,
                seed=self.config.seed,
                data_digest=self.dataset.digest,
                front=front,
                front_measured_by="the training assessor and the chat model, on the validation split"
                if front
                else "",
                presets=self._presets(final, images, answers) if self.config.estimator == "student" else {},
                created_with=f"langchain-vpp {version('langchain-vpp')}",
            ),
        )

    def _leak(self, images: Tensor, labels: Tensor, level: float) -> float:
        """Accuracy of the training assessor at a network level, 0 at chance and 1 when all is read."""
        scaled = []
        for start in range(0, len(images), 100):
            batch = images[start : start + 100].float() / 255
            levels = torch.full((len(batch),), level)
            with torch.no_grad():
                predicted = self.assessor(self.averaged.at_network_level(batch, levels), levels).argmax(
                    dim=-1
                )
            scaled.append((predicted == labels[start : start + 100]).float())
        accuracy = torch.cat(scaled).mean(dim=0)
        chance = torch.stack(
            [torch.bincount(column[column >= 0]).max() / (column >= 0).sum() for column in labels.T]
        )
        return float(((accuracy - chance) / (1 - chance)).mean())

    def _front(
        self, protector: Protector, images: Tensor, labels: Tensor, answers: Tensor
    ) -> tuple[FrontPoint, ...]:
        count = int(self.config.validation * self.config.max_queries) // len(_FRONT_LEVELS)
        pairs = (answers >= 0).nonzero()
        if count < 1 or not len(pairs):
            return ()
        points = []
        for index, level in enumerate(_FRONT_LEVELS):
            picked = pairs[torch.randperm(len(pairs), generator=self._generator("front"))[:count]]
            with torch.no_grad():
                protected = protector(images[picked[:, 0]].float() / 255, torch.full((len(picked),), level))
            queries = [
                self._as_query(image, int(question))
                for image, question in zip(self._encode(protected)[0], picked[:, 1], strict=True)
            ]
            right, chance = [], []
            for (row, question), answer in zip(
                picked, self.oracle.ask(queries, purpose="validate"), strict=True
            ):
                if answer is not None:
                    right.append(self._is_right(answer, int(question), int(answers[row, question])))
                    chance.append(1 / len(self._options(int(question))))
            network_level = float(protector.calibrated(torch.tensor([level])))
            floor = sum(chance) / max(len(chance), 1)
            points.append(
                FrontPoint(
                    level=level,
                    leak=self._leak(images, labels, network_level),
                    utility=(sum(right) / max(len(right), 1) - floor) / (1 - floor),
                )
            )
            self._tell("validation", index + 1, len(_FRONT_LEVELS))
        return tuple(points)

    def _presets(self, protector: Protector, images: Tensor, answers: Tensor) -> dict[str, float]:
        """The most private levels at which the student still expects a given share of its utility at level 0."""
        levels = [step / 20 for step in range(21)]
        utility = [self._expected_utility(protector, images, answers, level) for level in levels]
        presets = {
            name: max(
                level for level, value in zip(levels, utility, strict=True) if value >= share * utility[0]
            )
            for name, share in _PRESET_UTILITY.items()
        }
        return presets | {"high": 1.0}

    def _expected_utility(self, protector: Protector, images: Tensor, answers: Tensor, level: float) -> float:
        right = []
        for start in range(0, len(images), 100):
            batch = images[start : start + 100].float() / 255
            with torch.no_grad():
                posteriors = self.student.posteriors(protector(batch, torch.full((len(batch),), level)))
            wanted = answers[start : start + 100]
            right.append((posteriors.argmax(dim=-1) == wanted)[wanted >= 0].float())
        return float(torch.cat(right).mean())

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def _generator(self, purpose: str, step: int = 0) -> torch.Generator:
        """Randomness keyed by purpose and step: nothing needs to be saved, and no order of calls matters."""
        key = f"{self.config.seed}/{purpose}/{step}".encode()
        return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key).digest()[:7]))

    def _fingerprint(self) -> str:
        free = {
            "max_queries",
            "max_cost",
            "max_concurrency",
            "requests_per_second",
            "checkpoint_every",
            "price",
        }
        text = self.config.model_dump_json(exclude=free) + self.dataset.digest + self.identity
        return hashlib.sha256(text.encode()).hexdigest()

    def _save(self) -> None:
        state = {
            "fingerprint": self._fingerprint(),
            "step": self.step,
            "planned": self.planned,
            "asked": self.asked,
            "right": self.right,
            "leak": self.leak,
            "protector": self.protector.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "assessor": self.assessor.state_dict(),
            "assessor_optimizer": self.assessor_optimizer.state_dict(),
            "student": self.student.state_dict(),
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
        self.step, self.planned = state["step"], state["planned"]
        self.asked, self.right, self.leak = state["asked"], state["right"], state["leak"]
        self.protector.load_state_dict(state["protector"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.assessor.load_state_dict(state["assessor"])
        self.assessor_optimizer.load_state_dict(state["assessor_optimizer"])
        answered = [(*self.ledger.lookup(key), question) for key, question in self.asked]
        self.student.load_state_dict(
            state["student"],
            self._records([(Query(image, ""), question, answer) for image, answer, question in answered]),
        )

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
