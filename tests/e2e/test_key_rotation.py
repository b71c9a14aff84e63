"""Keys and authorities are replaced while clients pull and push, and no request is lost."""

import base64
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Commands
from tests.e2e.clients import Crane, Skopeo
from tests.e2e.fetching import fetch
from tests.e2e.images import Image
from tests.e2e.lab import ADMIN, Lab, Registry, installation, serving_registry
from tests.programs import free_port, require
from tests.world import basic, wait_until

pytestmark = pytest.mark.e2e

ROTATIONS = 10
REPOSITORY = "team/app"
SCOPES = (f"repository:{REPOSITORY}:pull", "registry:catalog:*")


def key_id(token: str) -> str:
    head = token.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])


@dataclass
class Work:
    """Clients that go on until they are told to stop, and what went wrong for them."""

    ended: threading.Event = field(default_factory=threading.Event)
    allowed: threading.Event = field(default_factory=threading.Event)
    busy: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))
    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def go_on(self, name: str, act: Callable[[], str]) -> None:
        """Do ``act`` again and again; it returns what went wrong."""
        while not self.ended.is_set():
            self.allowed.wait()
            with self.busy[name]:
                wrong = act()
            self.done[name] += 1
            if wrong:
                self.failed.append(f"{name}: {wrong}")
            # What is rotated needs the processor as well.
            self.ended.wait(0.05)

    def until_all_went_on(self) -> None:
        before = self.done.copy()
        assert wait_until(
            lambda: all(self.done[name] > before[name] for name in list(self.busy)), 20
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Begin nothing until the block ends, and end first what has begun."""
        self.allowed.clear()
        with ExitStack() as held:
            for lock in list(self.busy.values()):
                held.enter_context(lock)
            yield
        self.allowed.set()


@dataclass
class Place:
    """An installation that is served, and its registry, which can be restarted."""

    lab: Lab
    run: Commands
    section: str
    running: ExitStack

    def restart_registry(self) -> None:
        """Start the registry anew on its port, with what its bundle's file holds now."""
        self.lab.registry.process.stop()
        self.serve_registry()

    def serve_registry(self) -> None:
        port = int(self.lab.registry.host.rpartition(":")[2])
        self.running.enter_context(serving_registry(self.lab.home, self.section, port=port))

    def token(self) -> str:
        return self.lab.token(*SCOPES, who=ADMIN)

    def examined(self) -> Any:
        """Have the API examine the registry."""
        url = self.lab.realm.removesuffix("/token") + "/api/v1/checks"
        headers = {"Authorization": basic(*ADMIN), "Content-Type": "application/json"}
        answer = fetch(url, "POST", headers=headers, body=b'{"registry": "registry"}')
        assert answer.status == 200, answer.body
        return answer.json()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    require("docker-registry", "skopeo", "crane")
    port = free_port()
    authserver = installation(tmp_path / "data", port)
    run = Commands(authserver.data_dir, dict(authserver.env))
    printed = run("registry", "config", "registry", "--output-dir", tmp_path)
    with (
        authserver.serving(port, "--workers", "2") as server,
        ExitStack() as running,
    ):
        registry: Registry = running.enter_context(serving_registry(tmp_path, printed))
        lab = Lab(authserver, server, f"http://localhost:{port}/token", registry, tmp_path)
        run("registry", "edit", "registry", "--url", registry.url(""))
        lab.push(Image(tmp_path / "first"), f"{REPOSITORY}:1", ADMIN)
        yield Place(lab, run, printed, running)


@contextmanager
def working(place: Place) -> Iterator[Work]:
    """Have clients pull and push until the block ends."""
    work, host = Work(), place.lab.registry.host
    with ThreadPoolExecutor(3) as pool:
        skopeo, crane = (kind(host, place.lab.home / kind.name) for kind in (Skopeo, Crane))
        skopeo.keep_password(ADMIN)
        crane.keep_password(ADMIN)

        def push() -> str:
            skopeo.make("team/pushed")
            done = skopeo.push("team/pushed")
            return done.stderr if done.returncode else ""

        def pull() -> str:
            done = crane.pull(REPOSITORY)
            return done.stderr if done.returncode else ""

        def read() -> str:
            path = f"/v2/{REPOSITORY}/manifests/1"
            status = place.lab.registry.ask(path, token=place.token()).status
            return "" if status == 200 else str(status)

        doing = [pool.submit(work.go_on, act.__name__, act) for act in (push, pull, read)]
        work.allowed.set()
        try:
            yield work
        finally:
            work.ended.set()
            work.allowed.set()
            for one in doing:
                one.result()


def rotate(place: Place) -> None:
    """Rotate the signing key; return when every worker signs with the new one."""
    before = key_id(place.token())
    place.run("key", "rotate")
    until_nobody_signs_with(before, place)


def until_nobody_signs_with(old: str, place: Place) -> None:
    assert wait_until(lambda: old not in {key_id(place.token()) for _ in range(8)}, 5)


def test_no_request_is_lost_while_keys_and_the_authority_are_replaced(place: Place) -> None:
    run = place.run
    kept: list[str] = []
    with working(place) as work:
        for _ in range(ROTATIONS):
            kept.append(place.token())
            rotate(place)
            work.until_all_went_on()
        run("key", "authority", "rotate")
        run("registry", "config", "registry", "--output-dir", place.lab.home)
        with work.paused():
            place.restart_registry()
        # Elsewhere than at the URL of the entry nothing is noted.
        elsewhere = place.lab.registry.url("").replace("localhost", "127.0.0.1")
        run("registry", "check", "registry", "--url", elsewhere)
        run("key", "authority", "activate", status=1)
        assert place.examined()["authorities"] == [1, 2]
        kept.append(place.token())
        run("key", "authority", "activate")
        until_nobody_signs_with(key_id(kept[-1]), place)
        kept.append(place.token())
        # Tokens of all eleven keys, of which ten private halves are gone, are still good.
        read = [place.lab.registry.ask("/v2/_catalog", token=token).status for token in kept]
        work.until_all_went_on()
    assert work.failed == []
    assert read == [200] * (ROTATIONS + 2)
    assert len({key_id(token) for token in kept}) == ROTATIONS + 2
    assert min(work.done["push"], work.done["pull"]) >= ROTATIONS, work.done
    keys = run.json("key", "list")
    assert [key["state"] for key in keys if key["role"] == "authority"] == ["active", "active"]
    run("db", "check")
