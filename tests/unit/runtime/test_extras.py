"""How an extra is installed."""

import re
from pathlib import Path

import pytest

from authserver.runtime import extras

ROOT = Path(__file__).parents[3]
FROM_AN_INDEX = re.compile(r"pip install[^`\n]* '?authserver(\[|'|$|=|>)", re.MULTILINE)


@pytest.mark.parametrize("extra", ["postgresql", "redis", "valkey"])
def test_the_command_names_no_package_of_an_index(extra: str) -> None:
    text = extras.how_to_install(extra)
    assert f"-m pip install '.[{extra}]'" in text
    assert "'./authserver-" in text
    assert not FROM_AN_INDEX.search(text)


NO_TEXTS = (".pyc", ".mo", ".png")


def test_no_text_names_a_package_of_an_index() -> None:
    """Until there is a release anybody may take the name."""
    files = [ROOT / "README.md"]
    for folder in ("authserver", "docs", "deploy"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix not in NO_TEXTS]
    texts = {path: path.read_text() for path in files if path.is_file()}
    assert [path for path, text in texts.items() if FROM_AN_INDEX.search(text)] == []
    assert FROM_AN_INDEX.search("pip install 'authserver[redis]'")
