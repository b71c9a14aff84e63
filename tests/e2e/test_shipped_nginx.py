"""What the shipped nginx passes on to a server of ours, and what it answers itself."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.e2e.fetching import Answer, curl
from tests.e2e.nginx import certificate, configured, site
from tests.e2e.test_deploy import manifests
from tests.programs import free_port, require, running
from tests.world import wait_until

pytestmark = pytest.mark.e2e


@contextmanager
def noting(answering: Event | None = None) -> Iterator[tuple[int, list[str]]]:
    """Serve on a port, and note what is asked there; it is answered once it may be."""
    asked: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self._note

        def _note(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(f"{self.command} {self.path}")
            if answering is not None:
                answering.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Noting) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            serving.join()


@dataclass(frozen=True)
class Front:
    """The shipped nginx in front of what notes everything."""

    base: str
    certificate: Path
    asked: list[str]

    def ask(self, path: str, *args: str) -> tuple[Answer, list[str]]:
        """Return the answer, and what came through."""
        self.asked.clear()
        answer = curl("--cacert", str(self.certificate), "--path-as-is", *args, self.base + path)
        return answer, list(self.asked)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    require("nginx", "openssl", "curl")
    place = tmp_path_factory.mktemp("front")
    place.chmod(0o755)
    port, nobody = free_port(), free_port()
    cert, key = certificate(place)
    with noting() as (inside, asked):
        nginx = configured(place, site(port, f"127.0.0.1:{nobody}", inside, cert, key))
        base = f"https://localhost:{port}"
        with running(nginx, f"{base}/nothing", place / "nginx.log", certificate=cert):
            yield Front(base, cert, asked)


@pytest.mark.parametrize(
    "path", ["/token", "/auth/token/", "/invitation", "/password", "/password/"]
)
def test_get_and_post_come_through(front: Front, path: str) -> None:
    assert front.ask(f"{path}?a=%61&b=/../c")[1] == [f"GET {path}?a=%61&b=/../c"]
    assert front.ask(path, "--data", "a=b")[1] == [f"POST {path}"]
    # Browsers ask before they show a token endpoint of another origin a password.
    assert front.ask(path, "--request", "OPTIONS")[1] == [f"OPTIONS {path}"]


@pytest.mark.parametrize(
    "path", ["/console", "/console/", "/console/users/new", "/console/static/0a1b/console.css"]
)
def test_the_console_comes_through(front: Front, path: str) -> None:
    assert front.ask(f"{path}?name=..%2fa")[1] == [f"GET {path}?name=..%2fa"]
    assert front.ask(path, "--data", "a=b")[1] == [f"POST {path}"]
    # No page of another origin may send it anything but links.
    assert front.ask(path, "--request", "OPTIONS")[0].status == 405


def test_a_policy_file_comes_through_to_the_console_only(front: Front, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_bytes(b"#" * 4 * 1024 * 1024)
    body = ("--header", "Expect:", "--data-binary", f"@{file}")
    assert front.ask("/console/policy", *body)[0].status == 200
    for path in ("/token", "/password"):
        answer, asked = front.ask(path, *body)
        assert (answer.status, asked) == (413, [])


@pytest.mark.parametrize("path", ["/token", "/invitation", "/password", "/console/users"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "FOO"])
def test_no_other_method_comes_through(front: Front, path: str, method: str) -> None:
    answer, asked = front.ask(path, "--request", method, "--data", "a=b")
    assert asked == []
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["details"] == answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    ("path", "means"),
    [
        ("/api/v1/registries/..%2f..%2f..%2ftoken", "/token"),
        ("/api/v1/../../token", "/token"),
        ("/%74oken", "/token"),
        ("//token/", "/token/"),
        ("/v2/..%2Finvitation", "/invitation"),
        ("/console/../token", "/token"),
        ("/%63onsole//users/./new", "/console/users/new"),
    ],
)
def test_a_path_comes_through_as_nginx_read_it(front: Front, path: str, means: str) -> None:
    assert front.ask(f"{path}?a=b")[1] == [f"GET {means}?a=b"]


@pytest.mark.parametrize(
    "path",
    [
        "/token%0a",
        "/token%00",
        "/password%0a",
        "/passwords",
        "/invitation/password",
        "/token%3fa",
        "/token/..%2fapi%2fv1",
        "/api/v1",
        "/%61pi/v1",
        "/consoles",
        "/console%0a",
        "/console/%0d%0aa",
        "/console/a%3fb",
        "/console/..%2fapi/v1",
    ],
)
def test_no_other_path_comes_through(front: Front, path: str) -> None:
    answer, asked = front.ask(path)
    assert answer.status in {400, 404}
    assert asked == []


def _is_an_error(answer: Answer, status: int, code: str) -> None:
    """Check the form that registry clients read."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json")
    (error,) = answer.json()["errors"]
    assert (error["code"], error["message"]) == (code, answer.json()["details"])


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/users"])
def test_a_path_with_nothing_is_told_so_in_json(front: Front, path: str) -> None:
    _is_an_error(front.ask(path)[0], 404, "NOT_FOUND")


