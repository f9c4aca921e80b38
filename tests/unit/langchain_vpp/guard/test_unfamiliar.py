"""Pictures that a trained protector was not made for."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from PIL import Image
from pydantic import Field

from langchain_vpp import ImageProtector, ProtectionError, protect
from langchain_vpp.artifact import load_engine
from langchain_vpp.batch import plan, protect_files
from langchain_vpp.engines import Blur, Chain, Pixelate
from langchain_vpp.errors import DomainWarning, UnfamiliarPictureError
from langchain_vpp.images.codec import decode_image
from langchain_vpp.messages.base64 import decode_base64, encode_base64
from tests.domains import give
from tests.untrained import save_untrained


class Keeping(BaseChatModel):
    """Keeps the messages that it gets."""

    requests: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "keeping"

    def _generate(self, messages, stop=None, run_manager=None, **kwargs: Any) -> ChatResult:
        self.requests.append(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage("yes"))])


def familiar(seed: int = 0) -> Image.Image:
    """A dim picture of broad stripes."""
    pixels = np.full((48, 64, 3), 90 + 2 * seed, dtype=np.uint8)
    pixels[:, ::16] = 140
    return Image.fromarray(pixels)


def unfamiliar(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domain") / "artifact"
    save_untrained(folder)
    give(folder, [familiar(seed) for seed in range(6)])
    return folder


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def message(*images: Image.Image) -> list[HumanMessage]:
    return [
        HumanMessage(
            [
                {"type": "image", "base64": encode_base64(png(each)), "mime_type": "image/png"}
                for each in images
            ]
        )
    ]


def pictures(messages) -> list[Image.Image]:
    return [decode_image(decode_base64(block["base64"])) for block in messages[0].content]


def is_flat(image: Image.Image) -> bool:
    return all(low == high for low, high in image.getextrema())


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_an_unfamiliar_picture_is_one_grey_at_every_level(folder, level):
    protector = ImageProtector.from_pretrained(folder, level=level)
    covered = protector.protect_image(unfamiliar())
    assert covered.size == (64, 48)
    assert covered.getcolors() == [(64 * 48, (128, 128, 128))]
    assert not is_flat(protector.protect_image(familiar()))


def test_what_stands_for_a_covered_picture_tells_nothing_of_it(folder):
    protector = ImageProtector.from_pretrained(folder)
    assert protector.protect_encoded(png(unfamiliar(1))) == protector.protect_encoded(png(unfamiliar(2)))


def test_an_unfamiliar_picture_is_refused_and_the_model_is_never_called(folder):
    model = Keeping()
    protected = protect(model, ImageProtector.from_pretrained(folder, on_unfamiliar="raise"))
    with pytest.raises(UnfamiliarPictureError, match="unlike those that the artifact was made for"):
        protected.invoke(message(unfamiliar()))
    with pytest.raises(ProtectionError):  # again, because nothing of a refusal is remembered
        protected.invoke(message(unfamiliar()))
    assert model.requests == []
    protected.invoke(message(familiar()))
    assert len(model.requests) == 1


def test_an_unfamiliar_picture_is_protected_with_a_warning(folder):
    protector = ImageProtector.from_pretrained(folder, on_unfamiliar="warn")
    with pytest.warns(DomainWarning, match="may be private"):
        shown = protector.protect_image(unfamiliar())
    assert not is_flat(shown)


def test_a_familiar_picture_gives_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImageProtector.from_pretrained(folder, on_unfamiliar="warn").protect_image(familiar())


def test_receipts_say_what_became_of_unfamiliar_pictures(folder):
    for reaction, said in (("cover", "covered"), ("warn", "shown")):
        protector = ImageProtector.from_pretrained(folder, on_unfamiliar=reaction)
        for _ in range(2):  # the second time from memory
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                admission = protector.admit(message(familiar(), unfamiliar()))
            entries = admission.receipt.as_metadata()["images"]
            assert [each.get("unfamiliar") for each in entries] == [None, said]


def test_no_request_can_change_the_reaction(folder):
    model = Keeping()
    protected = protect(model, ImageProtector.from_pretrained(folder, level=0.0))
    for asked in ({"vpp_on_unfamiliar": "warn"}, {"on_unfamiliar": "warn"}, {"vpp_level": 0.0}):
        protected.invoke(message(unfamiliar()), config={"configurable": asked})
    assert all(is_flat(pictures(sent)[0]) for sent in model.requests)


def test_a_picture_that_was_covered_passes_as_it_is(folder):
    protector = ImageProtector.from_pretrained(folder)
    once = protector.protect_messages(message(unfamiliar()))
    assert protector.protect_messages(once)[0].content == once[0].content


def test_a_chain_covers_what_either_part_does_not_know(folder):
    learned = load_engine(folder)
    for chain in (Chain(learned, Blur()), Chain(Pixelate(), learned), Chain(Chain(Blur(), learned), Blur())):
        assert is_flat(chain.protect(unfamiliar(), 0.0))
        assert is_flat(ImageProtector(chain, level=0.0).protect_image(unfamiliar()))
        with pytest.raises(UnfamiliarPictureError):
            ImageProtector(chain, level=0.0, on_unfamiliar="raise").protect_image(unfamiliar())
    assert not is_flat(Chain(learned, Blur()).protect(familiar(), 0.0))


def test_many_pictures_at_once_are_judged_each_by_itself(folder):
    protector = ImageProtector.from_pretrained(folder)
    images = [familiar(seed % 6) if seed % 2 else unfamiliar(seed) for seed in range(12)]
    protected = pictures(protector.protect_messages(message(*images)))
    assert [is_flat(each) for each in protected] == [not seed % 2 for seed in range(12)]


def test_an_unknown_reaction_is_refused():
    with pytest.raises(ValueError, match="on_unfamiliar must be one of cover, raise, warn"):
        ImageProtector(Blur(), on_unfamiliar="pass")


def test_engines_that_know_no_kind_of_pictures_are_not_concerned():
    assert not is_flat(ImageProtector(Blur(), level=0.0, on_unfamiliar="raise").protect_image(unfamiliar()))


def test_an_engine_that_says_nothing_of_a_picture_does_not_know_it():
    class Judge(Blur):
        def judged(self, image, level):
            return image.copy(), True

    with pytest.raises(ProtectionError, match="did not judge"):
        ImageProtector(Judge()).protect_image(unfamiliar())


def test_copies_of_unfamiliar_pictures_are_named(folder, tmp_path):
    for name, image in (("card", familiar()), ("letter", unfamiliar())):
        image.save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    jobs, _ = plan([tmp_path / "card.png", tmp_path / "letter.png"], out)
    for reaction, said in (
        ("cover", "covered whole"),
        ("warn", "may be private"),
        ("raise", "nothing was sent"),
    ):
        protector = ImageProtector.from_pretrained(folder, on_unfamiliar=reaction)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = {
                copy.source.stem: copy
                for copy in protect_files(
                    jobs, out, protector, settings={"reaction": reaction}, overwrite=True
                )
            }
        assert (made["card"].status, made["card"].reason) == ("protected", "")
        assert made["letter"].status == ("failed" if reaction == "raise" else "protected")
        assert said in made["letter"].reason


class Naming(Blur):
    """Names one private value in every picture."""

    name = "naming"

    def draft(self, image, level, *, printed=()):
        return _Named(image)


class _Named:
    values = (("NAME", "Ada"),)

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def finished(self, tokens):
        tokens.token(*self.values[0])
        return self._image.copy()


@pytest.mark.parametrize("learned_first", [True, False])
def test_a_chain_with_an_engine_that_names_values_covers_what_the_other_does_not_know(folder, learned_first):
    learned = load_engine(folder)
    chain = Chain(learned, Naming()) if learned_first else Chain(Naming(), learned)
    protector = ImageProtector(chain, level=0.0)
    protected = pictures(protector.protect_messages(message(familiar(), unfamiliar())))
    assert [is_flat(each) for each in protected] == [False, True]
    entries = protector.admit(message(familiar(), unfamiliar())).receipt.as_metadata()["images"]
    assert [each.get("unfamiliar") for each in entries] == [None, "covered"]
    with pytest.raises(UnfamiliarPictureError):
        ImageProtector(chain, level=0.0, on_unfamiliar="raise").protect_messages(message(unfamiliar()))
