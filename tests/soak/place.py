"""What runs: PostgreSQL, Redis, three servers and nginx in front of them."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import postgres, programs
from tests.e2e.lab import PASSWORD
from tests.e2e.redis_server import redis
from tests.e2e.replicas import STARTS, Replica, machines
from tests.postgres import Cluster
from tests.programs import Process, free_port, running, which
from tests.soak.facts import Reach
from tests.world import wait_until

ROOT = Path(__file__).parents[2]
DATABASE = "soak"
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
"""An acknowledged change is to outlive PostgreSQL's own crash."""

BCRYPT_COST = "12"
USERS = ("alice", "bob", "carol", "dave", "erin")


@dataclass
class Place:
    """The programs, and what can be done to them."""

    url: str
    replicas: list[Replica]
    cluster: Cluster
    reach: Reach
    redis: Process
    _postgresql: Process | None = None
    _database: ExitStack = field(default_factory=ExitStack)
    _servers: dict[int, ExitStack] = field(default_factory=dict)

    def start_database(self) -> None:
        """Start PostgreSQL; it answers afterwards."""
        running = postgres.running(self.cluster, **DURABLE)
        self._postgresql = self._database.enter_context(running)
        if self.reach.outages:
            self.reach.regain()

    def stop_database(self, with_signal: signal.Signals) -> None:
        """Stop PostgreSQL: SIGINT cuts who is connected, SIGQUIT is as a crash."""
        assert self._postgresql is not None
        self.cluster.disconnect()
        self.reach.lose()
        self._postgresql.stop(with_signal)
        self._database.close()

    def start_replicas(self) -> None:
        """Start all servers at once."""
        with ThreadPoolExecutor(len(self.replicas)) as pool:
            list(pool.map(self.start_replica, range(len(self.replicas))))

    def start_replica(self, number: int) -> None:
        """Start a server; it is ready afterwards."""
        replica, stack = self.replicas[number], ExitStack()
        replica.process = stack.enter_context(replica.authserver.serving(replica.port, *STARTS))
        self._servers[number] = stack

    def kill_replica(self, number: int) -> None:
        """Kill a server with all its processes, as if its machine had gone."""
        process = self.replicas[number].process
        assert process is not None
        for pid in (process.inner.pid, *process.workers):
            os.kill(pid, signal.SIGKILL)
        self._servers.pop(number).close()

    def stop(self) -> None:
        """Stop the servers in good order, then PostgreSQL."""
        self.stop_replicas()
        self.cluster.disconnect()
        self._database.close()

    def stop_replicas(self) -> None:
        """Stop the servers in good order: what they still hold they write."""
        for stack in self._servers.values():
            stack.close()
        self._servers.clear()

    def all_ready(self) -> bool:
        """Whether each server says that all is well."""
        return {replica.ready() for replica in self.replicas} == {(200, "ok")}


@contextmanager
def place() -> Iterator[Place]:
    """Run everything until the block ends; all of it is stopped by its own process id."""
    programs.require("nginx", "redis-server")
    with (
        tempfile.TemporaryDirectory(prefix="authserver-soak-") as directory,
        postgres.stopped_cluster() as cluster,
        redis(Path(directory)) as (redis_url, redis_process),
    ):
        here, port = Path(directory), free_port()
        here.chmod(0o755)
        url = cluster.url(DATABASE, by_tcp=True).render_as_string(hide_password=False)
        replicas = machines(here, url)
        for replica in replicas:
            replica.authserver.env |= {
                "AUTHSERVER_PUBLIC_URL": f"http://127.0.0.1:{port}",
                "AUTHSERVER_TRUSTED_PROXIES": "127.0.0.1/32",
                "AUTHSERVER_LIMITS_URL": redis_url,
                "AUTHSERVER_BCRYPT_COST": BCRYPT_COST,
            }
        made = Place(f"http://127.0.0.1:{port}", replicas, cluster, Reach(), redis_process)
        try:
            made.start_database()
            cluster.create(DATABASE)
            made.start_replicas()
            for user in USERS:
                replicas[0].authserver.run(
                    "user", "add", user, "--password-stdin", stdin=f"{PASSWORD}\n"
                )
            with _nginx(here, port, replicas):
                assert wait_until(made.all_ready, 10)
                yield made
        finally:
            made.stop()


def advised() -> tuple[str, str]:
    """Return what docs/postgresql.md says of the servers, and of the location of the tokens."""
    page = (ROOT / "docs" / "postgresql.md").read_text()
    servers = set(re.findall(r"server [0-9.:]+ (.*);", page))
    location = re.search(r"location = /token \{([^}]*)\}", page)
    assert len(servers) == 1, servers
    assert location is not None
    return servers.pop(), " ".join(location[1].split())


@contextmanager
def _nginx(here: Path, port: int, replicas: list[Replica]) -> Iterator[Process]:
    parameters, location = advised()
    servers = "".join(f"server 127.0.0.1:{replica.port} {parameters}; " for replica in replicas)
    temp = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {here}/nginx-{name}; " for name in temp)
    (here / "nginx.conf").write_text(
        f"daemon off; pid {here}/nginx.pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths}\n"
        f"upstream authserver {{ {servers} keepalive 16; }}\n"
        f"server {{ listen 127.0.0.1:{port}; proxy_http_version 1.1;\n"
        'proxy_set_header Connection ""; proxy_set_header Host $http_host;\n'
        "proxy_set_header X-Forwarded-For $remote_addr;\n"
        f"location = /token {{ {location} }}\n"
        "location / { proxy_pass http://authserver; } } }\n"
    )
    nginx = [str(which("nginx")), "-p", str(here), "-c", str(here / "nginx.conf")]
    url = f"http://127.0.0.1:{port}/readyz"
    with running(nginx, url, here / "nginx.log") as process:
        yield process
