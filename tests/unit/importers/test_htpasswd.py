"""htpasswd files."""

import pytest

from authserver.importers.htpasswd import HtpasswdEntry, UnusableLine, parse

BCRYPT = "$2y$05$nZ9UGownXcGDnHew4iQX7uYyK8eAtcckTpBPVODi0lB9Ol8plzIHm"


def one(line: bytes) -> HtpasswdEntry | UnusableLine:
    (item,) = parse(line)
    return item


@pytest.mark.parametrize("prefix", ["$2y$", "$2a$", "$2b$"])
def test_bcrypt_is_taken(prefix: str) -> None:
    stored = prefix + BCRYPT[4:]
    assert one(f"alice:{stored}\n".encode()) == HtpasswdEntry(1, "alice", stored)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("$apr1$ycU9Mrrc$RBzulqrlifanj1Pudyz9e/", "MD5 (apr1)"),
        ("$1$abcdefgh$G//4keteveJp0qb8z2DxG/", "MD5 (crypt)"),
        ("{SHA}GpHWL3ymc5liWkNopqtdSjuqYHM=", "SHA-1"),
        ("{SSHA}GpHWL3ymc5liWkNopqtdSjuqYHM=", "salted SHA-1"),
        ("$5$saltsalt$YvuHEXLEPUGSwIDJ4R93u", "SHA-256 (crypt)"),
        ("$6$saltsalt$YvuHEXLEPUGSwIDJ4R93u", "SHA-512 (crypt)"),
        ("f23kLbLhY/YaI", "crypt (DES)"),
        ("a plain password", "no hash of a known form"),
        (BCRYPT[:-1], "no hash of a known form"),
        (BCRYPT.replace("$05$", "$03$"), "no hash of a known form"),
        (BCRYPT.replace("$05$", "$17$"), "cost of 17 is over 16"),
        ("", "no hash of a known form"),
    ],
)
def test_other_hashes_are_named_and_never_repeated(stored: str, reason: str) -> None:
    item = one(f"alice:{stored}".encode())
    assert isinstance(item, UnusableLine)
    assert reason in item.reason
    assert not stored or stored not in item.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"no colon here", "no colon"),
        (b":" + BCRYPT.encode(), "1 to 128 characters"),
        (b"a b:" + BCRYPT.encode(), "white space"),
        (b"anonymous:" + BCRYPT.encode(), "the rules' own"),
        (b"m\xfcller:" + BCRYPT.encode(), "not UTF-8"),
    ],
)
def test_bad_lines_are_named(line: bytes, reason: str) -> None:
    item = one(b"# a comment\n\n" + line)
    assert isinstance(item, UnusableLine)
    assert item.line == 3
    assert reason in item.reason


def test_a_line_without_a_colon_is_not_repeated() -> None:
    item = one(b"hunter2")
    assert "hunter2" not in repr(item)


def test_of_two_lines_for_one_name_the_later_counts() -> None:
    other = BCRYPT[:-1] + "n"
    first, second = parse(f"alice:{BCRYPT}\nalice:{other}\n".encode())
    assert isinstance(first, UnusableLine)
    assert second == HtpasswdEntry(2, "alice", other)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    first, second = parse(f"\ufeffalice:{BCRYPT}\r\nbob:{BCRYPT}\r\n".encode())
    assert [first.name, second.name] == ["alice", "bob"]
    assert isinstance(first, HtpasswdEntry)
    assert isinstance(second, HtpasswdEntry)


def test_what_follows_the_hash_is_ignored() -> None:
    assert one(f"alice:{BCRYPT}:extra".encode()) == HtpasswdEntry(1, "alice", BCRYPT)
