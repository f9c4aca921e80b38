"""The vault: the same value has the same token, and nothing of it comes out by another way."""

from __future__ import annotations

import copy
import pickle

import pytest

from langchain_vpp.engines.words import vault as vaults
from langchain_vpp.engines.words.vault import Vault
from langchain_vpp.errors import ProtectionError


@pytest.fixture
def vault():
    made = Vault()
    made.token("NAME", "Ada Lovelace")
    made.token("IBAN", "DE89 3704 0044 0532 0130 00")
    made.token("NUMBER", "7")
    return made


def test_spellings_of_a_value_share_a_token_whatever_their_kind(vault):
    assert vault.token("TEXT", "ada-LOVELACE,") == "NAME_1"
    assert vault.token("NAME", "Bo") == "NAME_2"


def test_text_goes_out_with_tokens_and_comes_back_with_values(vault):
    text = "Write to Ada Lovelace about DE89370400440532013000."
    hidden = vault.hidden(text)
    assert hidden == "Write to NAME_1 about IBAN_1."
    assert vault.restored(hidden) == "Write to Ada Lovelace about DE89 3704 0044 0532 0130 00."


@pytest.mark.parametrize(
    ("read", "written"),
    [
        ("PL36 5374 0485 21601940 50901556", "PL36 5374 0485 2160 1940 5090 1556"),
        ("PL36537404852160194050901556", "PL36537404852160194050901556"),
    ],
)
def test_an_account_number_comes_back_in_its_groups(read, written):
    vault = Vault()
    assert vault.restored(vault.token("IBAN", read)) == written
    assert vault.restored(vault.token("ACCOUNT", "12 345678")) == "12 345678"


def test_tokens_in_text_that_goes_out_stay(vault):
    vault.token("TEXT", "name")
    assert vault.hidden("name_1 and NAME_1") == "name_1 and NAME_1"


def test_a_token_is_never_glued_to_what_stands_beside_it(vault):
    assert vault.hidden("xAdaLovelace2024") == "x_NAME_1_2024"


def test_a_restored_answer_goes_out_as_the_model_had_said_it(vault):
    said = "Name_1 has NUMBER_1 cats, and 7 is a number"
    given = vault.restored(said)
    assert given == "Ada Lovelace has 7 cats, and 7 is a number"
    assert vault.hidden(given) == said
    assert vault.hidden("page 7") == "page 7"


def test_a_restored_stream_is_remembered_too(vault):
    stream = vault.stream()
    given = stream.feed("NUMBER_") + stream.feed("1") + stream.flush()
    vault.remember(stream.given, stream.said)
    assert (given, vault.hidden(given)) == ("7", "NUMBER_1")


def test_a_part_of_a_name_gets_a_token_of_its_own(vault):
    assert vault.hidden("Lovelace") == "NAME_2"
    assert vault.restored("NAME_2") == "Lovelace"


def test_a_kind_is_letters_alone(vault):
    assert vault.token("my kind_2", "x1y2") == "MYKIND_1"
    assert vault.token("!", "x1y3") == "TEXT_1"


def test_a_vault_shows_copies_and_pickles_nothing(vault):
    assert repr(vault) == str(vault) == "Vault(3 values)"
    assert copy.copy(vault) is copy.deepcopy(vault) is vault
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(vault, protocol)


def test_a_full_vault_refuses(monkeypatch):
    monkeypatch.setattr(vaults, "_MOST_VALUES", 2)
    vault = Vault()
    vault.token("NAME", "Ada")
    vault.token("NAME", "Bo")
    assert vault.token("NAME", "ada") == "NAME_1"
    with pytest.raises(ProtectionError, match="hides more than") as raised:
        vault.token("NAME", "Secretperson")
    assert "Secretperson" not in str(raised.value)


def test_a_state_is_taken_up_whole_or_not_at_all(vault):
    vault.restored("NUMBER_1!")
    other = Vault()
    other.absorb(vault.state())
    other.absorb(vault.state())
    assert other.state() == vault.state()
    assert other.token("NAME", "Bo") == "NAME_2"
    vault.token("NAME", "Cy")
    with pytest.raises(ProtectionError, match="another process"):
        other.absorb(vault.state())


def test_answers_that_are_remembered_are_bounded(vault, monkeypatch):
    monkeypatch.setattr(vaults, "_MOST_ANSWERS", 3)
    for number in range(9):
        vault.restored(f"{number} NAME_1")
    assert len(vault.state()["answers"]) == 3


def test_the_version_tells_whether_anything_has_changed(vault):
    before = vault.version
    vault.token("NAME", "ada lovelace")
    vault.hidden("nothing")
    vault.restored("nothing")
    assert vault.version == before
    vault.restored("NAME_1")
    vault.restored("NAME_1")
    assert vault.version == before + 1
    vault.token("NAME", "Bo")
    assert vault.version == before + 2
