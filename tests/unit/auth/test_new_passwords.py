"""New passwords: the minimum length, common ones, the account's own name."""

import subprocess
import sys

import bcrypt
import pytest
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from authserver.auth.common_passwords import is_common
from authserver.auth.passwords import NewPasswords
from authserver.core.errors import Refused
from authserver.core.password_rules import MIN_LENGTH


def hash_new(text: str, name: str = "alice", minimum: int = MIN_LENGTH) -> str:
    return NewPasswords(minimum, 4).hash(text, name)


@pytest.mark.parametrize("text", ["xy" * 4, " " * MIN_LENGTH, "😀" * MIN_LENGTH])
def test_a_new_password_has_8_characters_or_more(text: str) -> None:
    assert bcrypt.checkpw(text.encode(), hash_new(text).encode())


@pytest.mark.parametrize("text", ["of 15 characters", "e\u0301" * 16])
def test_the_minimum_is_configured(text: str) -> None:
    assert hash_new(text, minimum=16)
    with pytest.raises(Refused, match=r"16 characters is too short: .* at least 17 characters"):
        hash_new(text, minimum=17)


# The first of the list, one that is common in another case, and the last one.
@pytest.mark.parametrize("text", ["password", "12345678", "PassWord", "TrustNo1", "lizaveta"])
def test_a_common_password_is_refused_in_any_case(text: str) -> None:
    with pytest.raises(Refused, match=r"one of the most common.* at least 8 characters"):
        hash_new(text)


def test_the_first_10000_of_the_list_are_refused_and_no_more() -> None:
    listed = FREQUENCY_LISTS["passwords"]
    assert all(map(is_common, listed[:10_000]))
    assert not any(map(is_common, listed[10_000:]))


def test_the_list_is_read_only_for_a_new_password() -> None:
    code = """
import sys
import authserver.cli.user, authserver.cli.init, authserver.web.app, authserver.web.api.router
assert not any(name.startswith("zxcvbn") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("margarethe", "margarethe"),
        ("margarethe", "MargaRethe"),
        ("margarethe", "margarethe1"),
        ("margarethe", "Margarethe2026"),
        ("margarethe", "ehteragram"),
        ("margarethe", "Ehteragram99"),
        ("bob", "bob73920"),
        ("bob47110", "bob47110"),
        ("bob47110", "bob4711007"),
        ("müller-straße", "MU\u0308LLER-STRASSE"),
        ("müller-straße", "essarts-rellüm"),
    ],
)
def test_the_accounts_own_name_is_no_password(name: str, text: str) -> None:
    with pytest.raises(Refused, match="must not be the account's name") as refused:
        hash_new(text, name)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("margarethe", "margarethe!"),
        ("margarethe", "margaretheandco"),
        ("margarethe", "7margarethe"),
        ("margarethe", "margareth"),
        ("a", "aaaabbbbcccc"),
        ("bob", "73920518"),
    ],
)
def test_what_only_contains_the_name_is_a_password(name: str, text: str) -> None:
    assert hash_new(text, name)


@pytest.mark.parametrize("text", ["correcthorse", "        ", "7392051846", "ÄÖÜÄÖÜÄÖ"])
def test_no_kinds_of_characters_are_asked_for(text: str) -> None:
    assert hash_new(text)


# Eight characters and more before they are composed, and four.
@pytest.mark.parametrize("text", ["x", "x" * 7, "😀" * 4, "e\u0301" * 7])
def test_a_shorter_new_password_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(Refused, match="at least 8 characters") as refused:
        hash_new(text)
    assert text not in str(refused.value).replace("72 bytes", "")


@pytest.mark.parametrize("text", ["", "x" * 73, "1234567\0", "authserver_app_x"])
def test_what_cannot_be_hashed_is_no_new_password(text: str) -> None:
    with pytest.raises(Refused):
        hash_new(text)
