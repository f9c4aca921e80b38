"""A chain is an engine: one engine after the other, at the same level."""

from __future__ import annotations

import hashlib

from langchain_vpp import ImageProtector
from langchain_vpp.engines import Blur, Chain, Pixelate
from tests.unit.langchain_vpp.engines.made import learned, picture


class Nameless:
    """An engine of somebody else."""

    def protect(self, image, level):
        self.seen = (image.size, level)
        return image.copy()


def test_the_second_engine_sees_the_result_of_the_first_at_the_same_level():
    chained = Chain(Blur(), Pixelate()).protect(picture(), 0.6)
    assert chained.tobytes() == Pixelate().protect(Blur().protect(picture(), 0.6), 0.6).tobytes()
    assert chained.tobytes() != Blur().protect(Pixelate().protect(picture(), 0.6), 0.6).tobytes()


def test_names_and_digests_are_combined_in_order():
    blur, pixelate = Blur(), Pixelate()
    chain = Chain(blur, pixelate)
    assert chain.name == "blur+pixelate"
    assert chain.digest == hashlib.sha256(f"chain/1/{blur.digest}/{pixelate.digest}".encode()).hexdigest()
    assert chain.digest != Chain(pixelate, blur).digest
    assert Chain(chain, pixelate).name == "blur+pixelate+pixelate"


def test_an_engine_without_digest_gives_a_chain_without():
    chain = Chain(Nameless(), Blur())
    assert (chain.name, chain.digest, chain.working_resolution) == ("Nameless+blur", None, None)


def test_the_smaller_working_resolution_holds():
    assert Chain(learned(64), learned(32)).working_resolution == 32
    assert Chain(learned(32), Blur()).working_resolution == 32
    assert Chain(Blur(), Pixelate()).working_resolution is None


def test_a_protector_gives_both_engines_a_picture_of_the_working_resolution():
    other = Nameless()
    protector = ImageProtector(Chain(other, learned(32)), level=0.5)
    assert protector.protect_image(picture(120, 80)).size == (120, 80)
    assert other.seen == ((32, 24), 0.5)
