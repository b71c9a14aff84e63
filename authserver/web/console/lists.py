"""Lists: searched, sorted, read part by part, and given as JSON or CSV."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Response, request, stream_with_context

from authserver.web.api.pagination import Page
from authserver.web.console.cells import Cell
from authserver.web.console.faults import tried
from authserver.web.console.language import Label
from authserver.web.console.layout import at, render
from authserver.web.console.visit import Visit, visit

EXPORT_AT_ONCE = "500"
FORMATS = ("json", "csv")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")
MIDNIGHT = "T00:00:00"


@dataclass(frozen=True)
class Column:
    """A column: its title, what stands in it, and the name of the order by it, if there is one."""

    title: Label
    cell: Callable[[Any], Cell]
    sort: str | None = None


@dataclass(frozen=True)
class ListFilter:
    """A field above a list: a parameter of the operation; ``choices`` are its values and texts.

    ``is_date``: the parameter is a time, and the field a day, which begins at midnight UTC;
    ``is_time``: the field is a day and a time of it, UTC.
    """

    name: str
    title: Label
    choices: Sequence[tuple[str, Label]] = ()
    placeholder: Label = ""
    is_date: bool = False
    is_time: bool = False


@dataclass(frozen=True)
class ListPage:
    """A list of one noun. ``operation`` is what answers it, a part at a time.

    ``empty`` says what to do where there is nothing. ``actions`` are the pages to make something,
    with their titles and their operations. ``fields`` are the columns of its CSV; without them, all
    that the first item has. ``command`` is the words of the command that does the
    same, with its ``operand`` if it has one. ``template`` extends ``list.html``.
    """

    page: str
    title: Label
    operation: str
    columns: Sequence[Column]
    empty: Label
    command: Sequence[str]
    filters: Sequence[ListFilter] = ()
    actions: Sequence[tuple[str, Label, str]] = ()
    searches: bool = True
    fields: Sequence[str] = ()
    operand: str | None = None
    template: str = "list.html"

    def answer(self, *, fixed: Mapping[str, str] | None = None, **values: object) -> Response:
        """Return the list that the request's query asks for, as a page or a file.

        ``fixed`` are parameters that the page sets itself, ``values`` more for its template.
        """
        visit().require(self.operation)
        # A form sends all its fields, the empty ones too.
        arguments = {name: text for name, text in request.args.items() if text}
        form = arguments.pop("format", "")
        for each in self.filters:
            typed = arguments.get(each.name, "")
            if (each.is_date or each.is_time) and MOMENT.fullmatch(typed):
                # Browsers leave out what is zero.
                arguments[each.name] = typed + MIDNIGHT[len(typed) - len("2026-12-31") :] + "Z"
        if form in FORMATS:
            parts = self._parts(visit(), arguments | dict(fixed or {}))
            return _export(parts, self.page, form, self.fields)
        found, fault = tried(
            lambda: visit().call(
                self.operation, query=arguments | dict(fixed or {}), here=at(self.page)
            )
        )
        return render(
            self.template,
            list=self,
            items=[] if found is None else found.items,
            next=self._next(found, fixed),
            fault=fault,
            arguments=arguments,
            chosen_sort=arguments.get("sort", ""),
            is_filtered=bool(arguments.keys() - {"sort", "limit"}),
            is_first="cursor" not in arguments,
            link=lambda **changes: self._link(arguments, changes),
            **values,
        )

    def _next(self, found: Page[Any] | None, fixed: Mapping[str, str] | None) -> str | None:
        if found is None or found.next is None:
            return None
        parameters = dict(parse_qsl(urlsplit(found.next).query))
        return at(self.page, **{n: v for n, v in parameters.items() if n not in (fixed or {})})

    def _link(self, arguments: Mapping[str, str], changes: Mapping[str, str | None]) -> str:
        """Return the path of this list with some parameters changed, from its beginning."""
        kept = {name: text for name, text in arguments.items() if name != "cursor"}
        return at(self.page, **{**kept, **changes})

    def _parts(self, current: Visit, arguments: dict[str, str]) -> Iterator[Sequence[Any]]:
        """Give the whole list, a part at a time."""
        parameters = {**arguments, "limit": EXPORT_AT_ONCE}
        parameters.pop("cursor", None)
        while True:
            part = current.call(self.operation, query=parameters)
            yield part.items
            if part.next is None:
                return
            parameters = dict(parse_qsl(urlsplit(part.next).query))


def _export(
    parts: Iterator[Sequence[Any]], page: str, form: str, fields: Sequence[str]
) -> Response:
    # The first part is read now: a refusal must be answered as one.
    first = next(parts)
    rows = _rows(first, parts)
    text, kind = (
        (_json(rows), "application/json") if form == "json" else (_csv(rows, fields), "text/csv")
    )
    response = Response(stream_with_context(text), mimetype=kind)
    name = page.replace("/", "-")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return response


def _rows(first: Sequence[Any], parts: Iterator[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for items in chain([first], parts):
        yield from (item.model_dump(mode="json", by_alias=True) for item in items)


def _json(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    separator = "["
    for row in rows:
        yield f"{separator}\n{json.dumps(row, ensure_ascii=False)}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _csv(rows: Iterator[dict[str, Any]], fields: Sequence[str]) -> Iterator[str]:
    titles: list[str] = []
    for row in rows:
        if not titles:
            titles = [*fields] or [*row]
            yield _line(titles)
        yield _line([_field(row.get(title)) for title in titles])


def _line(fields: Sequence[str]) -> str:
    line = StringIO()
    csv.writer(line).writerow(fields)
    return line.getvalue()


def _field(value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = " ".join(value)
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    # A spreadsheet would compute a name that begins like a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
