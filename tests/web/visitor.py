"""A browser without JavaScript, as far as tests of the console need one."""

import re
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from authserver.web.console.listener import PLAIN_COOKIE
from tests.world import ADMIN, PASSWORD, World

OWN_FORM = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Visitor:
    """Somebody with a browser of their own. ``get`` and ``post`` take the page's path."""

    world: World
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.world.client.application.test_client()

    def get(self, page: str = "", **query: Any) -> TestResponse:
        return self.client.get(f"/console/{page}", query_string=query or None)

    def post(
        self,
        page: str,
        form: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> TestResponse:
        return self.client.post(
            f"/console/{page}",
            data=form or {},
            headers=OWN_FORM if headers is None else headers,
            query_string=query or None,
        )

    def log_in(self, name: str = ADMIN, password: str = PASSWORD, **form: str) -> TestResponse:
        return self.post("login", {"name": name, "password": password, **form})

    @property
    def cookie(self) -> str | None:
        found = self.client.get_cookie(PLAIN_COOKIE)
        return None if found is None else found.value

    def submit(self, page: str, form: dict[str, Any], **query: Any) -> TestResponse:
        """Fill in the form of a page: its hidden fields go along."""
        shown = self.get(page, **query)
        assert shown.status_code == 200, (shown.status_code, shown.text)
        return self.post(page, hidden(shown.text) | form, **query)


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of the forms in a page's content."""
    content = page[page.index("<main") : page.index("</main>")]
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', content)
    return {name: unescape(value) for name, value in fields}


def content(response: TestResponse) -> str:
    """Return the text of a page's content, without markup."""
    page = response.text
    inner = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inner)).split())
