import pytest
from pydantic import ValidationError

from trainer.training.config import TrainerConfig


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"patience": 2}, "patience needs validations"),
        ({"zeroth_order": {"radius": 0.1}}, "the estimator 'student' has no radius"),
        ({"estimator": "spsa", "zeroth_order": {"momentum": 0.5, "cell": 8}}, "'spsa' has no momentum"),
        ({"estimator": "rgf", "zeroth_order": {"gain": 2}}, "'rgf' has no gain"),
        ({"price": (-1, 1)}, "price.0"),
        ({"price": (1, float("nan"))}, "price.1"),
        ({"price": (float("inf"), 1)}, "price.0"),
        ({"estimator": "guess"}, "Input should be 'student'"),
        ({"query_choice": "doubt"}, "Input should be 'critical', 'disagreement' or 'uniform'"),
        (
            {"criticality": "uncertainty"},
            "criticality was removed: records are always scored by the student's loss",
        ),
        ({"criticality_half_life": 50}, "does not fade with age; leave it out"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, reason):
    with pytest.raises(ValidationError, match=reason):
        TrainerConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"validations": 3, "patience": 2},
        {"estimator": "zo-image", "zeroth_order": {"radius": 0.1, "cell": 4}},
        {"estimator": "spsa-gc", "zeroth_order": {"momentum": 0.5, "directions": 1, "images": 4}},
        {"estimator": "rgf", "zeroth_order": {"memory": 0}},
        {"criticality": "loss", "criticality_half_life": None},
    ],
)
def test_settings_that_fit_survive_a_file(settings):
    config = TrainerConfig.model_validate(settings)
    assert TrainerConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("averaging", "ema_decay"),
        ("plainness", "grey_penalty"),
        ("reopening", "reveal_penalty"),
        ("quiet", "query_warmup"),
    ],
)
def test_a_setting_of_the_last_version_works_and_names_its_new_name(old, new):
    with pytest.warns(FutureWarning, match=f"{old} is now {new}") as caught:
        config = TrainerConfig(**{old: 0.25})
    assert getattr(config, new) == 0.25
    assert caught[0].filename == __file__  # the line of the caller, not one of pydantic's


def test_an_old_and_a_new_name_together_are_refused():
    with pytest.raises(ValueError, match="give one of them"):
        TrainerConfig(quiet=0.1, query_warmup=0.2)
