"""A registry's page in a real browser: it asks our token endpoint, which has another origin."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import Pages
from tests.e2e.lab import ADMIN, installation, serving_registry
from tests.e2e.nginx import configured
from tests.programs import free_port, require, running
from tests.world import basic

pytestmark = pytest.mark.e2e

# As docker-registry-ui does: ask the registry, then the realm that it names, then the registry.
PAGE = """<!doctype html><title></title><script>
const head = HEAD;
const token = async realm => {
  const answer = await fetch(realm, {credentials: 'include', headers: head});
  const asked = answer.headers.get('WWW-Authenticate') || '';
  return [answer.status, asked.split(' ')[0], (await answer.json()).token];
};
(async () => {
  const refused = await fetch('/v2/_catalog');
  const [realm, service, scope] = ['realm', 'service', 'scope'].map(
    name => refused.headers.get('WWW-Authenticate').match(name + '="([^"]*)"')[1]);
  const query = new URLSearchParams({service, scope});
  const [status, asked, bearer] = await token(realm + '?' + query);
  const shown = {headers: {Authorization: 'Bearer ' + bearer}};
  const catalog = bearer && await fetch('/v2/_catalog', shown);
  document.title = JSON.stringify([status, asked, catalog && catalog.status]);
})().catch(error => { document.title = JSON.stringify(String(error)); });
</script>"""


@dataclass(frozen=True)
class Site:
    """A registry and its page under one origin; our server has two, one of which is allowed."""

    base: str
    elsewhere: str
    place: Path

    def load(
        self,
        chromium: Browser,
        *,
        head: str = "{}",
        base: str = "",
        login: tuple[str, str] | None = None,
    ) -> object:
        """Return the status of the token, its challenge, and the status of the catalog.

        The browser answers with ``login`` where it asks the person for a name and a password, and
        cancels where it asks again.
        """
        (self.place / "www" / "page.html").write_text(PAGE.replace("HEAD", head))
        pages = Pages(chromium, base or self.base)
        page = pages.open("/page.html", login=login)
        page.wait_for_function("document.title")
        title = page.title()
        pages.close()
        return json.loads(title)


@contextmanager
def serving_files(place: Path) -> Iterator[int]:
    """Serve the files of a directory; give the port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require("docker-registry", "nginx")
    place = tmp_path_factory.mktemp("site")
    place.chmod(0o755)
    (place / "www").mkdir(mode=0o755)
    port, front = free_port(), free_port()
    base = f"http://localhost:{front}"
    ours = installation(place / "data", port)
    ours.env["AUTHSERVER_CORS_ORIGINS"] = base
    ours.run("registry", "edit", "registry", "--challenge-anonymous")
    trust = str(place / "trust")
    section = ours.run("registry", "config", "registry", "--output-dir", trust).stdout
    with (
        ours.serving(port),
        serving_registry(place, section) as registry,
        serving_files(place / "www") as pages,
    ):
        to = registry.host.replace("localhost", "127.0.0.1")
        server = (
            f"server {{ listen 127.0.0.1:{front}; "
            f"location / {{ proxy_pass http://127.0.0.1:{pages}; }}"
            f"location /v2/ {{ proxy_pass http://{to}; proxy_set_header Host $http_host; }} }}"
        )
        with running(configured(place, server), f"{base}/v2/", place / "nginx.log"):
            yield Site(base, f"http://127.0.0.1:{front}", place)


def test_the_browser_asks_for_a_password_and_the_page_reads_the_registry(
    site: Site, chromium: Browser
) -> None:
    assert site.load(chromium, login=ADMIN) == [200, "", 200]


def test_a_person_who_cancels_leaves_the_page_with_an_error_that_it_can_read(
    site: Site, chromium: Browser
) -> None:
    assert site.load(chromium, login=("admin", "wrong")) == [401, "Basic", None]


def test_a_page_may_send_a_password_itself_after_a_preflight(site: Site, chromium: Browser) -> None:
    head = json.dumps({"Authorization": basic(*ADMIN)})
    assert site.load(chromium, head=head) == [200, "", 200]


def test_a_page_of_another_origin_reads_nothing(site: Site, chromium: Browser) -> None:
    refused = "TypeError: Failed to fetch"
    assert site.load(chromium, login=ADMIN, base=site.elsewhere) == refused
    head = json.dumps({"Authorization": basic(*ADMIN)})
    assert site.load(chromium, head=head, base=site.elsewhere) == refused
