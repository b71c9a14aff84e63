"""The language of a page, and the texts in it (gettext's catalogues in ``locale/``)."""

from collections.abc import Callable
from functools import lru_cache
from gettext import NullTranslations, translation
from pathlib import Path

from flask import g, request

LANGUAGES = {"en": "English", "zh-Hans": "简体中文"}
"""Each language by its tag (BCP 47), as its readers call it. The first is that of the sources."""

COOKIE = "authserver_language"
DOMAIN = "console"
LOCALE = Path(__file__).with_name("locale")


class LazyText:
    """A text of a declaration, translated when it is shown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return gettext(self.text)


Label = str | LazyText


def lazy(text: str) -> LazyText:
    """Return a text that is translated when it is shown."""
    return LazyText(text)


def gettext(text: str) -> str:
    """Return a text in the language of the request."""
    return _translations(language()).gettext(text)


def ngettext(one: str, many: str, number: int) -> str:
    """Return a text for so many things in the language of the request."""
    return _translations(language()).ngettext(one, many, number)


def language() -> str:
    """Return the language of the request: the one that was chosen, or one that the browser asks."""
    if "language" not in g:
        g.language = _chosen()
    chosen: str = g.language
    return chosen


def _chosen() -> str:
    cookie = request.cookies.get(COOKIE)
    if cookie in LANGUAGES:
        return cookie
    # Browsers ask for zh-CN, zh-SG or zh; those who read traditional characters are better off
    # with simplified ones than with English.
    for tag, _ in request.accept_languages:
        primary = tag.partition("-")[0].lower()
        for known in LANGUAGES:
            if known.partition("-")[0] == primary:
                return known
    return next(iter(LANGUAGES))


@lru_cache
def _translations(tag: str) -> NullTranslations:
    return translation(DOMAIN, LOCALE, [tag.replace("-", "_")], fallback=True)


CALLABLES: tuple[Callable[[str], str], Callable[[str, str, int], str]] = (gettext, ngettext)
