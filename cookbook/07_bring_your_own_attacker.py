# %% [markdown]
# # 7. Bring your own attacker
#
# An audit is only as strong as its attackers. If you know your adversary, put it in: any object with a name, a
# description and three methods. Here it is a search for the nearest neighbours among small pictures. It learns at once,
# and patterns that fool a network hardly change it. `VPP_SMOKE=1` shrinks the sizes only.

# %%
import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from langchain_vpp.engines import Downscale
from trainer import evaluate, load_dataset
from trainer.attackers.classifier import AttackData, FreshClassifier, Scores
from trainer.evaluation import EvaluationSettings
from trainer.evaluation.results import OURS, STRONGEST
from trainer.sandbox.drawing.scenes import make_data

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())
make_data(
    work / "data", train=150 if SMOKE else 2000, val=30 if SMOKE else 200, test=40 if SMOKE else 400, seed=0
)
dataset = load_dataset(work / "data")


# %% [markdown]
# `prepare` sees originals once, and `attack` sees protected pictures and adapts to them. Both get train, val and test,
# and return probabilities for val and test. The report decides by val which attacker it believes, so never learn from
# val or test. An evaluation copies a prepared attacker for each engine. Take all randomness from the generator: then
# the same seed gives the same report.


# %%
class NearestNeighbours:
    """The classes of the most similar training pictures, at a size where noise and fine texture are gone."""

    name = "nearest neighbours"

    def __init__(self, classes: dict[str, tuple[str, ...]], *, side: int = 16, count: int = 15) -> None:
        self._classes = [len(each) for each in classes.values()]
        self._side, self._count = side, count
        self._known: tuple[Tensor, Tensor] | None = None

    @property
    def description(self) -> str:
        return f"vote of the {self._count} nearest training pictures at {self._side} pixels"

    def prepare(self, originals: AttackData, *, generator: torch.Generator) -> Scores:
        return self.attack(originals, generator=generator)

    def attack(self, protected: AttackData, *, generator: torch.Generator) -> Scores:  # noqa: ARG002
        self._known = (self._features(protected.train.images), protected.train.labels)
        return Scores(self.read(protected.val.images), self.read(protected.test.images))

    def read(self, images: Tensor) -> Tensor:
        features, labels = self._known
        nearest = torch.cdist(self._features(images), features).topk(self._count, largest=False).indices
        votes = torch.zeros(len(images), len(self._classes), max(self._classes))
        for attribute, classes in enumerate(self._classes):
            found = labels[nearest, attribute]  # -1 where a picture is not labelled
            known = nn.functional.one_hot(found.clamp(min=0), classes) * (found >= 0)[..., None]
            votes[:, attribute, :classes] = (known.sum(dim=1) + 1 / classes) / (
                known.sum(dim=(1, 2)) + 1
            ).unsqueeze(1)
        return votes

    def _features(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images.float() / 255, self._side).flatten(1)


# %%
attackers = [
    NearestNeighbours(dataset.private_attributes),
    FreshClassifier(dataset.private_attributes, warm_epochs=2 if SMOKE else 6),
]
report = evaluate(
    Downscale(),
    dataset,
    None,
    EvaluationSettings(levels=(0.5,), baselines={}, train_images=50 if SMOKE else 1500),
    attackers=attackers,
)
(point,) = report.of(OURS)
for reading in point.attributes:
    print(
        f"{reading.reader:20} {reading.subject:14} {reading.accuracy.value:.2f} (chance {reading.chance:.2f})"
    )
assert {reading.reader for reading in point.attributes} == {
    STRONGEST,
    "nearest neighbours",
    "fresh classifier",
}

# %% [markdown]
# A ready-made face embedder goes in as `embedder=`: a function from `uint8` images `[N, 3, H, W]` to vectors. It does
# not adapt, so run the attack `identity` without it as well.


# %%
def mean_colours(images: Tensor) -> Tensor:
    """Stands in for a face recognition network."""
    return nn.functional.adaptive_avg_pool2d(images.float() / 255, 4).flatten(1)


settings = EvaluationSettings(
    levels=(0.5,),
    baselines={},
    train_images=50 if SMOKE else 1000,
    classifiers=("small",),
    cold=(),
    attacks=("identity",),
)
report = evaluate(Downscale(), dataset, None, settings, embedder=mean_colours)
(search,) = report.of(OURS)[0].identity
print(f"linked to its original: {search.top1.value:.2f}, by chance {search.top1_floor:.2f}")
assert search.top1.value > search.top1_floor
