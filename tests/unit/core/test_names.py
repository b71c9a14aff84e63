"""The grammars of names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core.errors import Refused
from authserver.core.names import (
    account_name,
    folded,
    is_path_component,
    is_repository_name,
    printable,
    service_name,
)
from tests.unit.strategies import repository_names


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0",
        "team/a",
        "a/b/c/d",
        "foo.bar",
        "foo_bar",
        "foo__bar",
        "foo-bar",
        "foo---bar",
        "a.b_c__d-e/f",
        "localhost:5000/bar",
        "localhost/bar",
        "FOO.com:80/bar",
        "FOO.com/bar",
        "Org/app",
        "h:5000/x",
        "1.2.3.4:5000/x/y",
        "a-b.c-d/x",
        "a" * 255,
        "a/" * 127 + "a",
    ],
)
def test_a_valid_repository_name_is_accepted(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "../x",
        "a/../b",
        "./a",
        "a..b",
        "a._b",
        "a-_b",
        "foo___bar",
        ".a",
        "a.",
        "_a",
        "a_",
        "-a",
        "a-",
        "Foo",
        "Org/App",
        "a/App",
        "a/b/C",
        "a:5000",
        "h:/x",
        "h:port/x",
        "h:1:2/x",
        "a/h:5000/x",
        "a b",
        "a\n",
        "a\n/b",
        "a/b\n",
        "å",
        "a/b@sha256",
        "*",
        "a/*",
        "catalog%2fa",
        "a" * 256,
        "a/" * 127 + "aa",
        "٣",
    ],
)
def test_a_name_that_the_reference_grammar_refuses_is_refused(name: str) -> None:
    assert not is_repository_name(name)


@given(repository_names())
def test_what_the_grammar_makes_is_accepted(name: str) -> None:
    assert is_repository_name(name)


@pytest.mark.parametrize("name", ["a-" * 127 + "A", "a." * 127 + ":", "a" * 254 + "/"])
def test_a_hostile_name_is_refused_in_the_end(name: str) -> None:
    assert not is_repository_name(name)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("alice", True),
        ("a.b", True),
        ("a__b-c", True),
        ("alice@x", False),
        ("müller", False),
        ("Alice", False),
        ("a/b", False),
        ("a..b", False),
        ("h:5000", False),
        ("", False),
        ("**", False),
    ],
)
def test_a_path_component_is_one_lower_case_segment(text: str, valid: bool) -> None:
    assert is_path_component(text) is valid


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "Alice",
        "alice@example.com",
        "müller",
        "山田",
        "o'brien",
        "a.b_c-d+e",
        "-x",
        "anonymous2",
        "user",
        "x" * 128,
        "ü" * 128,
    ],
)
def test_an_account_name_is_kept_as_it_is(name: str) -> None:
    assert account_name(name) == name


def test_an_account_name_is_kept_in_nfc() -> None:
    assert account_name("mu\u0308ller") == "müller"


def test_the_length_of_an_account_name_is_that_of_its_nfc() -> None:
    assert account_name("u\u0308" * 128) == "ü" * 128


FORBIDDEN = {
    "the marks of subjects, scopes and patterns": "/:,*{}<>",
    "white space": " \t\n\r\v\f\u00a0\u2003\u2028\u3000",
    "control characters": "\0\x1b\x7f\x85",
    "what cannot be seen": "\u200b\u200d\u2060\ufeff\u00ad\u202e",
    "what is no character": "\ud800\ue000\uffff",
}


@pytest.mark.parametrize("char", [c for chars in FORBIDDEN.values() for c in chars])
@pytest.mark.parametrize("place", ["{}a", "a{}", "a{}b", "{}"])
def test_a_forbidden_character_is_refused_and_named(char: str, place: str) -> None:
    with pytest.raises(Refused, match="not allowed in names") as refused:
        account_name(place.replace("{}", char))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["", "x" * 129, "ü" * 129])
def test_an_account_name_has_1_to_128_characters(name: str) -> None:
    with pytest.raises(Refused, match="1 to 128 characters"):
        account_name(name)


@pytest.mark.parametrize(
    "word", ["anonymous", "authenticated", "everyone", "Everyone", "ANONYMOUS"]
)
def test_a_subject_word_is_no_account_name(word: str) -> None:
    with pytest.raises(Refused, match="choose another"):
        account_name(word)


@given(st.text())
def test_an_account_name_stays_what_it_is(text: str) -> None:
    try:
        name = account_name(text)
    except Refused:
        return
    assert account_name(name) == name == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("straße", "STRASSE"),
        ("müller", "MÜLLER"),
        ("ς", "Σ"),
        ("ΐ", "\u03b9\u0308\u0301"),
        ("ﬁ", "FI"),
        ("mu\u0308ller", "müller"),
    ],
)
def test_names_that_differ_in_case_fold_to_the_same(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(("one", "other"), [("alice", "alicé"), ("o", "0"), ("a.b", "a-b")])
def test_other_names_do_not_fold_to_the_same(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize(
    "text",
    ["a", "registry", "registry.example.com:5000", "Docker registry", "it's", "!", "x" * 255],
)
def test_a_service_is_printable_ascii(text: str) -> None:
    assert service_name(text) == text


@pytest.mark.parametrize(
    "text",
    ["", " ", " a", "a ", 'a"b', "a\\b", "é", "a\n", "a\nb", "a\tb", "\0", "a\x7f", "x" * 256],
)
def test_what_a_challenge_would_have_to_escape_is_no_service(text: str) -> None:
    with pytest.raises(Refused, match="cannot be a registry's service") as refused:
        service_name(text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("hostile", "safe"),
    [
        ("plain text", "plain text"),
        ("müller 山田", "müller 山田"),
        ("a\nb", r"a\nb"),
        ("a\r\nlevel=error", r"a\r\nlevel=error"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\0", r"\x00"),
        ("\u2028", r"\u2028"),
        ("\u202eabc", r"\u202eabc"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\x9b", r"\x9b"),
    ],
)
def test_hostile_characters_are_escaped(hostile: str, safe: str) -> None:
    assert printable(hostile) == safe


@given(st.text(st.characters()))
def test_nothing_that_is_printable_holds_a_control_character(text: str) -> None:
    assert printable(text).isprintable()


def test_what_is_too_long_for_a_line_is_cut_and_says_so() -> None:
    assert printable("x" * 10, 10) == "x" * 10
    cut = printable("x" * 12, 10)
    assert cut.endswith("x…")
    assert len(cut) <= 11
