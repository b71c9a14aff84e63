"""How the code is written: rooms, names, sizes and words, counted over the whole tree."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "authserver"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {
    "audit",
    "auth",
    "cli",
    "core",
    "db",
    "importers",
    "keys",
    "policy",
    "registry",
    "runtime",
    "web",
}
MAX_LINES = 400
MAX_GERUNDS = 5
# Nouns of the field, though they end like gerunds.
NOUNS = {"keyring", "pricing", "string"}
# Words that make a reader who is not at home in English read a sentence twice.
WORDS = re.compile(
    r"\b(whoever|whom|is none|are none|speaks of|is told of|he|him|his)\b", re.IGNORECASE
)
CODE = re.compile(r"\bis None\b|\bare None\b")
MAX_WORDS = 20


def test_only_rooms_stand_at_the_top() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert entries == ROOMS | {"__init__.py", "__main__.py", "py.typed"}


def test_no_class_name_is_defined_twice() -> None:
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_modules_are_nouns() -> None:
    gerunds = [path for path in MODULES if path.stem.endswith("ing") and path.stem not in NOUNS]
    assert len(gerunds) <= MAX_GERUNDS, gerunds


def test_no_module_is_long() -> None:
    lines = {str(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def hard_words() -> Iterator[str]:
    texts = [*MODULES, *(ROOT / "docs").iterdir(), ROOT / "README.md"]
    for path in texts:
        if path.is_file():
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if WORDS.search(CODE.sub("", line)):
                    yield f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_hard_words_are_rare() -> None:
    lines = [*hard_words()]
    assert len(lines) <= MAX_WORDS, "\n".join(lines)
