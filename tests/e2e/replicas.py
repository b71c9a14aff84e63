"""Servers over one database, each with a data directory of its own, as on a machine of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import jwt

from authserver.keys.master_key import make_master_key
from tests.e2e.fetching import Answer, ask_for_token, fetch
from tests.e2e.lab import ADMIN, PASSWORD
from tests.programs import Authserver, Process, free_port

REPLICAS = 3
STARTS = ("--workers", "1", "--init", "--upgrade")
SCOPE = "repository:team/app:pull,push"


@dataclass
class Replica:
    """One server with a data directory of its own, as on a machine of its own."""

    authserver: Authserver
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, name: str, password: str = PASSWORD) -> Answer:
        return ask_for_token(f"{self.url}/token", SCOPE, auth=(name, password))

    def granted(self, name: str) -> str:
        answer = self.ask(name)
        assert answer.status == 200, answer.body
        access = jwt.decode(answer.json()["token"], options={"verify_signature": False})["access"]
        return ",".join(action for entry in access for action in entry["actions"])

    def ready(self) -> tuple[int, str]:
        answer = fetch(f"{self.url}/readyz")
        return answer.status, answer.json()["status"]

    def says(self, text: str) -> bool:
        """Whether the server's log has that text."""
        assert self.process is not None
        return text in self.process.output()


def machines(place: Path, url: str) -> list[Replica]:
    """Return servers that do not run yet; only the master key and the URL are common to them."""
    make_master_key(place / "master.key")
    for name, secret in {"url": url, "password": ADMIN[1]}.items():
        (place / name).write_text(secret)
    env = {
        "AUTHSERVER_DATABASE_URL_FILE": str(place / "url"),
        "AUTHSERVER_MASTER_KEY_FILE": str(place / "master.key"),
        "AUTHSERVER_ADMIN_PASSWORD_FILE": str(place / "password"),
    }
    made = [Replica(Authserver(place / f"machine-{n}" / "data", {**env})) for n in range(REPLICAS)]
    for replica in made:
        replica.authserver.data_dir.parent.mkdir()
    return made
