import json
import math
import os
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from langchain_openai import ChatOpenAI
from PIL import Image
from starlette.testclient import TestClient

from langchain_vpp.engines import CLASSICAL_ENGINES
from langchain_vpp.errors import DataError, TrainingError
from langchain_vpp.images.codec import encode_image
from tests.domains import fit_to_few_pictures
from trainer.data.answers import answer_space, references
from trainer.data.dataset import load_dataset
from trainer.data.wire import as_image
from trainer.experiments import running
from trainer.experiments.__main__ import main
from trainer.experiments.grid import PAPER, QUICK, Grid, Method, Sizes, cells
from trainer.experiments.points import Point, measure, points_hypervolume
from trainer.experiments.running import Result, load_results, run
from trainer.experiments.table import as_markdown
from trainer.experiments.white_box import WhiteBox
from trainer.oracle.ledger import Budget, Ledger
from trainer.oracle.oracle import Oracle
from trainer.oracle.query import Query
from trainer.recipes.demo import DEMO
from trainer.sandbox.chat_model import SandboxChatModel
from trainer.sandbox.drawing.scenes import TASKS, make_data
from trainer.sandbox.server import create_app
from trainer.sandbox.vision.local_model import SCENE_CHOICES, LocalVisionModel
from trainer.sandbox.vision.questions import route

