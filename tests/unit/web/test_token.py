"""Parameters of token requests: as the standard library and Werkzeug read them."""

from urllib.parse import parse_qs, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from authserver.web.token import parameters_of

PIECES = st.sampled_from(
    [b"scope", b"=", b"&", b"+", b"%", b"%3A", b"%2f", b"%zz", b"%ff", b";", b" ", b"\xff", b"\0"]
)
TEXTS = st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=30).map(b"".join)


@given(TEXTS)
@example(b"a&=&&b=&c==d&a=%C3%BC+x")
def test_they_are_read_as_the_standard_library_does(text: bytes) -> None:
    decoded = text.decode(errors="werkzeug.url_quote")
    expected = parse_qs(decoded, keep_blank_values=True, errors="werkzeug.url_quote")
    assert parameters_of(text) == expected


@given(st.lists(st.tuples(st.text(), st.text())))
def test_what_a_client_writes_is_what_is_read(pairs: list[tuple[str, str]]) -> None:
    assert parameters_of(urlencode(pairs).encode()) == dict(MultiDict(pairs).lists())
