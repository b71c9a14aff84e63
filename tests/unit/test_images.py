"""The pictures in the documentation: each is there, shown, and small."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
MOST_BYTES = 1_500_000


def shown() -> list[tuple[str, Path]]:
    """Return what stands in place of each picture, and its file."""
    return [
        (instead, (page.parent / name).resolve())
        for page in PAGES
        for instead, name in SHOWN.findall(page.read_text())
    ]


def test_each_picture_that_is_shown_is_there_and_the_other_way_round() -> None:
    files = {path for _, path in shown()}
    assert files == {*(ROOT / "docs" / "images").iterdir()}
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_each_picture_says_in_words_what_it_shows() -> None:
    assert [path.name for instead, path in shown() if len(instead.split()) < 3] == []


def test_each_picture_is_taken_by_make_screenshots() -> None:
    screenshots = pytest.importorskip("tests.browser.screenshots")
    taken = {f"{picture.name}.png" for picture in screenshots.PICTURES}
    assert taken == {path.name for _, path in shown()}
