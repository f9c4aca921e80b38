import pytest
import torch
from pydantic import ValidationError

from langchain_vpp.network.config import STRIDE
from langchain_vpp.network.protector import Protector, ProtectorConfig, _smooth, working_size

SMALL = ProtectorConfig(width=8, blocks=(1, 1, 1), working_resolution=32)


def seeded(config=SMALL):
    torch.manual_seed(0)
    return Protector(config)


def test_a_new_protector_is_next_to_the_identity():
    images = torch.rand(2, 3, 32, 24)
    protected = seeded()(images, torch.tensor([0.0, 1.0])).detach()
    assert protected.shape == images.shape
    assert float((protected - images).abs().mean()) < 0.06


def test_output_stays_in_range_for_extreme_weights():
    protector = seeded()
    with torch.no_grad():
        for parameter in protector.parameters():
            parameter.mul_(30)
        protected = protector(torch.rand(2, 3, 16, 16), torch.rand(2))
    assert float(protected.min()) >= 0
    assert float(protected.max()) <= 1


def test_a_closed_mask_lets_nothing_of_the_original_through():
    protector = seeded()
    with torch.no_grad():
        protector.head.weight.zero_()
        protector.head.bias[48:] = -20
    one, other = (
        protector(torch.rand(1, 3, 16, 16), torch.ones(1)),
        protector(torch.rand(1, 3, 16, 16), torch.ones(1)),
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("size", [3, 5])
def test_smoothing_takes_the_mean_of_what_lies_inside_and_keeps_both_ends_exact(size):
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.avg_pool2d(images, size, stride=1, padding=size // 2, count_include_pad=False)
    torch.testing.assert_close(_smooth(images, size), mean)
    for end in (torch.zeros(1, 1, 16, 8), torch.ones(1, 1, 16, 8)):
        assert torch.equal(_smooth(end, size), end)


def test_smoothing_in_half_precision_loses_no_more_than_its_rounding():
    images = torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0)).bfloat16()
    mean = torch.nn.functional.avg_pool2d(
        images.float(), 17, stride=1, padding=8, count_include_pad=False
    )  # bfloat16 rounds by 0.002 around one half
    assert _smooth(images, 17).dtype == torch.bfloat16
    torch.testing.assert_close(_smooth(images, 17).float(), mean, atol=0.0021, rtol=0)


def test_a_share_of_the_drawing_is_shown_and_with_none_it_is_grey():
    protector = seeded()
    with torch.no_grad():
        protector.head.weight[3 * STRIDE**2 :] = 0
        protector.head.bias[3 * STRIDE**2 :] = -50.0  # closes the mask
    images, level = torch.rand(2, 3, 32, 32), torch.tensor([0.2, 0.9])
    distances = []
    for share in (1.0, 0.5, 0.0):
        protector.draw(share)
        shown = Protector(protector.config)
        shown.load_state_dict(protector.shown_weights())
        torch.testing.assert_close(shown(images, level), protector(images, level))
        assert shown.hides_in_grey == (share == 0)
        distances.append(float((protector(images, level) - 0.5).abs().mean()))
    assert distances[0] > 1.5 * distances[1] > 0
    assert distances[2] < 1e-6
    assert protector.hides_in_grey


def test_a_mask_that_closed_everywhere_still_learns():
    protector = seeded()
    with torch.no_grad():
        protector.head.bias[48:] = -4  # 1.4 * sigmoid(-4) - 0.2 is below 0
    images = torch.rand(1, 3, 16, 16)
    (protector(images, torch.zeros(1)) - images).square().mean().backward()
    assert float(protector.head.bias.grad[48:].abs().min()) > 0


def test_the_level_changes_the_output_once_film_has_learned():
    protector = seeded()
    with torch.no_grad():
        for block in protector.inside:
            torch.nn.init.normal_(block.second.weight, std=0.3)
        torch.nn.init.normal_(protector.head.weight, std=0.3)
    images = torch.rand(1, 3, 16, 16)
    assert not torch.allclose(protector(images, torch.zeros(1)), protector(images, torch.ones(1)), atol=1e-3)


def test_an_image_is_protected_alike_alone_and_in_a_batch():
    protector = seeded().eval()
    images, level = torch.rand(3, 3, 16, 16), torch.rand(3)
    assert torch.allclose(protector(images, level)[1], protector(images[1:2], level[1:2])[0], atol=1e-5)


def test_user_levels_pass_through_the_knots():
    protector = seeded(SMALL.model_copy(update={"level_knots": (0.0, 0.1, 1.0)}))
    calibrated = protector.calibrated(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert calibrated.tolist() == pytest.approx([0.0, 0.05, 0.1, 0.55, 1.0])


@pytest.mark.parametrize("shape", [(1, 3, 12, 16), (1, 3, 16, 20)])
def test_sides_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 8"):
        seeded()(torch.rand(shape), torch.rand(1))


def test_a_level_per_image_is_required():
    with pytest.raises(ValueError, match="one level per image"):
        seeded()(torch.rand(2, 3, 16, 16), torch.rand(1))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((4000, 3000), (384, 288)), ((64, 64), (64, 64)), ((3, 2000), (8, 384)), ((100, 61), (96, 64))],
)
def test_working_size_bounds_the_longest_side(size, expected):
    assert working_size(*size, 384) == expected


@pytest.mark.parametrize(
    "hostile",
    [{"blocks": (1, 10**6, 1)}, {"level_knots": (0.0,)}, {"level_knots": (0.0, 7.0)}, {"width": 10**6}],
)
def test_a_configuration_out_of_bounds_is_refused(hostile):
    with pytest.raises(ValidationError):
        ProtectorConfig(**hostile)


def test_each_frame_of_a_clip_is_protected_as_an_image_at_its_level():
    protector, level = seeded(), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        for parameter in protector.parameters():
            parameter.add_(torch.randn_like(parameter) / 5)  # a new protector hardly heeds the level
    clips = torch.rand(2, 3, 3, 16, 24)
    protected = protector(clips, level)
    assert protected.shape == clips.shape
    for number in range(3):
        assert torch.allclose(protected[:, number], protector(clips[:, number], level), atol=1e-5)
        assert not torch.allclose(protected[:, number], protector(clips[:, number], level.flip(0)), atol=0.01)
