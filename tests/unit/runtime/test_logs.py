"""The log's lines: nobody waits for whoever reads them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from authserver.runtime.logs import LogLines


@pytest.fixture
def pipe() -> Iterator[tuple[IO[bytes], int]]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with os.fdopen(read, "rb", buffering=0) as reader:
        yield reader, write
    os.close(write)


def test_a_line_is_written_whole_however_long(pipe: tuple[IO[bytes], int]) -> None:
    reader, descriptor = pipe
    text = "ü" * 20_000 + "\udcff\n"
    LogLines(descriptor).write(text)
    assert reader.read(100_000) == "ü".encode() * 20_000 + b"\\udcff\n"


def test_what_nobody_reads_is_lost_and_counted(pipe: tuple[IO[bytes], int]) -> None:
    reader, descriptor = pipe
    lines = LogLines(descriptor)
    for number in range(3000):
        lines.write(f"{number:099}\n")
    written = (reader.read(1_000_000) or b"").splitlines()
    assert 0 < len(written) < 3000
    assert lines.lost == 3000 - len(written)
    assert lines.tell_lost(None, "info", {}) == {"lines_lost": lines.lost}
    lines.write("again\n")
    assert reader.read(1000) == b"again\n"
    assert lines.tell_lost(None, "info", {}) == {}


def test_a_reader_that_has_gone_is_no_error(pipe: tuple[IO[bytes], int]) -> None:
    reader, descriptor = pipe
    reader.close()
    lines = LogLines(descriptor)
    lines.write("a line\n")
    assert lines.lost == 1


SAYING = """
import sys
import structlog
from authserver.runtime import logs
logs.configure(sys.argv[1])
structlog.get_logger().info("give one with `passwd admin`", admin="admin", port=5, of=50, by="one")
"""


def said(form: str) -> str:
    command = [sys.executable, "-c", SAYING, form]
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def test_on_a_console_a_sentence_is_not_said_twice() -> None:
    assert said("console").strip().endswith("`passwd admin` by='one' of=50 port=5")


def test_a_program_gets_every_field() -> None:
    fields = json.loads(said("json"))
    assert (fields["admin"], fields["port"], fields["of"]) == ("admin", 5, 50)
