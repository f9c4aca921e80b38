"""Keepers of vaults: in memory within bounds, or encrypted in a store."""

from __future__ import annotations

import gc
import pickle
import sys

import pytest
from langchain_core.stores import InMemoryByteStore, InMemoryStore

from langchain_vpp.errors import MissingExtraError, ProtectionError
from langchain_vpp.guard.vault import MemoryVaults, StoredVaults

fernet = pytest.importorskip("cryptography.fernet")
SECRET = "Ada Lovelace"


def graph_store():
    memory = pytest.importorskip("langgraph.store.memory")
    return memory.InMemoryStore()


@pytest.fixture
def key():
    return fernet.Fernet.generate_key()


def test_a_vault_is_the_same_for_all_who_use_a_conversation():
    vaults = MemoryVaults()
    assert vaults.load("a") is vaults.load("a") is not vaults.load("b")


def test_a_conversation_whose_vault_was_dropped_is_refused():
    vaults = MemoryVaults(most=2)
    vaults.load("a").token("NAME", SECRET)
    vaults.load("b")
    vaults.load("c")
    with pytest.raises(ProtectionError, match="was dropped"):
        vaults.load("a")
    vaults.load("d")
    vaults.load("b").token("NAME", "Bo")  # which was empty


@pytest.mark.slow(seconds=1)
def test_a_vault_that_is_dropped_while_it_is_used_is_kept_again():
    vaults = MemoryVaults(most=1)
    used = vaults.load("a")
    vaults.load("b")
    used.token("NAME", SECRET)
    assert vaults.load("a") is used
    vaults.load("b")
    vaults.save("a", used)
    del used
    gc.collect()
    assert not vaults.load("a").is_empty


@pytest.mark.parametrize("store", [InMemoryByteStore, InMemoryStore, graph_store])
def test_a_conversation_goes_on_in_another_process(store, key):
    kept = store()
    first = StoredVaults(kept, key)
    vault = first.load("thread/1")
    assert vault.token("NAME", SECRET) == "NAME_1"
    given = vault.restored("7 NAME_1")
    first.save("thread/1", vault)
    again = StoredVaults(kept, key).load("thread/1")
    assert again.token("NAME", SECRET.upper()) == "NAME_1"
    assert again.token("NAME", "Bo") == "NAME_2"
    assert again.hidden(given) == "7 NAME_1"
    assert StoredVaults(kept, key).load("thread/2").is_empty


@pytest.mark.parametrize("store", [InMemoryByteStore, graph_store])
def test_the_store_holds_neither_values_nor_names_of_conversations(store, key):
    kept = store()
    vaults = StoredVaults(kept, key)
    vault = vaults.load("thread/ada@example.org")
    vault.token("NAME", SECRET)
    vaults.save("thread/ada@example.org", vault)
    held = str(kept.search(("vpp",))) if hasattr(kept, "search") else str(kept.store)
    assert len(held) > 200
    assert not any(each in held for each in ("Lovelace", "ada@example", "NAME_1"))


def test_a_vault_is_written_only_when_it_has_changed(key):
    class Counting(InMemoryByteStore):
        written = 0

        def mset(self, pairs):
            self.written += 1
            super().mset(pairs)

    kept = Counting()
    vaults = StoredVaults(kept, key)
    vault = vaults.load("1")
    vaults.save("1", vault)
    vault.token("NAME", SECRET)
    assert vaults.load("1") is vault  # by another call, before the change is saved
    vaults.save("1", vault)
    vaults.save("1", vault)
    assert kept.written == 1
    other = StoredVaults(kept, key)
    again = other.load("1")
    other.save("1", again)
    assert kept.written == 1


def test_a_key_can_be_replaced(key):
    kept, new = InMemoryByteStore(), fernet.Fernet.generate_key()
    vaults = StoredVaults(kept, key)
    vault = vaults.load("1")
    vault.token("NAME", SECRET)
    vaults.save("1", vault)
    both = StoredVaults(kept, [new, key])
    again = both.load("1")
    again.token("NAME", "Bo")
    both.save("1", again)
    assert StoredVaults(kept, new).load("1").token("NAME", SECRET) == "NAME_1"


def test_what_can_not_be_decrypted_or_stands_at_the_place_of_another_is_refused(key):
    kept = InMemoryByteStore()
    vaults = StoredVaults(kept, key)
    for name in ("1", "2"):
        vault = vaults.load(name)
        vault.token("NAME", SECRET + name)
        vaults.save(name, vault)
    with pytest.raises(ProtectionError, match="can't be decrypted") as refusal:
        StoredVaults(kept, fernet.Fernet.generate_key()).load("1")
    assert refusal.value.__cause__ is refusal.value.__context__ is None
    one, other = kept.store
    kept.mset([(one, kept.mget([other])[0])])
    with pytest.raises(ProtectionError, match="altered"):
        StoredVaults(kept, key).load("1")
    kept.mset([(one, b"nothing")])
    with pytest.raises(ProtectionError, match="altered"):
        StoredVaults(kept, key).load("1")


def test_an_item_of_a_store_that_is_no_vault_is_refused(key):
    kept = graph_store()
    vaults = StoredVaults(kept, key)
    vault = vaults.load("1")
    vault.token("NAME", SECRET)
    vaults.save("1", vault)
    (item,) = kept.search(("vpp",))
    kept.put(item.namespace, item.key, {"other": 1})
    with pytest.raises(ProtectionError, match="altered"):
        StoredVaults(kept, key).load("1")


def test_two_processes_that_contradict_each_other_are_refused(key):
    kept = InMemoryByteStore()
    one, other = StoredVaults(kept, key), StoredVaults(kept, key)
    first, second = one.load("1"), other.load("1")
    first.token("NAME", "Ada")
    one.save("1", first)
    second.token("NAME", "Bo")
    with pytest.raises(ProtectionError, match="another process"):
        other.save("1", second)


def test_a_store_that_fails_is_an_error_without_content(key):
    class Broken(InMemoryByteStore):
        def mget(self, keys):
            raise RuntimeError(SECRET)

    with pytest.raises(ProtectionError, match="vault store failed") as refusal:
        StoredVaults(Broken(), key).load("1")
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is refusal.value.__context__ is None


@pytest.mark.slow(seconds=1)
def test_nobody_keeps_a_vault_that_nobody_uses(key):
    vaults = StoredVaults(InMemoryByteStore(), key)
    vaults.load("1").token("NAME", SECRET)
    gc.collect()
    assert vaults.load("1").is_empty


@pytest.mark.parametrize(
    "make", [MemoryVaults, lambda: StoredVaults(InMemoryByteStore(), fernet.Fernet.generate_key())]
)
def test_keepers_show_and_pickle_nothing(make):
    vaults = make()
    vault = vaults.load("ada@example.org")
    vault.token("NAME", SECRET)
    assert "Ada" not in repr(vaults)
    assert "ada@" not in repr(vaults)
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(vaults)


def test_bad_options_are_refused(key, monkeypatch):
    with pytest.raises(ValueError, match="positive"):
        MemoryVaults(most=0)
    with pytest.raises(ValueError, match="key of Fernet") as refusal:
        StoredVaults(InMemoryByteStore(), "a secret key")
    assert "a secret key" not in str(refusal.value)
    with pytest.raises(TypeError, match="BaseStore"):
        StoredVaults(object(), key)
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(MissingExtraError, match=r"langchain-vpp\[vault\]"):
        StoredVaults(InMemoryByteStore(), key)
