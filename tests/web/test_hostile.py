"""Whatever is sent, the endpoint answers, and gives no token for credentials that are not good."""

import base64
import binascii
import unicodedata
from urllib.parse import quote, urlencode

from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from authserver.core.rules import ALL
from tests.world import ADMIN, PASSWORD, World, basic

GOOD = basic(ADMIN, PASSWORD)


def is_good(header: str) -> bool:
    """Whether a header shows the administrator's credentials, read more kindly than it must be."""
    try:
        pair = base64.b64decode(header.partition(" ")[2].encode()).decode()
    except (binascii.Error, UnicodeError):
        return False
    return unicodedata.normalize("NFC", pair) == f"{ADMIN}:{PASSWORD}"


def pairs() -> st.SearchStrategy[bytes]:
    names = st.sampled_from([ADMIN, "Admin", "", "nobody", "<token>"]) | st.text(max_size=20)
    secrets = st.sampled_from([PASSWORD, PASSWORD + " ", "", "x" * 100]) | st.text(max_size=90)
    written = st.tuples(names, secrets).map(":".join)
    encodings = st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])
    as_bytes = st.tuples(written, encodings).map(lambda p: p[0].encode(p[1]))
    return as_bytes | st.binary(max_size=60)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """Text with one place of it replaced, removed, or doubled."""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 2)))
    return text[:start] + draw(st.text(st.characters(max_codepoint=255), max_size=2)) + text[end:]


def headers() -> st.SearchStrategy[str]:
    """Values as WSGI hands them over: bytes as Latin-1."""
    schemes = st.sampled_from(["Basic ", "basic ", "BASIC  ", "Basic", "Bearer ", "", "Basic\t"])
    encoded = pairs().map(lambda pair: base64.b64encode(pair).decode())
    joined = st.tuples(schemes, encoded | st.text("YWRtaW46=+/-_ ", max_size=20)).map("".join)
    raw = st.binary(max_size=80).map(lambda b: b.decode("latin-1"))
    return raw | joined | mutated(GOOD) | st.lists(joined, min_size=2, max_size=3).map(", ".join)


def scope_texts() -> st.SearchStrategy[str]:
    kinds = st.sampled_from(["repository", "registry", "repository(plugin)", "x", ""])
    names = st.sampled_from(["public/a", "a", "catalog", "A/b", "../x", "a" * 256])
    actions = st.lists(st.sampled_from(["pull", "push", "delete", "*", "", "fly"]), max_size=6)
    formed = st.tuples(kinds, names | st.text(max_size=20), actions.map(",".join)).map(":".join)
    return st.lists(formed | st.text(max_size=30), max_size=4).map(" ".join)


@settings(max_examples=400)
@given(header=headers())
@example(header=GOOD)
@example(header="Basic " + base64.b64encode(b"admin:\0").decode())
def test_no_header_breaks_the_endpoint_and_only_the_right_one_gets_a_token(
    shared: World, header: str
) -> None:
    with capture_logs():
        response = shared.get(environ_overrides={"HTTP_AUTHORIZATION": header})
    if response.status_code == 200:
        assert is_good(header)
    else:
        assert response.status_code == 401
        assert "eyJ" not in response.text


@settings(max_examples=300)
@given(scopes=st.lists(scope_texts(), max_size=4), known=st.booleans())
@example(scopes=["registry:catalog:*", "repository:public/a:*"], known=False)
def test_any_scope_is_answered_and_only_what_was_asked_is_granted(
    shared: World, scopes: list[str], known: bool
) -> None:
    query = urlencode([("scope", text) for text in scopes])
    with capture_logs():
        granted = shared.granted(query, auth=(ADMIN, PASSWORD) if known else None)
    asked = [text.split(":") for value in scopes for text in value.split(" ")]
    for resource, actions in granted.items():
        wanted = {
            action
            for kind, *name, last in (words for words in asked if len(words) > 2)
            if f"{kind.partition('(')[0]}:{':'.join(name)}" == resource
            for action in last.split(",")
        }
        assert set(actions) <= wanted or ALL in wanted
        assert actions
        if not known:
            assert resource.startswith("repository:public/")
            assert actions == ["pull"]


@settings(max_examples=200)
@given(query=st.binary(max_size=100).map(quote) | st.text("%&=+;seric0aF", max_size=60))
def test_no_query_breaks_the_endpoint(shared: World, query: str) -> None:
    with capture_logs():
        assert shared.get(query).status_code in (200, 400)
