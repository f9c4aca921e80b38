# %% [markdown]
# # 6. Audit your protector, and read the report
#
# A protector is as good as what an attacker who adapts to it can no longer read. `evaluate` trains such attackers, on
# pictures that are protected in the same way, and judges them on pictures that they did not learn from. Here a
# classical engine is audited on the sandbox's drawings. To audit yours, give the folder of an artifact (`"runs/cards"`)
# in its place, or run `vpp evaluate runs/cards --data cards --out report.json --html report.html --attack identity
# --attack inversion`. `VPP_SMOKE=1` shrinks the sizes only.

# %%
import os
import tempfile
from pathlib import Path

from langchain_openai import ChatOpenAI

from langchain_vpp.engines import Pixelate
from trainer import evaluate, load_dataset
from trainer.evaluation import EvaluationSettings
from trainer.evaluation.results import OURS
from trainer.reporting import picture_rows, save_html, save_json, summaries
from trainer.sandbox.drawing.scenes import PRIVATE_QUESTIONS, make_data
from trainer.sandbox.process import SandboxServer

SMOKE = os.environ.get("VPP_SMOKE") == "1"
work = Path(tempfile.mkdtemp())
make_data(
    work / "data", train=60 if SMOKE else 2000, val=20 if SMOKE else 200, test=25 if SMOKE else 400, seed=0
)
dataset = load_dataset(work / "data")

# %% [markdown]
# Classifiers of several architectures read the private attributes, and one of them learns from protected pictures
# alone. For each attribute the report believes the classifier that read the validation pictures best. Further attacks
# ask whether a picture can be linked to its original (`identity`), whether originals can be reconstructed
# (`inversion`), and whether many queries about one picture tell more (`repeated`). To look for private words, name them
# in the data set's `texts` and add `text` (extra `ocr`).
#
# The chat model is asked for private attributes too: plainly, and step by step. Refusals are counted apart, because the
# next prompt may not be refused. `query_originals` sends unprotected pictures. These here are drawings of nobody.

# %%
settings = EvaluationSettings(
    levels=(0.7,) if SMOKE else (0.3, 0.7),
    baselines={} if SMOKE else {"blur": (0.3, 0.6)},
    classifiers=("small",) if SMOKE else ("small", "resnet10"),
    cold=() if SMOKE else ("small",),
    train_images=32 if SMOKE else 1000,
    attacks=("identity", "inversion", "repeated"),
    queries_per_point=12 if SMOKE else 200,
    private_questions={name: PRIVATE_QUESTIONS[name] for name in ("hair", "shirt_number")},
    styles=("direct", "steps"),
    query_originals=True,
)
with SandboxServer() as server:
    model = ChatOpenAI(model="sandbox", base_url=server.base_url, api_key="sandbox")
    report = evaluate(Pixelate(), dataset, model, settings, ledger=work / "evaluation.sqlite")

# %% [markdown]
# The verdict is one sentence for each preset, or for each level if there are no presets. Then read every accuracy next
# to its two floors: the accuracy of always naming the commonest class, and what the task answers alone tell.

# %%
presets = {"mild": 0.3, "strong": 0.7}
for verdict in summaries(report, presets):
    print(f"{verdict.name}: {verdict.sentence}")
strong = report.of(OURS)[-1]
for reading in strong.leading:
    print(
        f"{reading.subject}: {reading.accuracy.value:.2f} [{reading.accuracy.low:.2f}, {reading.accuracy.high:.2f}], "
        f"chance {reading.chance:.2f}, from the tasks {report.task_floors[reading.subject].value:.2f}"
    )
for search in strong.identity:
    print(f"found among {search.gallery}: {search.top1.value:.2f}, by chance {search.top1_floor:.2f}")
print(f"not tested: {'; '.join(report.not_tested)}")

# %% [markdown]
# Keep the JSON file: it holds every figure, with the digests of the protector and the data. The page is one file that
# loads nothing from anywhere. With `originals=True` it would show unprotected pictures, and say so.

# %%
save_json(report, work / "report.json")
pictures = picture_rows(dataset, Pixelate(), (0.3, 0.7), {}, originals=False)
save_html(report, work / "report.html", presets=presets, pictures=pictures)
assert "<script" not in (work / "report.html").read_text()
assert {search.gallery for search in strong.identity} == {"originals"}  # nobody is drawn twice
assert report.queries.lost == 0
