"""Registries that are set up wrong on purpose, and what the doctor says of them."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.cli.commands import Commands
from tests.e2e.images import Image
from tests.programs import Authserver, free_port, require, running, which

Options = dict[str, Any]


@dataclass(frozen=True)
class Diagnosis:
    """What `registry check --json` printed."""

    status: int
    report: dict[str, Any]

    @property
    def failed(self) -> dict[str, str]:
        """The checks that failed, each with its why and its cure."""
        return {
            finding["check"]: f"{finding['why']} → {finding['cure']}"
            for finding in self.report["findings"]
            if finding["status"] == "failed"
        }

    def of(self, check: str) -> str:
        """Return the status of a check, and empty if it was not come to."""
        found = [f["status"] for f in self.report["findings"] if f["check"] == check]
        return str(found[0]) if found else ""


@dataclass
class Pairing:
    """An installation of ours that is served, and a directory for registries beside it."""

    authserver: Authserver
    place: Path
    section: Options = field(default_factory=dict)

    def options(self, **changes: object) -> Options:
        """Return the token section that we print, with changes; None takes an option away."""
        changed = self.section | changes
        return {name: value for name, value in changed.items() if value is not None}

    @contextmanager
    def registry(
        self,
        program: str,
        auth: Mapping[str, object] | None,
        *,
        http: Options | None = None,
        delete: bool = True,
        tls: tuple[Path, Path] | None = None,
    ) -> Iterator[str]:
        """Run a registry with an ``auth`` section; give its URL as clients write it."""
        require(program)
        port = free_port()
        config = self.config(auth, port, http=http, delete=delete, tls=tls)
        scheme = "https" if tls else "http"
        environ = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
        url = f"{scheme}://127.0.0.1:{port}/v2/"
        log = self.place / "registry.log"
        command = [program, "serve", str(config)]
        with running(command, url, log, environ, certificate=tls[0] if tls else None):
            yield f"{scheme}://localhost:{port}"

    def config(
        self,
        auth: Mapping[str, object] | None,
        port: int = 5000,
        *,
        http: Options | None = None,
        delete: bool = True,
        tls: tuple[Path, Path] | None = None,
    ) -> Path:
        """Write a registry's config.yml."""
        listening: Options = {"addr": f"127.0.0.1:{port}", "relativeurls": True, "secret": "x"}
        if tls:
            listening["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        storage = {"filesystem": {"rootdirectory": str(self.place / "storage")}}
        document = {
            "version": 0.1,
            "storage": storage | {"delete": {"enabled": delete}},
            "http": listening | (http or {}),
        }
        path = self.place / "config.yml"
        # JSON is YAML.
        path.write_text(json.dumps(document | ({"auth": auth} if auth else {})))
        return path

    def check(
        self, url: str, *args: str | Path, stdin: str | None = None, **environ: str
    ) -> Diagnosis:
        """Examine a registry through the command line."""
        called = Commands(self.authserver.data_dir, {**self.authserver.env, **environ})
        command = ("registry", "check", "registry", "--url", url, "--json")
        done = called.result(*command, *args, stdin=stdin)
        assert done.stdout, done.stderr
        return Diagnosis(done.exit_code, json.loads(done.stdout))

    def push(self, url: str, reference: str, who: tuple[str, str]) -> None:
        """Have skopeo push an image."""
        require("skopeo")
        image = Image(self.place / "image")
        target = f"docker://{urlsplit(url).netloc}/{reference}"
        options = ("--dest-tls-verify=false", f"--dest-creds={who[0]}:{who[1]}")
        command = ["skopeo", "--insecure-policy", "copy", *options, str(image), target]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def stored(self) -> set[tuple[Path, bytes]]:
        """Return every file that the registry keeps, with what is in it."""
        files = (path for path in (self.place / "storage").rglob("*") if path.is_file())
        return {(path, path.read_bytes()) for path in files}

    @property
    def walked(self) -> Sequence[str | Path]:
        """The arguments that have the registry's configuration read."""
        return ("--config", self.place / "config.yml")


@contextmanager
def proxied(place: Path, url: str, *directives: str) -> Iterator[str]:
    """Run nginx in front of a registry, with directives of its own; give its URL."""
    require("nginx")
    port = free_port()
    temp = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {place}/nginx-{name};" for name in temp)
    location = f"location / {{ proxy_pass {url.replace('localhost', '127.0.0.1')}; "
    (place / "nginx.conf").write_text(
        f"daemon off; pid {place}/nginx.pid; error_log stderr; events {{}}"
        f"http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; "
        f"{location} proxy_redirect off; {' '.join(directives)} }} }} }}"
    )
    nginx = [str(which("nginx")), "-p", str(place), "-c", str(place / "nginx.conf")]
    with running(nginx, f"http://127.0.0.1:{port}/v2/", place / "nginx.log"):
        yield f"http://localhost:{port}"


def certificate(place: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost and its key."""
    require("openssl")
    key, cert = place / "tls-key.pem", place / "tls.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*request, *names, *files], check=True, capture_output=True)
    ssl.create_default_context(cafile=cert)
    return cert, key
