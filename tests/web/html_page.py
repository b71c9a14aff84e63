"""A page as a browser without JavaScript sees it: its links and forms, and what it must never have.

Texts of others have markup in them that makes elements and attributes named ``x-evil``: a page that
has one of these shows such a text unescaped.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

EVIL = "x-evil"
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}
UNLABELLED = {"hidden", "submit", "button"}
POINTERS = ("aria-describedby", "aria-labelledby", "aria-controls", "for", "list")


@dataclass
class Element:
    """An element: its tag, attributes, text, and the elements that it stands in."""

    tag: str
    attributes: dict[str, str]
    within: "Element | None" = None
    text: str = ""

    def get(self, name: str) -> str:
        return self.attributes.get(name, "")

    def around(self) -> "Iterator[Element]":
        """Give this element, and those that it stands in, from the inside."""
        at: Element | None = self
        while at is not None:
            yield at
            at = at.within


@dataclass
class PageForm:
    """A form: where it leads, its fields as they are filled in, and its buttons."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    typed: set[str] = field(default_factory=set)
    buttons: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[tuple[str, str]] = field(default_factory=list)
    has_file: bool = False


class HtmlPage(HTMLParser):
    """A parsed page. ``wrong`` lists where its markup is broken."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.elements, self.wrong = html, list[Element](), list[str]()
        self._inside: Element | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        self.wrong += [f"<{tag}> has {name} twice" for name, count in names.items() if count > 1]
        element = Element(tag, {name: value or "" for name, value in attrs}, self._inside)
        self.elements.append(element)
        if tag not in VOID:
            self._inside = element

    def handle_endtag(self, tag: str) -> None:
        if self._inside is None or self._inside.tag != tag:
            self.wrong.append(f"</{tag}> closes {self._inside and self._inside.tag}")
        else:
            self._inside = self._inside.within

    def handle_data(self, data: str) -> None:
        if self._inside is not None:
            for element in self._inside.around():
                element.text += data

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    @property
    def links(self) -> list[str]:
        return [element.get("href") for element in self.all("a") if element.get("href")]

    @property
    def commands(self) -> list[str]:
        """The texts of the boxes with the command that does the same."""
        return [
            element.text
            for element in self.all("code")
            if any("same-command" in each.get("class").split() for each in element.around())
        ]

    def forms(self, page: str) -> list[PageForm]:
        """Return the forms of this page, which is at the path ``page``."""
        found: dict[int, PageForm] = {}
        for element in self.elements:
            form = next((each for each in element.around() if each.tag == "form"), None)
            if form is None:
                continue
            method = form.get("method").lower() or "get"
            made = found.setdefault(id(form), PageForm(form.get("action") or page, method))
            _take(made, element)
        return [*found.values()]

    def faults(self) -> Iterator[str]:
        """Give what is wrong with the page."""
        yield from self.wrong
        if self._inside is not None:
            yield f"<{self._inside.tag}> is never closed"
        yield from self._structure()
        yield from self._labels()
        for element in self.elements:
            yield from _unsafe(element)

    def _structure(self) -> Iterator[str]:
        for tag in ("h1", "title", "main"):
            if (count := len(self.all(tag))) != 1:
                yield f"{count} <{tag}>"
        for element in self.all(
            "h1", "h2", "h3", "title", "button", "a", "th", "legend", "summary"
        ):
            is_named = element.text.strip() or element.get("aria-label")
            if not is_named and element.tag != "th":
                yield f"an empty <{element.tag}>"
        ids = Counter(element.get("id") for element in self.elements if element.get("id"))
        yield from (
            f"{count} elements have the id {name}" for name, count in ids.items() if count > 1
        )
        for element in self.elements:
            for pointer in POINTERS:
                for name in element.get(pointer).split():
                    if name not in ids:
                        yield f"{pointer} names {name}, which is not there"
        if re.search("49&amp;|&amp;amp;|&lt;|&quot;|&#3[49];", self.elements[0].text):
            yield "a text was taken for a template, or escaped twice"

    def _labels(self) -> Iterator[str]:
        labelled = {element.get("for") for element in self.all("label")}
        for element in self.all("input", "select", "textarea"):
            inside = any(each.tag == "label" for each in element.around())
            named = element.get("aria-label") or element.get("aria-labelledby")
            is_labelled = element.get("id") in labelled or inside or named
            is_shown = element.get("type") not in UNLABELLED and "hidden" not in element.attributes
            if is_shown and not is_labelled:
                yield f"the field {element.get('name')} has no label"


def _take(form: PageForm, element: Element) -> None:  # noqa: C901 - a case for each kind
    name, kind, value = element.get("name"), element.get("type"), element.get("value")
    match element.tag:
        case "textarea" if name:
            form.fields.append((name, element.text))
            form.typed.add(name)
        case "select":
            form.typed.add(name)
        case "option":
            select = next(each for each in element.around() if each.tag == "select")
            is_first = all(each != select.get("name") for each, _ in form.fields)
            chosen = (select.get("name"), value)
            if is_first:
                form.fields.append(chosen)
            elif "selected" in element.attributes:
                form.fields = [each for each in form.fields if each[0] != chosen[0]] + [chosen]
        case "button" if name:
            form.buttons.append((name, value))
        case "input" if kind == "file":
            form.has_file = True
        case "input" if kind in ("checkbox", "radio"):
            form.boxes.append((name, value or "on"))
            if "checked" in element.attributes:
                form.fields.append((name, value or "on"))
        case "input" if name:
            form.fields.append((name, value))
            if kind != "hidden":
                form.typed.add(name)


def _unsafe(element: Element) -> Iterator[str]:
    if EVIL in element.tag or any(EVIL in name for name in element.attributes):
        yield f"unescaped: <{element.tag} {element.attributes}>"
    for name in element.attributes:
        if name == "style" or name.startswith("on"):
            yield f"<{element.tag}> has {name}"
    if element.tag in ("style", "base", "iframe", "object", "embed"):
        yield f"<{element.tag}>"
    if element.tag == "script" and not element.get("src"):
        yield "a script in the page"
    for name in ("href", "src", "action", "formaction"):
        place = element.get(name)
        is_picture = element.tag == "img" and place.startswith("data:image/")
        if place and not is_picture and not place.startswith(("/console/", "#")):
            yield f"{name} leads to {place[:80]}"
