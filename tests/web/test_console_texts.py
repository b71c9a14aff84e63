"""Every text of the console is there in every language."""

import re

import pytest
from babel.messages.catalog import Message

from authserver.web.console.language import LANGUAGES
from tests.web import texts
from tests.web.visitor import Visitor
from tests.world import World

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@pytest.mark.parametrize("tag", texts.translated())
def test_no_text_is_without_a_translation(tag: str) -> None:
    catalog = texts.read(tag)
    there = {each.id for each in catalog if each.id}
    needed = {each.id for each in texts.extracted() if each.id}
    assert (needed - there, there - needed) == (set(), set()), "run `python -m tests.web.texts`"
    assert [each.id for each in texts.missing(catalog)] == []


@pytest.mark.parametrize("tag", texts.translated())
def test_translations_have_the_placeholders_of_their_texts(tag: str) -> None:
    def forms(text: object) -> list[str]:
        return [text] if isinstance(text, str) else [*map(str, text)]  # type: ignore[call-overload]

    def differs(message: Message) -> bool:
        wanted = set(PLACEHOLDER.findall(forms(message.id)[-1]))
        return any(set(PLACEHOLDER.findall(form)) != wanted for form in forms(message.string))

    assert [each.id for each in texts.read(tag) if each.id and differs(each)] == []


@pytest.mark.parametrize("tag", texts.translated())
def test_what_a_server_reads_is_made_from_the_catalogue(tag: str) -> None:
    compiled = texts.catalogue(tag).with_suffix(".mo").read_bytes()
    assert compiled == texts.compiled(texts.read(tag)), "run `python -m tests.web.texts`"


@pytest.mark.parametrize("tag", texts.translated())
def test_a_page_is_in_the_language_that_the_browser_asks(world: World, tag: str) -> None:
    page = Visitor(world).client.get("/console/login", headers={"Accept-Language": tag})
    assert f'<html lang="{tag}">' in page.text
    assert "Log in" not in page.text


def test_the_first_language_is_that_of_the_sources() -> None:
    assert next(iter(LANGUAGES)) == "en"
