"""Mending of a run that ends badly: back to weights that hid more, a refreshed assessor, and some steps more.

Now and then the assessor overtakes the protector near the end: it learns to read what the protector had only made hard
for it to read. A fresh attacker sees that at once, at level 1.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import torch

from trainer.runtime.rng import keyed_generator
from trainer.training.assessor import as_assessed
from trainer.training.fronts import LEAKS_TOO_MUCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from trainer.training.batches import TrainingSplit
    from trainer.training.config import TrainerConfig
    from trainer.training.fronts import Fronts
    from trainer.training.learners import Learners

logger = logging.getLogger(__name__)

_KEPT: Final = 3
"""Earlier weights that are kept to go back to."""
_INTERVAL: Final = 8
"""Earlier weights are kept after each eighth of the steps, in the second half."""
_LEARNS_ON: Final = 0.25
"""Share of the planned steps that a mended run takes after it went back."""
_REFRESH: Final = 0.1
"""Share of the planned steps that the assessor takes alone on what it has gone back to."""


class Mending:
    """Decides whether a finished run learns on, and from which weights.

    Args:
        config: Settings.
        split: Training images.
        learners: The networks that learn.
        fronts: Measures the leak at level 1.

    Attributes:
        done: Times that the run went back.
    """

    def __init__(
        self, config: TrainerConfig, split: TrainingSplit, learners: Learners, fronts: Fronts
    ) -> None:
        self._config, self._split, self._learners, self._fronts = config, split, learners, fronts
        self._kept: list[dict[str, Tensor]] = []
        self.done = 0

    @property
    def steps(self) -> int:
        """Protector steps of the run, those of its mending included."""
        return self._config.steps + self.done * max(1, int(_LEARNS_ON * self._config.steps))

    @property
    def strictness(self) -> float:
        """Factor of the grey penalty: it doubles each time, so that the most private levels do turn to grey."""
        return 2.0**self.done

    def note(self, step: int) -> None:
        """Keep the averaged weights after some steps, to go back to; called after every step."""
        every = max(1, self._config.steps // _INTERVAL)
        if self._config.mends and 2 * step >= self._config.steps and step % every == 0:
            self._kept.append(self._learners.averaged_protector.shown_weights())
            self._kept = self._kept[-_KEPT:]

    def mend(self, step: int) -> bool:
        """Go back to weights that hid more if the present ones hide too little at level 1.

        Args:
            step: Steps that are finished.

        Returns:
            Whether the run is to learn on.
        """
        config = self._config
        if self.done >= config.mends or self._fronts.is_stale:
            return False
        leak = self._fronts.most_private_leak(step)
        if leak is None or leak <= LEAKS_TOO_MUCH:
            return False
        logger.warning("a fresh attacker reads %.0f %% at level 1: going back, and learning on", 100 * leak)
        self.done += 1
        self._go_back()
        self._refresh_assessor()
        return True

    def state_dict(self) -> dict[str, Any]:
        """The weights to go back to, and how often the run went back."""
        return {"mends": self.done, "kept": self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore from :meth:`state_dict`; a run of an earlier version has nothing to go back to yet."""
        self.done, self._kept = state.get("mends", 0), state.get("kept", [])

    def _go_back(self) -> None:
        """Load the weights from which the present assessor, the best informed of all, reads least at level 1."""
        learners = self._learners
        if not self._kept:
            return
        best = min(self._kept, key=self._assessed_leak)
        for protector in (learners.protector, learners.averaged_protector):
            protector.load_state_dict(best)
        learners.optimizer.state.clear()

    def _assessed_leak(self, weights: Mapping[str, Tensor]) -> float:
        self._learners.protector.load_state_dict(weights)
        return self._fronts.assessed_leak(self._learners.protector, 1.0)

    def _refresh_assessor(self) -> None:
        """Let the assessor learn what the protector hides now, before the protector learns on."""
        config, learners = self._config, self._learners
        for turn in range(max(1, int(_REFRESH * config.steps))):
            generator = keyed_generator(config.seed, "refresh", self.done, turn)
            batch = self._split.draw(config.batch, generator)
            shown = as_assessed(
                learners.protector,
                batch.images,
                batch.level,
                originals=config.assessor_originals,
                generator=generator,
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(generator.initial_seed())  # a supplied assessor may have dropout
                learners.assessor.learn(learners.assessor_optimizer, shown, batch.level, batch.labels)
