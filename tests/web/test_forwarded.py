"""The header Forwarded (RFC 7239), and what a client writes in front of what proxies write."""

import time
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authserver.runtime.settings import Settings
from authserver.web import forwarded
from authserver.web.client_address import UNKNOWN, ClientAddress
from tests.web.test_address import behind_a_proxy, recorded_address

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
CLIENT = "198.51.100.7"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("for=198.51.100.7", CLIENT),
        ("For=198.51.100.7", CLIENT),
        ("FOR=198.51.100.7;Proto=https;BY=203.0.113.43", CLIENT),
        ('proto=https;for="198.51.100.7"', CLIENT),
        ('for="198.51.100.7:4711"', CLIENT),
        ('for="198.51.100.7:_hidden"', CLIENT),
        (r'for="198.51.100\.7"', CLIENT),
        (" for=198.51.100.7 ; proto=http ;", CLIENT),
        ('for="[2001:db8::1]"', "2001:db8::1"),
        ('for="[2001:DB8::1]:4711"', "2001:db8::1"),
        ('for="[::ffff:198.51.100.7]"', CLIENT),
        ("for=203.0.113.9, for=198.51.100.7", CLIENT),
        ("for=203.0.113.9,for=198.51.100.7,for=10.0.0.2", CLIENT),
        ('for=198.51.100.7;host="a, for=203.0.113.9"', CLIENT),
        (r'for=198.51.100.7;host="a\", for=203.0.113.9;x=\""', CLIENT),
        ('for=198.51.100.7;host="\\\\"', CLIENT),
        ('for=198.51.100.7;host="";proto="a;for=203.0.113.9"', CLIENT),
        ('by=", for=198.51.100.7', CLIENT),
        ("for=unknown", UNKNOWN),
        ("for=198.51.100.7, for=unknown", UNKNOWN),
        ("for=_hidden", UNKNOWN),
        ('for="_SEVKISEK:80"', UNKNOWN),
        ('for="unknown:80"', UNKNOWN),
        ("for=198.51.100.7, for=_gazonk, for=10.0.0.2", UNKNOWN),
        ("by=198.51.100.7", UNKNOWN),
        ("for=198.51.100.7;for=203.0.113.9", UNKNOWN),
        ("for=198.51.100.7;For=198.51.100.7", UNKNOWN),
        ("for=198.51.100.7:4711", UNKNOWN),
        ("for=[2001:db8::1]", UNKNOWN),
        ('for="2001:db8::1"', UNKNOWN),
        ('for="[fe80::1%eth0]"', UNKNOWN),
        ('for="198.51.100.7:port"', UNKNOWN),
        ('for="198.51.100.7', UNKNOWN),
        ("for= 198.51.100.7", UNKNOWN),
        ("for =198.51.100.7", UNKNOWN),
        ("for=198.51.100.7;proto", UNKNOWN),
        ("for=198.51.100.7,", UNKNOWN),
        ("198.51.100.7", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_forwarded_is_read_as_rfc_7239_writes_it(header: str, expected: str) -> None:
    assert ClientAddress(TRUSTED, "forwarded").of("10.0.0.1", header) == expected


def test_no_header_takes_longer_than_its_length() -> None:
    for piece in ('"', "\\", '\\"', ",", ";", "for=", 'a="', "a=\\"):
        header = piece * (16_384 // len(piece))
        began = time.perf_counter()
        assert ClientAddress(TRUSTED, "Forwarded").of("10.0.0.1", header) == UNKNOWN
        list(forwarded.nodes(header))
        assert time.perf_counter() - began < 1, piece


def spaced(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(["", " ", "\t"]).map(lambda space: space + words)


@st.composite
def elements(draw: st.DrawFn, address: str) -> str:
    """Draw what a proxy may write of ``address``."""
    port = draw(st.sampled_from(["", ":1", ":65535", ":_p-1"]))
    quoted = bool(port) or draw(st.booleans())
    node = f'"{address}{port}"' if quoted else address
    text = st.text(st.characters(min_codepoint=32, max_codepoint=126))
    value = text.map(lambda it: '"' + it.replace("\\", "\\\\").replace('"', '\\"') + '"')
    others = st.tuples(st.sampled_from(["by", "host", "Proto", "x"]), value).map("=".join)
    pairs = [draw(st.sampled_from(["for", "For", "FOR"])) + "=" + node]
    pairs = draw(st.permutations(pairs + draw(st.lists(others, max_size=3))))
    return draw(st.sampled_from([";", " ; "])).join(pairs)


hops = st.lists(st.integers(1, 2**24 - 1).map(lambda n: str(IPv4Address((10 << 24) + n))))
clients = st.integers(1, 254).map(lambda n: f"198.51.100.{n}")
# What a client may send: of characters that are not ASCII the gateway leaves nothing.
anything = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126)),
    st.text(st.sampled_from('",;=\\ for1.9[]:')),
    st.lists(clients.flatmap(elements)).map(", ".join),
)


