# %% [markdown]
# # 18. Train on films
#
# What a person does is seen in several frames, and so is who the person is. This recipe draws films of a person who
# waves, walks, sits down or throws a ball, learns a protector on them, and has attackers look at whole clips and at
# single frames. Needs the extra `video`. `VPP_SMOKE=1` shrinks the sizes only, and the result is then useless.

# %%
import os
import tempfile
from pathlib import Path

from langchain_vpp.network.protector import ProtectorConfig
from trainer import Trainer, TrainerConfig, evaluate, load_dataset
from trainer.attackers.classifier import FixedClassifier, FreshClassifier
from trainer.evaluation import EvaluationSettings
from trainer.evaluation.results import STRONGEST
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.films import make_films
from trainer.sandbox.vision.adapters import AttributeReader
from trainer.sandbox.vision.film_model import FILMS
from trainer.sandbox.vision.local_model import LocalVisionModel

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# A line of `data.jsonl` names a `video` in place of an `image`. Each clip becomes the frames that a chat model would
# get with `on_video="sample"`: one for each second, at most eight.

# %%
sizes = {"train": 10, "val": 8, "test": 8} if SMOKE else {"train": 800, "val": 100, "test": 100}
make_films(work / "films", **sizes, seed=0)
dataset = load_dataset(work / "films")
frames = dataset.open_frames(dataset.examples[0])
print(dataset.questions, dataset.private_attributes)
assert len(frames) == 8

# %% [markdown]
# The chat model sees all frames of a clip in one message, protected at one level, and is asked once.

# %%
model = SandboxChatModel(model_name=FILMS.name, vision=LocalVisionModel.load(subject=FILMS))
config = TrainerConfig(
    steps=4 if SMOKE else 300,
    pretraining_steps=4 if SMOKE else 100,
    batch=4 if SMOKE else 8,
    student_batch=4 if SMOKE else 16,
    reader_width=12 if SMOKE else 24,
    assessor_steps=2,
    audit_images=0 if SMOKE else 100,
    mends=1,
    max_queries=60 if SMOKE else 2000,
    validation=0.25,
    access="logprobs",
    protector=ProtectorConfig(width=8 if SMOKE else 24, blocks=(1, 1, 1), working_resolution=64),
)
artifact = Trainer(model, dataset, config).fit(work / "run")

# %% [markdown]
# Attackers learn from protected clips, one of them from a single frame of each, and one from the mean of all; without
# `attackers=`, an evaluation brings its own. The network of the chat model reads clips as it stands: what the provider
# could tell without trying. The report has a row for each; the leak of a level is the strongest reading.

# %%
attributes = dataset.private_attributes
attackers = (
    FreshClassifier(attributes),
    FreshClassifier(attributes, frames="one"),
    FreshClassifier(attributes, frames="mean"),
    FixedClassifier(AttributeReader(attributes, model.vision), "the chat model's network"),
)
settings = EvaluationSettings(
    levels=(1.0,) if SMOKE else (0.0, 0.5, 1.0),
    baselines={"pixelate": (0.5,)},
    train_images=8 if SMOKE else 200,
    original_images=10 if SMOKE else 200,
    queries_per_point=8 if SMOKE else 50,
)
report = evaluate(artifact, dataset, model, settings, attackers=attackers, ledger=work / "evaluation.sqlite")
for point in report.points:
    print(f"{point.engine} at {point.level:g}: leak {point.leak}, utility {point.utility}")
    for reading in point.attributes:
        if reading.reader != STRONGEST and reading.accuracy is not None:
            print(
                f"    {reading.subject} by {reading.reader}: {reading.accuracy.value:.2f}, chance {reading.chance:.2f}"
            )
print("floors of the task:", report.task_floors)
