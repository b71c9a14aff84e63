"""The secrets that stand for accounts."""

import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core import secret_tokens
from authserver.core.secret_tokens import Prefix

KNOWN = "authserver_app_" + "0" * 43 + "1zHJvx"


@pytest.mark.parametrize("prefix", Prefix)
def test_a_secret_is_recognised_by_its_form(prefix: Prefix) -> None:
    secret = secret_tokens.make(prefix, secrets.token_bytes)
    assert re.fullmatch(rf"{prefix}[0-9A-Za-z]{{49}}", secret)
    assert secret_tokens.is_well_formed(secret)
    assert [p for p in Prefix if secret.startswith(p)] == [prefix]


def test_no_prefix_begins_another() -> None:
    assert not any(a.startswith(b) for a in Prefix for b in Prefix if a != b)


@given(st.binary(min_size=32, max_size=32))
def test_every_bit_of_randomness_is_in_the_secret(random: bytes) -> None:
    secret = secret_tokens.make(Prefix.APP, lambda size: random[:size])
    body = secret.removeprefix(Prefix.APP)[:43]
    number = 0
    for char in body:
        number = number * 62 + secret_tokens._ALPHABET.index(char)
    assert number.to_bytes(32, "big") == random


@given(st.data())
def test_any_single_changed_character_is_a_typo(data: st.DataObject) -> None:
    secret = secret_tokens.make(Prefix.REFRESH, secrets.token_bytes)
    place = data.draw(st.integers(len(Prefix.REFRESH), len(secret) - 1))
    other = data.draw(st.sampled_from([c for c in secret_tokens._ALPHABET if c != secret[place]]))
    assert not secret_tokens.is_well_formed(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize("text", ["", "authserver_app_", "secret", KNOWN[:-1], f"{KNOWN}0", " "])
def test_other_text_is_not_well_formed(text: str) -> None:
    assert not secret_tokens.is_well_formed(text)


def test_what_is_stored_does_not_show_the_secret() -> None:
    secret = secret_tokens.make(Prefix.APP, secrets.token_bytes)
    assert re.fullmatch(r"[0-9a-f]{64}", secret_tokens.digest(secret))
    assert secret_tokens.digest(secret) == secret_tokens.digest(secret)


def test_the_random_source_is_asked_for_256_bits() -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    secret_tokens.make(Prefix.APP, random)
    assert asked == [32]
