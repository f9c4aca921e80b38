# %% [markdown]
# # 5. Train against your provider
#
# Recipe 2 trains on the sandbox. This one trains with data and a provider of your own, and looks at the cost: what a
# data set needs, what a run will cost before it costs anything, how a budget ends a run, how the run goes on, and how
# to choose a level from what was measured. The provider here is the sandbox's server, so that the recipe runs without a
# key. For a real one write `MODEL = "openai:gpt-4o-mini"` (or `anthropic:...`, `google_genai:...`) and leave
# `--base-url` out. `VPP_SMOKE=1` shrinks the sizes only: every step is the same, and the result is useless.

# %%
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from typer.testing import CliRunner, Result

from langchain_vpp import ImageProtector
from langchain_vpp.artifact import read_manifest
from langchain_vpp.cli.app import app
from trainer.sandbox.drawing.scenes import draw_scene
from trainer.sandbox.process import SandboxServer

SMOKE = os.environ.get("VPP_SMOKE") == "1"
MODEL = "sandbox"
work = Path(tempfile.mkdtemp())


def vpp(*arguments: object) -> Result:
    """Run the command line in this process: in a shell it is `vpp ...`."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    print("$ vpp", *arguments[:1], "-> exit code", done.exit_code)
    for line in done.stderr.splitlines():
        if line.startswith(("estimate:", "answers:", "warning:", "vpp:")):
            print(line)
    return done


# %% [markdown]
# ## The data set
#
# A data set is a folder with pictures and a `data.jsonl`, a line per picture. `tasks` are the questions that you want
# to keep asking, with the right answer and perhaps choices. `private` is what must not be read. There are three splits,
# and all pictures of one person, place or film belong to one of them (`group`). The drawings stand for your
# photographs.

# %%
data = work / "data"
(data / "images").mkdir(parents=True)
sizes = {"train": 30 if SMOKE else 1500, "val": 10 if SMOKE else 200, "test": 5 if SMOKE else 200}
COLOURS = ["red", "orange", "green", "blue", "purple"]
lines = []
generator = np.random.default_rng(0)
for split, count in sizes.items():
    for number in range(count):
        scene, truth = draw_scene(generator)
        name = f"images/{split}-{number}.png"
        scene.save(data / name)
        tasks = [
            {"question": "What colour is the sign?", "answer": truth["sign_colour"], "choices": COLOURS},
            {"question": "How many balloons are there?", "answer": truth["count"], "choices": list("12345")},
        ]
        private = {"hair": truth["hair"], "glasses": truth["glasses"]}
        lines.append({"image": name, "split": split, "tasks": tasks, "private": private})
(data / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))

# %% [markdown]
# ## What it will cost
#
# `--dry-run` checks the data and says how much a run would ask at most, in queries, requests, tokens and dollars, and
# what the figures are based on. It needs no key and sends nothing. List prices may be out of date: `--price IN,OUT`
# gives yours.

# %%
settings = work / "settings.json"
small = {
    "steps": 10,
    "pretraining_steps": 5,
    "batch": 4,
    "student_batch": 4,
    "reader_width": 24,
    "validation": 0.25,
    "protector": {"width": 8, "blocks": [1, 1, 1], "working_resolution": 64},
}
settings.write_text(json.dumps(small if SMOKE else {"steps": 400, "protector": {"working_resolution": 64}}))
run = work / "run"
what = ("--data", data, "--config", settings, "--max-queries", 40 if SMOKE else 2000)

foreseen = vpp("train", *what, "--model", "openai:gpt-4o-mini", "--out", run, "--dry-run")
assert "may be out of date" in foreseen.stderr
assert not run.exists()

# %% [markdown]
# ## A budget, and going on
#
# `--max-cost` ends a run with exit code 3 before the limit is exceeded. Every answer is on disk before it is used, so
# nothing is lost and nothing is paid twice: `--resume` with a larger limit goes on where the run stopped. (A provider
# that fails, or gives no answer of use, ends a run with exit code 4, and Ctrl-C with 130. Both go on in the same way.)
# `--ledger FILE` shares paid answers among runs, and `--no-store-images` keeps digests of the protected pictures
# only. `--questions-per-call 2` would ask both questions about a picture in one request and pay for the picture once.

# %%
with SandboxServer() as server:
    provider = ("--model", MODEL, "--base-url", server.base_url, "--price", "0.15,0.60", "--out", run)
    too_little = 0.0003 if SMOKE else 0.005
    stopped = vpp("train", *what, *provider, "--max-cost", too_little)
    assert stopped.exit_code == 3, stopped.stderr
    assert "larger --max-cost" in stopped.stderr

    done = vpp("train", *what, *provider, "--max-cost", 1, "--resume", "--json")
    assert done.exit_code == 0, done.stderr
    stats = server.stats()

manifest, _ = read_manifest(run)
print(f"{manifest.queries} queries, ${manifest.cost_usd:.5f}")
assert manifest.queries == stats["completions"]
assert stats["repeated"] == 0

# %% [markdown]
# ## Picking a level
#
# The manifest holds the front that was measured on the validation split: for each level, how much the training assessor
# still reads (leak) and how much the chat model still answers (utility). Both are 0 for guessing. Take the most private
# level whose utility is enough for you, or a preset. `vpp evaluate` measures both on the test split, with attackers
# that training never saw: believe that report.

# %%
WANTED = 0.8
for point in manifest.front:
    print(f"level {point.level:.2f}  leak {point.leak:5.2f}  utility {point.utility:5.2f}")
good_enough = [point.level for point in manifest.front if point.utility >= WANTED * manifest.front[0].utility]
level = max(good_enough, default=0.0)
print("level", level, "or a preset:", manifest.presets)

protector = ImageProtector.from_pretrained(run, level=level)
protected = protector.protect_image(data / lines[-1]["image"])
assert protected.size == (64, 64)