def test_a_registry_that_is_down_is_told_so_in_json(front: Front) -> None:
    answer, _ = front.ask("/v2/")
    _is_an_error(answer, 502, "UNAVAILABLE")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize("path", ["/token", "/invitation", "/password", "/console/"])
def test_a_server_that_is_down_or_takes_too_long_is_told_so_in_json(
    tmp_path: Path, path: str
) -> None:
    require("nginx", "openssl", "curl")
    tmp_path.chmod(0o755)
    cert, key = certificate(tmp_path)
    port, nobody, answering = free_port(), free_port(), Event()
    with noting(answering) as (slow, _):
        text = site(port, f"127.0.0.1:{nobody}", slow, cert, key)
        text = text.replace("proxy_read_timeout   30s", "proxy_read_timeout 100ms")
        down = text.replace(f"server 127.0.0.1:{slow}", f"server 127.0.0.1:{free_port()}")
        for status, each in ((504, text), (502, down)):
            assert each.count("100ms") == 1
            nginx = configured(tmp_path, each)
            base = f"https://localhost:{port}"
            log = tmp_path / f"nginx{status}.log"
            with running(nginx, f"{base}/nothing", log, certificate=cert):
                answer = curl("--cacert", str(cert), f"{base}{path}")
                _is_an_error(answer, status, "UNAVAILABLE")
        answering.set()


def test_what_the_ingress_controller_answers_itself_is_json(tmp_path: Path) -> None:
    require("nginx", "curl")
    tmp_path.chmod(0o755)
    (controller,) = manifests("ingress-nginx.yaml")
    patch = controller["data"]
    port = free_port()
    server = f"""
        limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;
        limit_req_status {patch["limit-req-status-code"]};
        server {{
            listen 127.0.0.1:{port};
            {patch["server-snippet"]}
            location /token {{ limit_req zone=one; proxy_pass http://127.0.0.1:{free_port()}; }}
        }}"""
    base = f"http://127.0.0.1:{port}"
    with running(configured(tmp_path, server), f"{base}/nothing", tmp_path / "nginx.log"):
        _is_an_error(curl(f"{base}/token"), 502, "UNAVAILABLE")
        _is_an_error(curl(f"{base}/token"), 429, "TOOMANYREQUESTS")


@pytest.mark.parametrize("path", ["/token", "/console/login"])
def test_too_many_connections_of_one_address_are_told_so_in_json(tmp_path: Path, path: str) -> None:
    require("nginx", "openssl", "curl")
    tmp_path.chmod(0o755)
    port, nobody, answering = free_port(), free_port(), Event()
    cert, key = certificate(tmp_path)
    with noting(answering) as (inside, asked), ThreadPoolExecutor(2) as pool:
        text = site(port, f"127.0.0.1:{nobody}", inside, cert, key)
        assert text.count("connections 256") == 1
        nginx = configured(tmp_path, text.replace("connections 256", "connections 2"))
        base = f"https://localhost:{port}"

        def ask(*args: str) -> Answer:
            return curl("--cacert", str(cert), *args, f"{base}{path}")

        with running(nginx, f"{base}/nothing", tmp_path / "nginx.log", certificate=cert):
            waiting = [pool.submit(ask) for _ in range(2)]
            try:
                assert wait_until(lambda: len(asked) == 2, 20)
                refused = ask()
                assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
                assert refused.json()["errors"][0]["code"] == "TOOMANYREQUESTS"
            finally:
                answering.set()
            assert [one.result().status for one in waiting] == [200, 200]
            assert ask().status == 200