SIZES = Sizes(train=400, val=40, test=24, attacker_images=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes") / "data"
    make_data(out, train=SIZES.train, val=SIZES.val, test=SIZES.test, seed=0)
    return out


# -- cells -----------------------------------------------------------------------------------------------------------


def test_a_grid_is_the_product_of_methods_budgets_access_and_seeds():
    grid = Grid(
        methods=(
            Method(name="student"),
            Method(name="labels only", access=("labels",), budgets=(7,)),
            Method(name="none", settings={"estimator": "none"}),
            Method(name="bound", white_box=True),
        ),
        budgets=(10, 20, 30),
        baselines={"blur": (0.5,)},
    )
    found = cells(grid, [0, 1])
    count = {
        name: sum(cell.method == name for cell in found) for name in ("student", "none", "bound", "blur")
    }
    assert count == {"student": 12, "none": 2, "bound": 2, "blur": 2}
    assert [cell.config.max_queries for cell in found if cell.method == "labels only"] == [7, 7]
    assert not any(cell.asks for cell in found if cell.method in ("none", "bound", "blur"))
    assert len({cell.digest() for cell in found}) == len(found)


def test_a_cell_trains_as_the_demo_does_but_for_what_the_grid_says():
    grid = Grid(methods=(Method(name="a", settings={"fidelity": 7}),), settings={"steps": 5}, baselines={})
    cell = cells(grid, [3])[0]
    wanted = {"fidelity": 7.0, "steps": 5, "seed": 3, "max_queries": 500, "access": "labels"}
    assert cell.config == DEMO.model_copy(update=wanted)


def test_settings_decide_the_digest_and_seeds_share_a_recipe():
    grid = Grid(methods=(Method(name="a"),), budgets=(10,), access=("labels",), baselines={})
    zero, one = cells(grid, [0, 1])
    other = cells(grid.model_copy(update={"settings": {"fidelity": 9}}), [0])[0]
    assert zero.recipe() == one.recipe()
    assert zero.digest() != one.digest()
    assert other.digest() != zero.digest()
    assert other.recipe() != zero.recipe()


def test_settings_that_no_trainer_has_stop_everything_before_the_first_cell():
    grid = Grid(methods=(Method(name="fine"), Method(name="odd", settings={"fidelty": 1})))
    with pytest.raises(DataError, match=r"'odd'.*fidelty"):
        cells(grid, [0])


@pytest.mark.parametrize("grid", [QUICK, PAPER])
def test_named_grids_can_be_trained(grid):
    found = cells(grid, [0])
    assert any(cell.white_box for cell in found)
    assert {cell.engine for cell in found} > {"blur", "pixelate", "downscale"}


# -- the chat model --------------------------------------------------------------------------------------------------


@pytest.mark.slow(seconds=4)
@pytest.mark.parametrize("access", ["labels", "logprobs"])
def test_the_chat_model_in_this_process_answers_as_the_server_does(access, folder, tmp_path):
    dataset = load_dataset(folder)
    images = dataset.pixels(dataset.split("test")[:3], 64)
    encoded = [encode_image(as_image(image.float() / 255)) for image in images]
    queries = [Query(image, task.text, task.choices) for image in encoded for task in TASKS.values()]
    server = TestClient(create_app(LocalVisionModel.load()))
    models = (
        SandboxChatModel(),
        ChatOpenAI(base_url="http://testserver/v1", api_key="none", model="sandbox", http_client=server),
    )
    answers = []
    for number, model in enumerate(models):
        with Ledger(tmp_path / f"{number}.sqlite", model="sandbox") as ledger:
            oracle = Oracle(model, ledger, Budget(100), access=access, max_concurrency=1)
            answers.append(oracle.ask(queries, purpose="train"))
    for here, there in zip(*answers, strict=True):
        assert here.text == there.text
        assert here.logprobs == there.logprobs
        assert (here.logprobs is not None) == (access == "logprobs")


@pytest.fixture(scope="module")
def bound(folder):
    dataset = load_dataset(folder)
    space = answer_space(dataset)
    examples = dataset.split("test")[:6]
    return (
        WhiteBox(space, LocalVisionModel.load()),
        space,
        dataset.pixels(examples, 64).float() / 255,
        references(examples, space),
    )


@pytest.mark.slow(seconds=2)
def test_the_white_box_loss_is_the_chat_models_own(bound):
    estimator, space, images, answers = bound
    answers = answers.clone()
    answers[0, 1:] = -1  # only one question is asked about the first image
    loss = estimator.loss(images, answers, generator=torch.Generator())
    believed = LocalVisionModel.load().log_probabilities(images)
    for row, found in enumerate(loss.tolist()):
        terms = []
        for question, answer in enumerate(answers[row].tolist()):
            if answer < 0:
                continue
            attribute = route(space.questions[question])
            column = SCENE_CHOICES[attribute].index(space.answers[answer])
            terms.append(-float(believed[attribute][row, column]) / math.log(len(SCENE_CHOICES[attribute])))
        assert found == pytest.approx(sum(terms) / len(terms), abs=1e-4)


@pytest.mark.slow(seconds=2)
def test_a_small_step_along_the_white_box_gradient_lowers_the_loss(bound):
    estimator, _, images, answers = bound
    noisy = (images + 0.3 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    noisy.requires_grad_()
    loss = estimator.loss(noisy, answers, generator=torch.Generator()).sum()
    (gradient,) = torch.autograd.grad(loss, noisy)
    step = 0.01 * gradient / gradient.norm()
    lower = estimator.loss(noisy - step, answers, generator=torch.Generator()).sum()
    predicted = 0.01 * gradient.norm()
    assert (loss - lower).item() == pytest.approx(predicted.item(), rel=0.3)


# -- measuring -------------------------------------------------------------------------------------------------------


class Fading:
    def protect(self, image, level):
        return image if level < 1 else Image.new("RGB", image.size, (128, 128, 128))


@pytest.mark.trains
def test_originals_leak_all_and_keep_all_and_grey_pictures_nothing(folder, tmp_path):
    kept, grey = measure(
        Fading(), load_dataset(folder), (1.0, 0.0), attacker_images=200, seed=0, ledger=tmp_path / "l.sqlite"
    )
    assert kept.level == 0
    assert kept.leak > 0.6  # 1 but for the noise of an attacker that saw few images
    assert kept.utility == pytest.approx(1)
    assert grey.leak < 0.15  # a wrong guess of the commonest class is below 0
    assert grey.utility < 0.1
    assert points_hypervolume([kept, grey]) < 0.2


def test_noise_beyond_the_ends_of_the_scale_counts_as_the_ends():
    assert points_hypervolume([Point(0, -0.05, 0.5), Point(1, 0.5, 1.1)]) == pytest.approx(0.75)


# -- running ---------------------------------------------------------------------------------------------------------

TINY = {
    "methods": [
        {"name": "student"},
        {"name": "bound", "white_box": True},
        {"name": "none", "settings": {"estimator": "none"}},
    ],
    "budgets": [20],
    "access": ["labels"],
    "baselines": {"blur": [0.5]},
    "levels": [0.5, 1.0],
    "sizes": {"train": 200, "val": 30, "test": 10, "attacker_images": 50},
    "settings": {
        "steps": 4,
        "batch": 4,
        "pretraining_steps": 4,
        "reader_width": 24,
        "protector": {"width": 8, "blocks": [1, 1, 1], "working_resolution": 64},
    },
}


@pytest.mark.trains
@pytest.mark.slow(seconds=15)
def test_the_command_fills_the_table_and_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(running, "_in_own_process", lambda function, *args: function(*args))  # saves imports
    fit_to_few_pictures(monkeypatch)
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps(TINY))
    out = tmp_path / "out"
    command = ["--out", str(out), "--grid", str(grid), "--seeds", "0", "--jobs", "1"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "4 of 4 cells to run" in shown.err
    results = {result.cell.method: result for result in load_results(out)}
    assert set(results) == {"student", "bound", "none", "blur"}
    assert 0 < results["student"].queries <= 20
    assert [results[name].queries for name in ("bound", "none", "blur")] == [0, 0, 0]
    assert [point.level for point in results["student"].points] == [0.5, 1.0]
    assert [point.level for point in results["blur"].points] == [0.5]
    for name in results:
        assert f"| {name} |" in shown.out
    left = sorted(path.name for path in (out / "runs" / results["student"].digest[:16]).iterdir())
    assert left == ["manifest.json", "metrics.jsonl", "model.safetensors"]
    assert not list(out.glob("unfinished-*"))

    assert main(command) == 0
    again = capsys.readouterr()
    assert "0 of 4 cells to run" in again.err
    assert again.out == shown.out
    assert main(["--out", str(out), "--table"]) == 0
    assert capsys.readouterr().out == shown.out


def test_a_cell_that_fails_is_told_and_the_others_are_kept(tmp_path, monkeypatch):
    def call(function, *args):
        if function is running.run_cell and args[0].method == "none":
            raise TrainingError("the disk is full")
        return finished(args[0])

    monkeypatch.setattr(running, "_in_own_process", call)
    monkeypatch.setattr(running, "draw_data", lambda out, sizes: out)
    tmp_path.joinpath("results.jsonl").touch()
    failures = run(Grid.model_validate(TINY), tmp_path, [0], jobs=1, tell=lambda line: None)
    assert [(cell.method, reason) for cell, reason in failures] == [
        ("none", "TrainingError: the disk is full")
    ]
    assert sorted(result.cell.method for result in load_results(tmp_path)) == ["blur", "bound", "student"]


def _with_its_process(cell, data, out):
    return running.run_cell(cell, data, out), os.getpid(), torch.get_num_threads()


@pytest.mark.trains
@pytest.mark.slow(seconds=8)
def test_a_cell_runs_in_a_process_and_a_thread_of_its_own(tmp_path):
    sizes = Sizes(train=200, val=10, test=10, attacker_images=50)
    folder = tmp_path / "data"
    make_data(folder, train=sizes.train, val=sizes.val, test=sizes.test, seed=0)
    cell = cells(Grid(methods=(), sizes=sizes, baselines={"pixelate": (0.5,)}), [0])[0]
    result, process, threads = running._in_own_process(_with_its_process, cell, folder, tmp_path)
    assert process != os.getpid()
    assert threads == 1
    assert result.digest == cell.digest()
    here = measure(
        CLASSICAL_ENGINES["pixelate"](), load_dataset(folder), (0.5,), attacker_images=50, seed=0,
        ledger=tmp_path / "l.sqlite",
    )  # fmt: skip
    assert (
        result.points == here
    )  # attackers compute with one thread, so that no figure depends on the process


@pytest.mark.slow(seconds=3)
def test_a_cell_whose_process_dies_does_not_hang():
    with pytest.raises(BrokenProcessPool):
        running._in_own_process(os._exit, 3)


def test_a_result_of_an_earlier_version_is_read_and_its_cell_is_finished(tmp_path):
    digest = "e613ecb6ef2f6528c00ed75b8716de9ce9b1a1ed6c67c15f85f63164c7360a4f"
    line = {
        "cell": {
            "method": "blur", "seed": 0, "levels": [0.5], "config": None, "white_box": False, "engine": "blur",
            "sizes": {"train": 3000, "val": 300, "test": 500, "data_seed": 0, "attacker_images": 1500},
        },
        "digest": digest, "recipe": digest, "points": [[0.5, 0.25, 0.75]], "hypervolume": 0.5625, "queries": 0,
        "cpu_s": 0.0, "code": "c",
    }  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(line) + "\n")
    (result,) = load_results(tmp_path)
    assert result.points == (Point(0.5, 0.25, 0.75),)
    assert (
        run(Grid(methods=(), baselines={"blur": (0.5,)}), tmp_path, [0], jobs=1, tell=lambda line: None) == []
    )
    assert load_results(tmp_path) == [result]


def test_a_line_of_another_kind_is_told_with_its_number(tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    results.write_text(finished(cells(QUICK, [0])[0]).model_dump_json() + "\n{}\n")
    assert main(["--out", str(tmp_path), "--table"]) == 2
    assert "line 2" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", '{"methods": [{"name": ""}]}', None])
def test_a_grid_that_cannot_be_read_is_bad_input(content, tmp_path, capsys):
    grid = tmp_path / "grid.json"
    if content is not None:
        grid.write_text(content)
    assert main(["--out", str(tmp_path / "out"), "--grid", str(grid)]) == 2
    assert "Nothing was run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--jobs", "0"], ["--seeds", "-1"], ["--seeds", "x"]])
