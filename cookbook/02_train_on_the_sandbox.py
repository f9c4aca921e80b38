# %% [markdown]
# # 2. Train a protector on the sandbox
#
# A protector learns by asking the chat model that it will serve, as a black box. The drawings of the sandbox have
# private attributes (hair, skin, glasses, build, the number on the shirt) and tasks (pose, sign, balloons).
# `VPP_SMOKE=1` shrinks the sizes only: every step is the same, and the result is useless.

# %%
import os
import tempfile
from pathlib import Path

from langchain_openai import ChatOpenAI

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import read_manifest
from langchain_vpp.network.protector import ProtectorConfig
from trainer import Trainer, TrainerConfig, load_dataset
from trainer.sandbox.drawing.scenes import make_data
from trainer.sandbox.process import SandboxServer

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# The data set is a folder with a `data.jsonl`. Yours needs pictures, questions and private labels, and nothing else.

# %%
make_data(
    work / "data", train=60 if SMOKE else 3000, val=20 if SMOKE else 220, test=20 if SMOKE else 320, seed=0
)
dataset = load_dataset(work / "data")
print(dataset.questions)
print(dataset.private_attributes)

# %% [markdown]
# The budget is one of the settings. Every answer is on disk before it is used. A run that was killed goes on with
# `fit(..., resume=True)` and pays for nothing twice.

# %%
config = TrainerConfig(
    steps=6 if SMOKE else 240,
    pretraining_steps=5 if SMOKE else 300,
    batch=4 if SMOKE else 32,
    max_queries=40 if SMOKE else 2000,
    access="logprobs",
    protector=ProtectorConfig(width=8 if SMOKE else 32, blocks=(1, 3, 1), working_resolution=64),
)

with SandboxServer() as server:
    model = ChatOpenAI(model="sandbox", base_url=server.base_url, api_key="sandbox")
    artifact = Trainer(model, dataset, config).fit(
        work / "run",
        on_progress=lambda at: (
            at.step % 100 == 0 and print(at.phase, at.step, at.queries, at.utility, at.leak)
        ),
    )
    stats = server.stats()

# %% [markdown]
# The artifact is a folder. Its manifest says what it was trained for, what it cost, and which front was measured.

# %%
manifest, digest = read_manifest(artifact)
print(digest[:12], manifest.queries, "queries")
for point in manifest.front:
    print(f"level {point.level:.2f}  leak {point.leak:5.2f}  utility {point.utility:5.2f}")
print(manifest.presets)
assert manifest.queries == stats["completions"] <= config.max_queries
assert stats["repeated"] == 0

# %% [markdown]
# One network holds the whole front. `level` chooses a point of it for each request.

# %%
protector = ImageProtector.from_pretrained(artifact, level=manifest.presets["balanced"])
example = dataset.split("test")[0]
protected = protector.protect_image(dataset.folder / example.image)
assert protected.size == (64, 64)
