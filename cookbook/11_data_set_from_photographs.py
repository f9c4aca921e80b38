# %% [markdown]
# # 11. A data set from a folder of photographs
#
# From pictures, a list of questions and two tables to a data set that can be trained on: copies without metadata,
# splits by groups, every fault at once, and what its size allows. `vpp data init` and `vpp data check` do the same.

# %%
import csv
import json
import os
import tempfile
from pathlib import Path

from trainer.data.inspection import inspect_data
from trainer.data.making import Recipe, make_data_set, read_questions
from trainer.sandbox.drawing.scenes import make_data

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())

# %% [markdown]
# Drawn scenes stand for your photographs, and what is known of them for your tables.

# %%
make_data(work / "drawn", train=90 if SMOKE else 400, val=15, test=15, seed=0)
lines = [json.loads(line) for line in (work / "drawn" / "data.jsonl").read_text().splitlines()]
photos = work / "photos"
photos.mkdir()
for number, line in enumerate(lines):
    (work / "drawn" / line["image"]).rename(photos / f"{number}.png")

question = lines[0]["tasks"][0]
(work / "questions.txt").write_text(" | ".join([question["question"], *question["choices"]]))
with (work / "answers.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["image", "question", "answer"])
    for number, line in enumerate(lines):
        answers = {task["question"]: task["answer"] for task in line["tasks"]}
        table.writerow([f"{number}.png", question["question"], answers[question["question"]]])
with (work / "labels.csv").open("w", newline="") as file:
    attribute = min(lines[0]["private"])
    table = csv.writer(file)
    table.writerow(["image", attribute])
    table.writerows([f"{number}.png", line["private"][attribute]] for number, line in enumerate(lines))

# %% [markdown]
# ## Make it
#
# Drawn scenes look alike to a perceptual hash, so resemblance must not keep them together here. With photographs leave
# `group_by` as it is.

# %%
recipe = Recipe(
    read_questions(work / "questions.txt"),
    answers=work / "answers.csv",
    labels=work / "labels.csv",
    group_by=("folder", "time"),
)
made = make_data_set(photos, work / "data", recipe, progress=lambda *_: None)
print(f"{len(made.taken.sources)} pictures in {made.groups} groups: {dict(made.splits)}")
again = make_data_set(photos, work / "data", recipe, progress=lambda *_: None)
assert (again.taken.new, again.splits) == (0, made.splits)  # the same call goes on where it was

# %% [markdown]
# ## Check it
#
# All faults come at once, with their lines. Here one line is spoiled on purpose.

# %%
index = work / "data" / "data.jsonl"
whole = index.read_text()
index.write_text(whole.replace('"split": "val"', '"split": "valid"', 1))
(fault,) = inspect_data(work / "data").faults
print(f"line {fault.line}: {fault.what}; {fault.remedy}")

index.write_text(whole)
found = inspect_data(work / "data")
assert not found.faults
for each in found.expected:
    print(
        f"{each.subject}: {each.groups} groups on test, interval of +- {each.half_width:.2f}; 0.10 takes {each.enough}"
    )
