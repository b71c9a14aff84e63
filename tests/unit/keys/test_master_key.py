"""The master key and what is sealed under it."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authserver.core.errors import NotReady, Refused
from authserver.keys.master_key import MasterKey, make_master_key, read_master_key

KEY, OTHER = MasterKey(b"k" * 32), MasterKey(b"o" * 32)
PLAIN = b"a private key"


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens(plain: bytes, name: str) -> None:
    assert KEY.open(KEY.seal(plain, name), name) == plain


def test_what_is_sealed_twice_looks_different() -> None:
    one, other = KEY.seal(PLAIN, "x"), KEY.seal(PLAIN, "x")
    assert one[:12] != other[:12]
    assert one[12:] != other[12:]
    assert PLAIN not in one


def test_another_master_key_does_not_open_it() -> None:
    with pytest.raises(NotReady, match="private key of x does not open with this master key"):
        OTHER.open(KEY.seal(PLAIN, "x"), "x")


def test_under_another_name_it_does_not_open() -> None:
    with pytest.raises(NotReady, match="does not open"):
        KEY.open(KEY.seal(PLAIN, "signing key 1"), "signing key 2")


@pytest.mark.parametrize("at", range(12 + len(PLAIN) + 16))
def test_a_changed_byte_is_noticed(at: int) -> None:
    sealed = bytearray(KEY.seal(PLAIN, "x"))
    sealed[at] ^= 1
    with pytest.raises(NotReady, match="does not open"):
        KEY.open(bytes(sealed), "x")


@pytest.mark.parametrize("left", [12, 20, 12 + len(PLAIN) + 15])
def test_a_cut_off_end_is_noticed(left: int) -> None:
    with pytest.raises(NotReady, match="does not open"):
        KEY.open(KEY.seal(PLAIN, "x")[:left], "x")


def test_the_id_tells_keys_apart_and_is_not_the_key() -> None:
    assert KEY.id != OTHER.id
    assert MasterKey(b"k" * 32).id == KEY.id
    assert KEY.id not in (KEY.secret.hex(), KEY.secret.decode())


def test_derived_keys_differ_by_purpose_and_master_key() -> None:
    derived = {key.derive(purpose) for key in (KEY, OTHER) for purpose in ("a", "b")}
    assert len(derived) == 4
    assert KEY.derive("a") == KEY.derive("a")
    assert KEY.secret not in derived


def test_the_secret_is_not_shown() -> None:
    assert "kkk" not in repr(KEY)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_master_key_file_is_for_its_owner_only(tmp_path: Path, open_umask: None) -> None:
    path = tmp_path / "master.key"
    made = make_master_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_master_key(path) == made
    assert len(base64.b64decode(path.read_bytes(), validate=False)) == 32
    assert list(tmp_path.iterdir()) == [path]


def test_every_master_key_is_another(tmp_path: Path) -> None:
    assert make_master_key(tmp_path / "a") != make_master_key(tmp_path / "b")


def test_a_master_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    made = make_master_key(path)
    with pytest.raises(Refused, match="cannot be made"):
        make_master_key(path)
    assert read_master_key(path) == made
    assert list(tmp_path.iterdir()) == [path]


def test_a_master_key_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be made"):
        make_master_key(tmp_path / "missing" / "master.key")


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o644, 0o666])
def test_a_master_key_file_that_is_open_to_everyone_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_master_key(path)
    path.chmod(mode)
    with pytest.raises(NotReady, match="open to everyone: chmod 600"):
        read_master_key(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_master_key_file_for_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    made = make_master_key(path)
    path.chmod(mode)
    assert read_master_key(path) == made


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"short",
        b"\xff\xfe\x00",
        base64.b64encode(b"k" * 31),
        base64.b64encode(b"k" * 33),
        base64.b64encode(b"k" * 32) + b"!",
        base64.b64encode(b"k" * 32)[:-1],
        b"k" * 32,
        b"-----BEGIN PRIVATE KEY-----\n",
    ],
)
def test_a_file_that_holds_no_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(NotReady, match="holds no master key"):
        read_master_key(path)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_end_of_the_line_is_no_part_of_the_key(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(base64.b64encode(KEY.secret) + ending)
    path.chmod(0o600)
    assert read_master_key(path) == KEY


def test_a_missing_master_key_file_is_named_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with pytest.raises(NotReady, match="AUTHSERVER_MASTER_KEY_FILE") as refused:
        read_master_key(path)
    assert str(path) in str(refused.value)
    assert not path.exists()


def test_a_master_key_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="cannot be read"):
        read_master_key(tmp_path)


@pytest.mark.parametrize("sealed", [b"", b"short"])
def test_what_is_too_short_to_be_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(NotReady):
        MasterKey(bytes(32)).open(sealed, "key")
