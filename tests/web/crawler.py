"""A person who follows every link of the console and submits every form, well and badly."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

import click
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from authserver.cli import cli
from authserver.core.secret_tokens import Prefix
from authserver.web.console.layout import HEADERS
from tests.web.hostile_world import MARKUP
from tests.web.html_page import HtmlPage, PageForm
from tests.web.visitor import OWN_FORM, Visitor
from tests.world import PASSWORD

ALIKE = 4
"""How many addresses of one page with the same parameters are followed: names are many."""
HOSTILE = {
    "markup": f"{MARKUP}\u202e",
    "long": "x" * 70_000,
    "NUL": "a\0b",
    "number": "-99999999999999999999",
    "elsewhere": "//evil.example/\\..",
}
SECRET = re.compile(rf"(?:{'|'.join(Prefix)})[0-9A-Za-z]{{49}}")
LEAVING = ("/console/logout",)
"""What ends the session of the crawl: submitted last."""
LAST = ("/console/login", "/console/confirm", "/console/me/password", "/console/second-factor")
"""What takes a password: wrong ones are counted."""

Sent = list[tuple[str, str]]


@dataclass
class Crawler:
    """Walks as one person, None as nobody; ``offered`` are the pages seen, ``forms`` the forms."""

    visitor: Visitor
    name: str | None
    offered: dict[str, str] = field(default_factory=dict)
    forms: dict[tuple[str, frozenset[str]], tuple[str, PageForm]] = field(default_factory=dict)
    faults: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.visitor.client.environ_base["HTTP_USER_AGENT"] = MARKUP
        self.log_in()

    def log_in(self) -> None:
        if self.name is not None:
            assert self.visitor.log_in(self.name).status_code == 303

    def get(self, path: str) -> TestResponse:
        return self._looked_at("GET", path, self.visitor.client.get(path))

    def post(self, path: str, sent: Sent) -> TestResponse:
        response = self.visitor.client.post(path, data=MultiDict(sent), headers=OWN_FORM)
        self.visitor.world.wiring.state.refresh()
        return self._looked_at("POST", path, response)

    def walk(self) -> None:
        """Follow every link and submit every search, from the first page on."""
        alike = Counter[object]()
        due = ["/console/"]
        while due:
            path = due.pop(0)
            shape = _shape(path)
            if path in self.offered or alike[shape] >= ALIKE:
                continue
            alike[shape] += 1
            self.offered[path] = shape[0]
            response = self.get(path)
            if response.status_code >= 400:
                self.faults[path, "is offered"] = str(response.status_code)
            elif response.status_code >= 300:
                due.append(response.location)
            elif response.mimetype == "text/html":
                page = HtmlPage(response.text)
                due += [link.partition("#")[0] for link in page.links if link.startswith("/")]
                due += self._searches(path, page)

    def _searches(self, path: str, page: HtmlPage) -> Iterator[str]:
        for form in page.forms(path):
            if form.method == "get":
                yield f"{urlsplit(form.action).path}?{urlencode(form.fields)}"
                continue
            shape = urlsplit(form.action).path, frozenset(name for name, _ in form.fields)
            self.forms.setdefault(shape, (form.action, form))

    def ask_badly(self) -> None:
        """Ask every page with parameters that no link has."""
        shapes = {_shape(path): path for path in self.offered}
        for path in shapes.values():
            parts = urlsplit(path)
            query = parse_qsl(parts.query, keep_blank_values=True)
            names = [name for name, _ in query]
            unknown = [*query, ("unknown", "1"), ("format", "x"), ("sort", "'"), ("cursor", "x")]
            self.get(f"{parts.path}?{urlencode(unknown)}")
            for asked in (
                ()
                if not query
                else (
                    *([(name, value) for name in names] for value in HOSTILE.values()),
                    query + query[::-1],
                    [*query, ("limit", "0"), ("format", "csv"), ("next", "//evil.example")],
                    [],
                )
            ):
                self.get(f"{parts.path}?{urlencode(asked)}")

    def submit_all(self) -> None:
        """Submit every form, first badly, then as it is filled in; what destroys comes last."""
        ordered = sorted(self.forms.values(), key=lambda each: _order(each[0]))
        for path, form in ordered:
            for sent in _badly(form):
                self.submit(path, sent)
        for path, form in ordered:
            for sent in _well(form):
                self.submit(path, sent)

    def submit(self, path: str, sent: Sent) -> None:
        response = self.post(path, sent)
        if response.status_code == 303:
            self.get(response.location)
        if self.name is not None and self.visitor.get("me").status_code != 200:
            self.log_in()

    def _looked_at(self, method: str, path: str, response: TestResponse) -> TestResponse:
        """Note what is wrong with an answer, whatever was asked."""
        where = f"{self.name}: {method} {path[:200]}"
        text = response.text
        self.answers.append(f"{where}\n{text}")
        wrong = [str(response.status_code)] if response.status_code >= 500 else []
        wrong += [name for name, value in HEADERS.items() if response.headers.get(name) != value]
        if "no-store" not in response.headers["Cache-Control"]:
            wrong.append("it may be cached")
        if response.status_code in range(300, 400):
            if not re.match(r"/console/(?![/\\])", response.location):
                wrong.append(f"leads to {response.location}")
            if SECRET.search(response.location):
                wrong.append("a secret in an address")
        elif response.mimetype == "text/html":
            page = HtmlPage(text)
            wrong += page.faults()
            # What was typed wrongly stands in the command too.
            commands = page.commands if method == "GET" and response.status_code == 200 else []
            wrong += [fault for command in commands for fault in faults_of_command(command)]
        elif response.mimetype == "application/json":
            json.loads(text)
        elif response.mimetype == "text/csv":
            wrong += [line for line in text.splitlines() if line[:1] in "=+-@" and line]
        if method == "GET" and (secret := SECRET.search(text)):
            wrong.append(f"shows {secret[0]}")
        page_path = urlsplit(path).path
        for each in wrong:
            self.faults.setdefault((page_path, each), where)
        return response


def faults_of_command(text: str) -> Iterator[str]:
    """Give what is wrong with a command that a page shows."""
    try:
        program, *words = shlex.split(text)
        command: click.Command = cli
        context = click.Context(cli, info_name=program)
        while isinstance(command, click.Group):
            found = command.get_command(context, words[0])
            if found is None:
                yield f"no command: {text}"
                return
            command, context = found, click.Context(found, context, info_name=words.pop(0))
        left = command.make_parser(context).parse_args(words)[1]
    except (ValueError, IndexError, click.UsageError) as error:
        yield f"no command: {text}: {error}"
        return
    if left:
        yield f"no command, for {left}: {text}"


def _shape(path: str) -> tuple[str, frozenset[str]]:
    parts = urlsplit(path)
    return parts.path, frozenset(name for name, _ in parse_qsl(parts.query))


def _order(path: str) -> tuple[bool, bool, bool, str]:
    page = urlsplit(path).path
    destroys = re.search("remove|revoke|end|disable|rename|retire|clear|lift", page) is not None
    return page in LEAVING, page in LAST, destroys, path


def _badly(form: PageForm) -> Iterator[Sent]:
    fields = dict([*form.boxes, *form.fields])
    for hostile in HOSTILE.values():
        if form.typed:
            yield [(name, hostile if name in form.typed else value) for name, value in form.fields]
        yield [(name, hostile) for name in fields]
    yield []
    yield [("unknown", "1"), ("next", "//evil.example"), *fields.items(), *fields.items()]


def _well(form: PageForm) -> Iterator[Sent]:
    buttons: list[tuple[str, str] | None] = [*form.buttons]
    for button in buttons or [None]:
        yield [*_filled(form.fields), *([button] if button else [])]
    for box in form.boxes:
        yield [*((name, value) for name, value in _filled(form.fields) if name != box[0]), box]


def _filled(fields: Sent) -> Sent:
    usual: Mapping[str, str] = {"password": PASSWORD, "current": PASSWORD, "name": "new"}
    return [(name, value or usual.get(name, "")) for name, value in fields]
