"""A real registry beside our server, and the real clients that use both."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authserver.keys.compatibility import Version
from tests.e2e.fetching import Answer, ask_for_token, fetch
from tests.e2e.images import MANIFEST, Image, digest
from tests.programs import Authserver, Process, free_port, require, running

Who = tuple[str, str] | None
"""A name and a password; None is anonymous."""

Done = subprocess.CompletedProcess[str]

PROGRAMS = {
    Version.V2_8: "docker-registry",
    Version.V3_0: "registry-3.0.0",
    Version.V3_1: "registry-3.1.1",
}
"""The registry of each version."""

KNOWN_GRANIAN = (sys.executable, "-m", "authserver")
OTHER_GRANIAN = (sys.executable, str(Path(__file__).with_name("other_granian.py")))
"""Serve with Granian's private parts, and without."""

ADMIN = ("admin", "correct: horse")
PASSWORD = "battery staple"

_CONFIG = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: {storage}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
  relativeurls: true
  secret: of no use to a single registry
"""


def installation(
    data_dir: Path, port: int, program: Sequence[str] = KNOWN_GRANIAN, **more: str
) -> Authserver:
    """Set up an installation of ours that will be served on ``port``, by ``program``."""
    place = {"AUTHSERVER_PUBLIC_URL": f"http://localhost:{port}"}
    made = Authserver(data_dir, place | more, program)
    made.run("init", "--admin", ADMIN[0], "--admin-password-stdin", stdin=f"{ADMIN[1]}\n")
    return made


def account(user: str) -> tuple[str, str]:
    """Return the name and the password of one of the lab's users."""
    return user, PASSWORD


@dataclass(frozen=True)
class Registry:
    """A registry that runs; ``host`` is how clients name it."""

    host: str
    storage: Path
    process: Process

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        token: str | None = None,
        body: bytes | None = None,
        accept: str = MANIFEST,
    ) -> Answer:
        """Send one request to the registry's API, with a registry token or without."""
        headers = {"Accept": accept, "Content-Type": accept}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return fetch(self.url(path), method, headers=headers, body=body)

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def stored(self) -> set[Path]:
        """Return every file and directory that the registry keeps."""
        return {path.relative_to(self.storage) for path in self.storage.rglob("*")}

    def push(self, repository: str, tag: str, image: Image, token: str) -> Answer:
        """Push by hand, for names that clients do not take; return the manifest's answer."""
        for blob in (image.layer, image.config):
            begun = self.ask(f"/v2/{repository}/blobs/uploads/", "POST", token=token, body=b"")
            if begun.status != 202:
                return begun
            place = begun.headers["Location"].removeprefix(self.url(""))
            put = f"{place}&digest={digest(blob)}"
            done = self.ask(put, "PUT", token=token, body=blob, accept="application/octet-stream")
            assert done.status == 201, done.body
        manifest = f"/v2/{repository}/manifests/{tag}"
        return self.ask(manifest, "PUT", token=token, body=image.manifest)


@contextmanager
def serving_registry(
    directory: Path, section: str, program: str = "docker-registry", port: int | None = None
) -> Iterator[Registry]:
    """Run a registry, Debian's unless another is named, with the printed section word for word."""
    require(program)
    port = port or free_port()
    storage, config = directory / "storage", directory / "config.yml"
    config.write_text(_CONFIG.format(storage=storage, port=port) + section)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    command = [program, "serve", str(config)]
    url = f"http://127.0.0.1:{port}/v2/"
    with running(command, url, directory / "registry.log", environ) as process:
        yield Registry(f"localhost:{port}", storage, process)


@dataclass(frozen=True)
class Lab:
    """An installation that is served, and a registry that trusts it."""

    authserver: Authserver
    server: Process
    realm: str
    registry: Registry
    home: Path
    """Where clients keep what they keep."""

    def token(self, *scopes: str, who: Who, service: str = "registry") -> str:
        """Return a registry token, whatever it grants."""
        answer = ask_for_token(self.realm, *scopes, auth=who, service=service)
        assert answer.status == 200, answer.body
        return str(answer.json()["token"])

    def image(self, reference: str) -> str:
        return f"docker://{self.registry.host}/{reference}"

    def skopeo(self, command: str, *args: str) -> Done:
        """Run skopeo, with no credentials but those in ``args``."""
        return self._client("skopeo", "--insecure-policy", command, *args)

    def copy(self, origin: str, target: str, *, read_as: Who = None, write_as: Who = None) -> Done:
        """Copy an image from one place of skopeo's to another."""
        return self.skopeo(
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            _credentials("src-", read_as),
            _credentials("dest-", write_as),
            origin,
            target,
        )

    def push(self, image: Image, reference: str, who: Who) -> None:
        """Copy an image into the registry, which must take it."""
        done = self.copy(str(image), self.image(reference), write_as=who)
        assert done.returncode == 0, done.stderr

    def on(self, command: str, reference: str, who: Who) -> Done:
        """Run a command of skopeo that concerns one image or repository."""
        return self.skopeo(
            command, "--tls-verify=false", _credentials("", who), self.image(reference)
        )

    def docker(self, *args: str, stdin: str = "") -> Done:
        """Run the docker command, for which there is no engine."""
        return self._client("docker", *args, stdin=stdin)

    def _client(self, *command: str, stdin: str = "") -> Done:
        return subprocess.run(
            command,
            input=stdin,
            env=_clients_environ(self.home),
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )


def _credentials(prefix: str, who: Who) -> str:
    return f"--{prefix}creds={who[0]}:{who[1]}" if who else f"--{prefix}no-creds"


def _clients_environ(home: Path) -> dict[str, str]:
    """Return an environment without anybody's logins."""
    foreign = ("DOCKER_", "REGISTRY_", "XDG_", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return kept | {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home / "docker"),
        "DOCKER_HOST": f"unix://{home}/no-engine.sock",
    }
