"""The manual pages, made from --help when a wheel is built."""

import shutil
import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from authserver.cli import cli
from authserver.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def hook() -> Any:
    spec = spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(hook: Any) -> dict[str, str]:
    return dict(hook.pages(cli, "1.2.3"))


def test_each_command_has_a_page(pages: dict[str, str]) -> None:
    assert {f"authserver-{words.replace(' ', '-')}" for words in EXAMPLES} <= pages.keys()
    assert "authserver-acl" in pages
    assert "authserver-audit-accept" not in pages, "it is hidden"
    head, *_ = pages["authserver-user-add"].splitlines()
    assert head == '.TH AUTHSERVER-USER-ADD 1 "" "authserver 1.2.3" "authserver"'


def test_a_page_has_what_help_has(pages: dict[str, str]) -> None:
    page = pages["authserver-acl-allow"]
    assert ".SH DESCRIPTION" in page
    assert r"\-\-valid\-until TIME" in page
    assert ".SH EXAMPLES\n.nf\n  authserver acl allow group:dev 'team/**' pull,push" in page
    assert r".BR authserver\-acl (1)" in page
    assert r".B user" in pages["authserver"]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (".so /etc/passwd", r"\&.so /etc/passwd"),
        ("'quoted'", r"\&'quoted'"),
        (r"a\b-c", r"a\eb\-c"),
        ("P,…", r"P,\[u2026]"),
    ],
)
def test_text_is_no_markup(hook: Any, text: str, safe: str) -> None:
    assert hook._safe(text) == safe


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
def test_groff_finds_nothing_wrong(pages: dict[str, str]) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"],
        input="".join(pages.values()).encode(),
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""


def test_the_builder_gets_every_page_and_the_place_is_removed(
    hook: Any, pages: dict[str, str], tmp_path: Path
) -> None:
    class Metadata:
        version = "1.2.3"

    pages_of = hook.ManualPages(str(ROOT), {}, None, Metadata(), str(tmp_path), "wheel")
    data: dict[str, Any] = {"shared_data": {}}
    pages_of.initialize("editable", data)
    assert data["shared_data"] == {}
    pages_of.initialize("standard", data)
    named = data["shared_data"]
    assert sorted(named.values()) == sorted(f"share/man/man1/{name}.1" for name in pages)
    assert all(Path(path).read_text() == pages[Path(path).stem] for path in named)
    pages_of.finalize("standard", data, "")
    assert not any(map(Path.exists, map(Path, named)))