def test_numbers_that_make_no_sense_are_bad_input(wrong, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "out"), *wrong])
    assert stopped.value.code == 2


def test_a_folder_that_cannot_be_used_is_bad_input(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(["--out", str(tmp_path / "out"), "--grid", "quick"]) == 2
    assert "can't be used" in capsys.readouterr().err


# -- the table -------------------------------------------------------------------------------------------------------


def finished(cell, volume=0.5, *, code="c", cpu_s=10.0):
    return Result(
        cell=cell,
        digest=cell.digest(),
        recipe=cell.recipe(),
        points=(Point(1.0, 1 - volume, 1.0),),
        hypervolume=volume,
        queries=0,
        cpu_s=cpu_s,
        code=code,
    )


def compared(volumes, seeds=(0, 1), **grid):
    """Results of a grid whose hypervolumes are looked up by method, budget and seed."""
    methods = (Method(name="student"), Method(name="spsa"), Method(name="bound", white_box=True))
    settings = {"methods": methods, "budgets": (500, 2000), "access": ("labels",), "baselines": {}} | grid
    found = []
    for cell in cells(Grid(**settings), seeds):
        volume = volumes.get((cell.method, cell.config.max_queries if cell.config else 0, cell.seed))
        if volume is not None:
            found.append(finished(cell, volume))
    return found


FIRST = {
    ("student", 500, 0): 0.50,
    ("student", 500, 1): 0.60,
    ("student", 2000, 0): 0.70,
    ("student", 2000, 1): 0.60,
    ("spsa", 500, 0): 0.10,
    ("bound", 0, 0): 0.80,
    ("bound", 0, 1): 0.84,
}


def test_table_shows_mean_spread_and_seeds_next_to_the_white_box():
    lines = as_markdown(compared(FIRST)).splitlines()
    assert lines[0] == (
        "| gradient from | answers | 500 queries | 2,000 queries | queries to 75% of the white box (0.615) | CPU s |"
    )
    assert lines[2] == "| student | labels | 0.550 ± 0.071 (2) | 0.650 ± 0.071 (2) | 2,000 | 10 / 10 |"
    assert lines[3] == "| spsa | labels | 0.100 (1) | - | not reached | 10 / - |"
    assert "| bound | 0.820 ± 0.028 (2) | 1.00 | 10 |" in lines


def test_the_target_is_reached_by_the_mean_over_seeds_and_by_the_smallest_budget():
    results = compared(FIRST)
    assert "| 500 | 10 / 10 |" in as_markdown(results, target=0.55 / 0.82 - 1e-9)
    assert "| 2,000 | 10 / 10 |" in as_markdown(results, target=0.55 / 0.82 + 1e-3)


def test_without_a_white_box_the_table_says_so():
    rendered = as_markdown([result for result in compared(FIRST) if not result.cell.white_box])
    assert "no white box yet" in rendered
    assert "not reached" not in rendered


def test_classical_engines_count_each_and_together_for_seeds_that_all_have():
    found = cells(Grid(methods=(), baselines={"blur": (0.5,), "pixelate": (0.5,)}), [0, 1])
    results = []
    for cell, (leak, utility) in zip(found, [(0.2, 0.4), (0.5, 0.9), (0.3, 0.4), (0.5, 0.5)], strict=True):
        point = Point(0.5, leak, utility)
        results.append(finished(cell, points_hypervolume([point])).model_copy(update={"points": (point,)}))
    rendered = as_markdown(results)
    # seed 0: 0.3 x 0.4 + 0.5 x 0.9; seed 1: 0.2 x 0.4 + 0.5 x 0.5
    assert (
        f"| classical, all together | 0.450 ± {math.dist((0.57,), (0.33,)) / math.sqrt(2):.3f} (2) |"
        in rendered
    )
    assert "| classical, all together | 0.570 (1) |" in as_markdown(results[:3])


def test_results_of_earlier_settings_are_left_out_and_counted():
    old = compared(dict.fromkeys(FIRST, 0.9), settings={"fidelity": 9.0})
    new = compared({("student", 500, 0): 0.4})
    lines = as_markdown([*old, *new]).splitlines()
    assert "0.400 (1)" in lines[2]
    assert "2 results of earlier settings are left out." in lines
    assert "left out" not in as_markdown(old)


def test_the_newest_result_of_a_seed_counts():
    cell = cells(QUICK, [0])[-1]
    rendered = as_markdown([finished(cell, 0.3), finished(cell, 0.4)])
    assert "0.400 (1)" in rendered


def test_cells_of_several_versions_of_the_code_are_told():
    first, second = cells(QUICK, [0, 1])[-2:]
    assert "2 versions of the code" in as_markdown([finished(first), finished(second, code="d")])
    assert "versions of the code" not in as_markdown([finished(first), finished(second)])


def test_an_empty_table_says_so():
    assert as_markdown([]).strip() == "No cell is finished."
