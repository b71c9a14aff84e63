"""htpasswd files."""

import bcrypt
import pytest

from authserver.core.errors import Refused
from authserver.importers.htpasswd import HtpasswdEntry, UnusableLine, imported_hash, parse

BCRYPT = "$2y$05$nZ9UGownXcGDnHew4iQX7uYyK8eAtcckTpBPVODi0lB9Ol8plzIHm"

GOOD = f"good:{BCRYPT}"
FILE = "users.htpasswd"


def one(line: bytes) -> HtpasswdEntry | UnusableLine:
    (item,) = parse(line, FILE)
    return item


@pytest.mark.parametrize("prefix", ["$2y$", "$2a$", "$2b$", "$2x$", "$2$"])
@pytest.mark.parametrize("after", ["", " # works at night", ":extra", "/more", "\t"])
def test_bcrypt_is_taken_as_go_reads_it(prefix: str, after: str) -> None:
    stored = prefix + BCRYPT[4:]
    assert one(f"alice:{stored}{after}\n".encode()) == HtpasswdEntry(1, "alice", BCRYPT)


@pytest.mark.parametrize("last", "./AOPQeuvwx9")
def test_a_salt_that_only_go_takes_is_the_same_salt(last: str) -> None:
    stored = imported_hash(f"{BCRYPT[:28]}{last}{BCRYPT[29:]}")
    # Our bcrypt refuses a salt whose unused bits are not zero.
    assert not bcrypt.checkpw(b"wrong", stored.encode())


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
        (BCRYPT[:-1], "a damaged bcrypt hash"),
        (BCRYPT.replace("$05$", "$03$"), "a bcrypt cost of 3 is under 4"),
        (BCRYPT.replace("$05$", "$17$"), "cost of 17 is over 16"),
        ("", "no hash of a known form"),
    ],
)
def test_other_hashes_are_named_and_never_repeated(stored: str, reason: str) -> None:
    _, item = parse(f"{GOOD}\nalice:{stored}".encode(), FILE)
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
    _, item = parse(f"{GOOD}\n# a comment\n\n".encode() + line, FILE)
    assert isinstance(item, UnusableLine)
    assert item.line == 4
    assert reason in item.reason


def test_a_line_without_a_colon_is_not_repeated() -> None:
    _, item = parse(f"{GOOD}\nhunter2".encode(), FILE)
    assert "hunter2" not in repr(item)


def test_of_two_lines_for_one_name_the_later_counts() -> None:
    other = BCRYPT[:-1] + "n"
    first, second = parse(f"alice:{BCRYPT}\nalice:{other}\n".encode(), FILE)
    assert isinstance(first, UnusableLine)
    assert second == HtpasswdEntry(2, "alice", other)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    first, second = parse(f"\ufeffalice:{BCRYPT}\r\nbob:{BCRYPT}\r\n".encode(), FILE)
    assert [first.name, second.name] == ["alice", "bob"]
    assert isinstance(first, HtpasswdEntry)
    assert isinstance(second, HtpasswdEntry)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"alice:{BCRYPT}".encode("utf-16"), "UTF-16"),
        (f"alice:{BCRYPT}".encode("utf-16-le"), "UTF-16"),
        (b"MAILTO=ops\n0 5 * * 1 tar -zcf /var/backups/home.tgz /home\n", "no line has the form"),
        (b"root:x:0:0:root:/root:/bin/bash\nbin:*:1:1::/:\n", "no line has the form"),
        (b"auth:\n  htpasswd:\n    path: /etc/htpasswd\n", "no line has the form"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n", "no line has the form"),
    ],
)
def test_a_file_that_is_something_else_is_named_once(content: bytes, problem: str) -> None:
    with pytest.raises(Refused, match=f"^{FILE}: .*{problem}"):
        list(parse(content, FILE))


@pytest.mark.parametrize("content", [b"", b"# only a comment\n"])
def test_an_empty_file_has_no_lines(content: bytes) -> None:
    assert list(parse(content, FILE)) == []