@given(in_front=anything, client=clients, proxies=hops, data=st.data())
@example('for="', "198.51.100.1", [], None)
@example('for=1.1.1.1;x="\\', "198.51.100.1", ["10.0.0.1"], None)
def test_what_a_client_puts_in_front_of_forwarded_changes_nothing(
    in_front: str, client: str, proxies: list[str], data: st.DataObject | None
) -> None:
    path = [client, *proxies]
    written = [data.draw(elements(it)) if data else f"for={it}" for it in path]
    header = ",".join([in_front, *written])
    address = ClientAddress(TRUSTED, "Forwarded")
    assert address.of("10.0.0.1", header) == client
    assert address.of("10.0.0.1", ", ".join(written)) == client
    assert address.of("203.0.113.1", header) == "203.0.113.1"


@given(in_front=anything, client=clients, proxies=hops)
def test_what_a_client_puts_in_front_of_x_forwarded_for_changes_nothing(
    in_front: str, client: str, proxies: list[str]
) -> None:
    header = ", ".join([in_front, client, *proxies])
    address = ClientAddress(TRUSTED, "X-Forwarded-For")
    assert address.of("10.0.0.1", header) == client
    assert address.of("203.0.113.1", header) == "203.0.113.1"


@pytest.mark.parametrize(
    ("named", "theirs"),
    [
        ("Forwarded", {"Forwarded": "for=198.51.100.7", "X-Forwarded-For": "203.0.113.9"}),
        ("forwarded", {"Forwarded": 'for="', "forwarded": "for=198.51.100.7"}),
        ("X-Forwarded-For", {"Forwarded": "for=203.0.113.9", "X-Forwarded-For": "198.51.100.7"}),
        ("X-Real-IP", {"X-Real-IP": CLIENT, "X-Forwarded-For": "x", "Forwarded": "for=9.9.9.9"}),
    ],
)
def test_of_mixed_headers_the_named_one_is_read(
    settings: Settings, named: str, theirs: dict[str, str]
) -> None:
    world = behind_a_proxy(settings, proxy_header=named)
    assert recorded_address(world, theirs) == CLIENT
    world.close()


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
def test_of_a_long_header_only_the_end_is_read(header: str) -> None:
    mine = "for=198.51.100.7" if header == "Forwarded" else "198.51.100.7"
    address = ClientAddress(TRUSTED, header)
    for written in (",", '"', "1.2.3.4,", 'for="\\",', "203.0.113.9" * 30):
        front = written * (100_000 // len(written))
        assert address.of("10.0.0.1", f"{front}, {mine}") == "198.51.100.7"
    # What is cut in the middle of an address is none.
    prefix = "for=" if header == "Forwarded" else ""
    whole = ", ".join([f"{prefix}203.0.113.45", *[f"{prefix}10.0.0.2"] * 400])
    for cut in range(20):
        assert address.of("10.0.0.1", f"{whole},{' ' * cut}{prefix}10.0.0.2") == "10.0.0.2"
