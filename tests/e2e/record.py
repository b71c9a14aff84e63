"""What each client asks of us, recorded; ``python -m tests.e2e.record`` writes docs/clients.md."""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from tests.e2e.clients import CLIENTS, Client, Done, ready
from tests.e2e.fetching import Answer, fetch
from tests.e2e.lab import PASSWORD, account, installation, serving_registry
from tests.e2e.recording import Recorder, Request, recording
from tests.programs import Authserver, free_port
from tests.world import basic, wait_until

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
ALICE = account("alice")
WRONG = ("alice", "a wrong one")
ACTIONS = ("pull", "push", "delete", "*")
WRONG_PASSWORD, ENDED_LOGIN, IDENTITY = "wrong password", "ended login", "identity token"

HEAD = """\
# What clients ask for

This page shows each client's requests to the token URL, recorded from the real programs with
Debian's registry 2.8; `python -m tests.e2e.record` writes it anew. It leaves out
`service=registry`, which every request has, a body's `Content-Length`, and the status 200. Secrets
are `***`, scopes and their actions are sorted, and an identity token is the refresh token that
`docker login` keeps.

`docker`, `ctr`, `podman`, `buildah` and `skopeo` are Debian 12's. `docker-29`, `ctr-2`, `podman-5`
and `buildah-1.42` are of 2026; `make record-deps` builds them. A skopeo of 2026 is missing: the Go
module proxy has none. Its requests come from the library that podman 5 uses, too. Docker 29 keeps
images in containerd: its engine asks as containerd does, and tries a wrong password twice.

| Client | User-Agent | Operation | Requests |
|---|---|---|---|
"""
VERSIONS = "\nVersions: "


@dataclass(frozen=True)
class Stage:
    """A registry whose realm is the recorder, in front of our server."""

    authserver: Authserver
    port: int
    recorder: Recorder
    host: str

    def refresh_token(self) -> str:
        """Return a refresh token of alice's, as `docker login` gets it."""
        query = urlencode({"service": "registry", "offline_token": "true"})
        url = f"http://127.0.0.1:{self.port}/token?{query}"
        answer = fetch(url, headers={"Authorization": basic(*ALICE)})
        return str(answer.json()["refresh_token"])

    def end(self, refresh_token: str) -> None:
        """End alice's logins; return when it is in force."""
        self.authserver.run("session", "revoke", "--account", "alice", "--yes")
        url = f"http://127.0.0.1:{self.port}/token"
        assert wait_until(lambda: refresh(url, refresh_token).status == 401, 5)


