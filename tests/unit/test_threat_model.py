"""The threat model names tests that exist, and at least one for each attack."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "threat-model.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
_, *ATTACKS = re.split(
    r"^### ", PAGE.partition("\n## Attacks\n")[2].partition("\n## ")[0], flags=re.MULTILINE
)


@cache
def names_in(path: str) -> set[str]:
    module = ast.parse((TESTS / path).read_text())
    return {node.name for node in module.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    assert name in names_in(path)


@pytest.mark.parametrize("attack", ATTACKS, ids=[text.partition("\n")[0] for text in ATTACKS])
def test_each_attack_says_what_answers_it_and_names_a_test(attack: str) -> None:
    assert re.search(r"^- Here: ", attack, re.MULTILINE)
    assert re.search(r"^- Tests: `[\w/]+\.py::\w+`", attack, re.MULTILINE)


def test_nothing_else_looks_like_the_name_of_a_test() -> None:
    assert PAGE.count("::") == len(NAMED)
    assert PAGE.count("test_") == sum(f"{path}::{name}".count("test_") for path, name in NAMED)
