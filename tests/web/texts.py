"""The texts of the console, from its sources to the catalogues: ``python -m tests.web.texts``.

It writes what is new into each ``console.po``, and compiles these. The file
``console.mo`` is what a server reads, so it is kept beside them.
"""

from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from authserver.web import console
from authserver.web.console import rule_fields
from authserver.web.console.language import DOMAIN, LANGUAGES, LOCALE

PACKAGE = Path(console.__file__).parent
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "lazy": None}
OPTIONS = {"templates/**.html": {"silent": "false", "trimmed": "true", "newstyle_gettext": "true"}}
WIDTH = 100
HEADER = "# Texts of the console. `python -m tests.web.texts` brings in those that are new."


def extracted() -> Catalog:
    """Return all texts of the sources."""
    catalog = Catalog(project="authserver", fuzzy=False)
    found = extract_from_dir(PACKAGE, METHODS, OPTIONS, KEYWORDS, strip_comment_tags=True)
    for name, line, text, comments, context in sorted(found, key=lambda each: each[:2]):
        catalog.add(text, None, [(name, line)], auto_comments=comments, context=context)
    for text in rule_fields.texts():
        catalog.add(text, None, [("rule_fields.py", 1)])
    return catalog


def translated() -> list[str]:
    """Return the tags of the languages that have a catalogue: all but that of the sources."""
    return [*LANGUAGES][1:]


def catalogue(tag: str) -> Path:
    """Return where the translations to a language are."""
    return LOCALE / tag.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(tag: str) -> Catalog:
    path = catalogue(tag)
    locale = tag.replace("-", "_")
    if not path.exists():
        return Catalog(locale, project="authserver", header_comment=HEADER, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale)


def compiled(catalog: Catalog) -> bytes:
    """Return the file that ``gettext`` reads."""
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def missing(catalog: Catalog) -> list[Message]:
    """Return the texts that have no translation, or only a guess at one."""
    return [each for each in catalog if each.id and (not each.string or each.fuzzy)]


def main() -> None:
    texts = extracted()
    for tag in translated():
        catalog, path = read(tag), catalogue(tag)
        catalog.update(texts, no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            write_po(
                file, catalog, WIDTH, omit_header=False, sort_output=True, include_lineno=False
            )
        path.with_suffix(".mo").write_bytes(compiled(read(tag)))
        without = missing(read(tag))
        print(f"{path}: {len(texts)} texts, {len(without)} without a translation")


if __name__ == "__main__":
    main()