def refresh(url: str, refresh_token: str, scope: str = "") -> Answer:
    """Ask for a registry token by a refresh token."""
    form = {
        "grant_type": "refresh_token",
        "service": "registry",
        "client_id": "test",
        "refresh_token": refresh_token,
        "scope": scope,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return fetch(url, "POST", headers=headers, body=urlencode(form).encode())


@contextmanager
def stage(place: Path) -> Iterator[Stage]:
    public, inside = free_port(), free_port()
    authserver = installation(place / "data", public)
    authserver.run("user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
    authserver.run("acl", "allow", "user:alice", "**", "all")
    section = authserver.run("registry", "config", "registry", "--output-dir", str(place / "trust"))
    with (
        authserver.serving(inside, "--workers", "1"),
        recording(inside, public) as recorder,
        serving_registry(place, section.stdout) as registry,
    ):
        yield Stage(authserver, inside, recorder, registry.host)


@dataclass
class Recording:
    """What a client did and asked for, by operation."""

    kind: type[Client]
    version: str
    done: dict[str, Done] = field(default_factory=dict)
    requests: dict[str, list[Request]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the table's rows."""
        name = self.kind.name
        agents = {request.agent for requests in self.requests.values() for request in requests}
        return [
            f"| {name} | {' '.join(sorted(agents))} | {operation} | {_told(requests, f'{name}/')} |"
            for operation, requests in self.requests.items()
        ]


def record(client: Client, stage: Stage) -> Recording:
    """Have a client do all that it can."""
    kind = type(client)
    said = client.run(*kind.version).stdout
    version = re.search(r"\d+(?:\.\d+)+", said)
    recorded = Recording(kind, version[0] if version else "?")

    def note(operation: str, done: Done) -> None:
        recorded.done[operation] = done
        recorded.requests[operation] = stage.recorder.take()

    app, copied = f"{kind.name}/app", f"{kind.name}/copy"
    stage.recorder.take()
    if "login" in kind.verbs:
        note("login", client.login(ALICE))
        if kind.login_asks:
            client.forget()
            note(f"login, {WRONG_PASSWORD}", client.login(WRONG))
        client.forget()
    client.keep_password(ALICE)
    client.make(app)
    note("push", client.push(app))
    note("pull", client.pull(app))
    if "copy" in kind.verbs:
        note("copy", client.copy(app, copied))
    if "delete" in kind.verbs:
        note("delete", client.delete(copied))
    client.keep_password(WRONG)
    note(f"pull, {WRONG_PASSWORD}", client.pull(app))
    token = stage.refresh_token()
    client.keep_identity_token(ALICE[0], token)
    note(f"pull, {IDENTITY}", client.pull(app))
    if "copy" in kind.verbs:
        # Of one that has no copy yet, so that there is one place to mount from.
        other = f"{kind.name}/other"
        client.make(other)
        client.push(other)
        stage.recorder.take()
        note(f"copy, {IDENTITY}", client.copy(other, f"{other}-copy"))
    stage.end(token)
    note(f"pull, {ENDED_LOGIN}", client.pull(app))
    return recorded


def _told(requests: list[Request], own: str) -> str:
    counted = Counter(_request(request, own) for request in requests)
    told = [f"{times} × {text}" if times > 1 else text for text, times in counted.items()]
    return "<br>".join(told) or "none"


def _request(request: Request, own: str) -> str:
    given = [(k, v) for k, v in request.parameters if (k, v) != ("service", "registry")]
    if len(given) + 1 != len(request.parameters):
        given.append(("service", "none or several"))
    told = "&".join(sorted(f"{k}={_value(k, v, own)}" for k, v in given))
    path = "" if request.path == "/token" else f" {request.path}"
    length = request.length.replace("Content-Length", "")
    status = str(request.status) if request.status != 200 else ""
    line = f"`{request.method}{path} {told}".rstrip() + "`"
    return ", ".join(filter(None, [line, request.scheme, length, status]))


def _value(parameter: str, value: str, own: str) -> str:
    if parameter == "scope":
        return " ".join(sorted(_scope(text, own) for text in value.split(" ")))
    return re.sub(r"\bv\d+[.\d]*", "v…", value)


def _scope(text: str, own: str) -> str:
    head, _, actions = text.rpartition(":")
    ordered = ",".join(sorted(actions.split(","), key=ACTIONS.index))
    return f"{head}:{ordered}".replace(f":{own}", ":team/")


def page(recordings: Iterable[Recording]) -> str:
    """Return the documentation of what was recorded."""
    recordings = list(recordings)
    lines = [f"{line}\n" for recorded in recordings for line in recorded.lines()]
    versions = ", ".join(f"{recorded.kind.name} {recorded.version}" for recorded in recordings)
    return "".join([HEAD, *lines, VERSIONS, versions, ".\n"])


def main() -> None:
    """Record every client and write the page."""
    recordings = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as made, stage(Path(made)) as on:
        for kind in CLIENTS:
            with ready(kind, on.host, Path(made) / kind.name) as client:
                recordings.append(record(client, on))
                print(json.dumps({kind.name: recordings[-1].version}), file=sys.stderr)
    PAGE.write_text(page(recordings))


if __name__ == "__main__":
    main()
