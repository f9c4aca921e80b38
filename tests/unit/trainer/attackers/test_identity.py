"""People are found again in protected pictures, unless these show nothing of them."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.unit.drawn_people import draw, fooling, grey, identity, jpeg_noise
from trainer.attackers.identity import AUC_FLOOR, IdentityData, Portraits, Reidentifier


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _data(people, protect) -> IdentityData:
    return IdentityData(*(Portraits(protect(each.images), each.identities) for each in people))


def _of_several_pictures():
    return draw(240, 0, people=60), draw(60, 1, people=20), draw(80, 2, people=20)


def _of_one_picture_each():
    return draw(160, 0), draw(40, 1), draw(60, 2)


@pytest.fixture(scope="module")
def people():
    return _of_several_pictures()


@pytest.fixture(scope="module")
def prepared(people):
    attacker = Reidentifier()
    ceiling = attacker.prepare(_data(people, identity), generator=_generator())
    assert ceiling.top1.low > 5 * ceiling.top1_floor
    return attacker


def _attack(prepared, people, protect):
    return copy.deepcopy(prepared).attack(_data(people, protect), generator=_generator(1))


@pytest.mark.parametrize("protect", [identity, jpeg_noise, "fools one network"])
@pytest.mark.trains
def test_what_keeps_people_apart_is_reported_as_leaking(prepared, people, protect) -> None:
    found = _attack(prepared, people, fooling(people[0])[1] if isinstance(protect, str) else protect)
    for gallery in found:
        assert gallery.top1.low > 5 * gallery.top1_floor
        assert gallery.auc.low > AUC_FLOOR + 0.2
        assert (gallery.gallery, gallery.probes, gallery.same_picture) == (20, 60, False)


@pytest.mark.trains
def test_constant_grey_leaks_nobody(prepared, people) -> None:
    for gallery in _attack(prepared, people, grey):
        assert gallery.top1.low <= gallery.top1_floor == pytest.approx(1 / 20)
        assert gallery.auc.low <= AUC_FLOOR


@pytest.mark.trains
def test_an_attacker_that_adapts_sees_through_what_fools_a_ready_made_one(prepared, people) -> None:
    def inverted(images):
        return 255 - images.flip(3)

    network = prepared._networks[0]
    ready_made = Reidentifier(network.embed)
    ready_made.prepare(_data(people, identity), generator=_generator())
    without = ready_made.attack(_data(people, inverted), generator=_generator()).original_gallery.top1
    adapted = _attack(prepared, people, inverted).original_gallery.top1
    assert adapted.low > without.high


@pytest.mark.trains
def test_people_with_one_picture_are_linked_to_their_original_and_not_followed() -> None:
    people = _of_one_picture_each()
    attacker = Reidentifier()
    ceiling = attacker.prepare(_data(people, identity), generator=_generator())
    assert ceiling.same_picture
    assert ceiling.top1.value == 1.0
    leaks, hides = (_attack(attacker, people, each) for each in (jpeg_noise, grey))
    assert leaks.protected_gallery is hides.protected_gallery is None
    assert leaks.original_gallery.top1.low > 0.5
    assert hides.original_gallery.top1.low <= hides.original_gallery.top1_floor


def test_a_given_embedder_is_measured_as_it_is() -> None:
    people = _of_one_picture_each()
    attacker = Reidentifier(lambda images: images.flatten(1).float() - 128)
    attacker.prepare(_data(people, identity), generator=_generator())
    assert attacker.attack(_data(people, identity), generator=_generator()).original_gallery.top1.value == 1.0
    blind = Reidentifier(lambda images: torch.ones(len(images), 3))
    found = blind.prepare(_data(people, identity), generator=_generator())
    assert found.top1.value == pytest.approx(found.top1_floor)
    assert found.auc.value == AUC_FLOOR


@pytest.mark.trains
def test_the_same_generator_gives_the_same_findings(people) -> None:
    few = tuple(each._replace(images=each.images[:40], identities=each.identities[:40]) for each in people)
    runs = []
    for _ in range(2):
        attacker = Reidentifier(warm_epochs=1, epochs=1)
        attacker.prepare(_data(few, identity), generator=_generator(2))
        torch.rand(3)
        runs.append(attacker.attack(_data(few, jpeg_noise), generator=_generator(3)))
    assert runs[0] == runs[1]


def test_one_person_alone_can_not_be_told_from_others() -> None:
    alone = draw(6, 0, people=1)
    with pytest.raises(ValueError, match="two people"):
        Reidentifier(lambda images: images.flatten(1)).prepare(
            _data((alone, alone, alone), identity), generator=_generator()
        )


@pytest.mark.trains
def test_other_pictures_than_those_prepared_with_are_refused(prepared, people) -> None:
    with pytest.raises(ValueError, match="prepared"):
        _attack(prepared, (people[0], people[2], people[1]), identity)
    with pytest.raises(ValueError, match="prepare"):
        Reidentifier().attack(_data(people, identity), generator=_generator())


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    people = _of_one_picture_each()
    broken = Reidentifier(lambda images: torch.full((len(images), 3), torch.nan))
    with pytest.raises(ValueError, match="finite"):
        broken.prepare(_data(people, identity), generator=_generator())
