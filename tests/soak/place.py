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
from tests.e2e.lab import PASSWORD, Done
from tests.e2e.redis_server import redis
from tests.e2e.replicas import STARTS, Replica, machines
from tests.postgres import DURABLE, Cluster
from tests.programs import Process, free_port, running, which
from tests.soak.facts import Reach
from tests.soak.grants import ANSWERED_BY
from tests.soak.route import Route
from tests.world import wait_until

ROOT = Path(__file__).parents[2]
DATABASE = "soak"
BCRYPT_COST = "12"
USERS = ("alice", "bob", "carol", "dave", "erin")


@dataclass
class Place:
    """The programs, and what can be done to them."""

    url: str
    replicas: list[Replica]
    cluster: Cluster
    routes: list[Route]
    """By which each replica reaches PostgreSQL."""
    reaches: list[Reach]
    redis: Process
    _postgresql: Process | None = None
    _database: ExitStack = field(default_factory=ExitStack)
    _servers: dict[int, ExitStack] = field(default_factory=dict)

    def start_database(self) -> None:
        """Start PostgreSQL; it answers afterwards, and all replicas reach it."""
        running = postgres.running(self.cluster, **DURABLE)
        self._postgresql = self._database.enter_context(running)
        for number in range(len(self.replicas)):
            self.connect(number)

    def stop_database(self, with_signal: signal.Signals) -> None:
        """Stop PostgreSQL: SIGINT cuts who is connected, SIGQUIT is as a crash."""
        assert self._postgresql is not None
        self.cluster.disconnect()
        with ExitStack() as losing:
            for reach in self.reaches:
                losing.enter_context(reach.losing())
            self._postgresql.stop(with_signal)
            for route in self.routes:
                route.cut()
        self._database.close()

    def connect(self, number: int) -> None:
        """Have a replica reach PostgreSQL again."""
        with self.reaches[number].returning():
            self.routes[number].open()

    def cut(self, number: int) -> None:
        """Have PostgreSQL refuse a replica."""
        with self.reaches[number].losing():
            self.routes[number].cut()

    def lose_packets(self, number: int) -> None:
        """Have all packets between a replica and PostgreSQL lost."""
        with self.reaches[number].losing():
            self.routes[number].lose_packets()

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
        for route in self.routes:
            route.cut()
        self.cluster.disconnect()
        self._database.close()

    def stop_replicas(self) -> None:
        """Stop the servers in good order: what they still hold they write."""
        for stack in self._servers.values():
            stack.close()
        self._servers.clear()

    def all_ready(self) -> bool:
        """Whether each server says that all is well."""
        return self.statuses() == ["ok"] * len(self.replicas)

    def statuses(self) -> list[str]:
        """Return what each server says of itself."""
        return [
            "gone" if number not in self._servers else replica.ready()[1]
            for number, replica in enumerate(self.replicas)
        ]

    @property
    def reaches_by_address(self) -> dict[str, Reach]:
        """When each server, by its address, could not reach the store."""
        return {
            f"127.0.0.1:{replica.port}": reach
            for replica, reach in zip(self.replicas, self.reaches, strict=True)
        }

    def verify(self) -> Done:
        """Verify the audit records against all second copies."""
        logs = [log for replica in self.replicas for log in audit_logs(replica)]
        against = [part for log in logs for part in ("--against", str(log))]
        return self.replicas[0].authserver.run("audit", "verify", *against, check=False)

    def move_audit_logs(self) -> None:
        """Move each audit log away, as logrotate does."""
        for replica in self.replicas:
            moved = len(audit_logs(replica))
            log = audit_log(replica)
            if log.exists():
                log.rename(log.with_name(f"{log.name}.{moved:04}"))


@contextmanager
def place(max_staleness: int) -> Iterator[Place]:
    """Run everything until the block ends; all of it is stopped by its own process id.

    ``max_staleness`` is for how many seconds servers go on without the store.
    """
    programs.require("nginx", "redis-server")
    with (
        tempfile.TemporaryDirectory(prefix="authserver-soak-") as directory,
        postgres.stopped_cluster() as cluster,
        redis(Path(directory)) as (redis_url, redis_process),
    ):
        here, port = Path(directory), free_port()
        here.chmod(0o755)
        url = f"http://127.0.0.1:{port}"
        common = {
            "AUTHSERVER_PUBLIC_URL": url,
            "AUTHSERVER_TRUSTED_PROXIES": "127.0.0.1/32",
            "AUTHSERVER_LIMITS_URL": redis_url,
            "AUTHSERVER_REQUESTS_PER_ADDRESS": "0",
            "AUTHSERVER_CONNECTIONS_PER_ADDRESS": "0",
            "AUTHSERVER_BCRYPT_COST": BCRYPT_COST,
            "AUTHSERVER_MAX_STALENESS": str(max_staleness),
        }
        replicas = machines(here, cluster.url(DATABASE).render_as_string())
        routes = [_routed(replica, cluster, common) for replica in replicas]
        reaches = [Reach(max_staleness) for _ in replicas]
        made = Place(url, replicas, cluster, routes, reaches, redis_process)
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


def _routed(replica: Replica, cluster: Cluster, common: dict[str, str]) -> Route:
    """Give a replica its own way to PostgreSQL, and files and a port that are its own too."""
    route = Route(cluster.port)
    url = cluster.url(DATABASE, by_tcp=True).set(port=route.port)
    file = replica.authserver.data_dir.parent / "url"
    file.write_text(url.render_as_string(hide_password=False))
    replica.authserver.env |= common | {
        "AUTHSERVER_DATABASE_URL_FILE": str(file),
        "AUTHSERVER_AUDIT_LOG": str(audit_log(replica)),
        "AUTHSERVER_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    return route


def audit_log(replica: Replica) -> Path:
    """Return the second copy of the audit records that a replica writes."""
    return replica.authserver.data_dir.parent / "audit.jsonl"


def audit_logs(replica: Replica) -> list[Path]:
    """Return that copy and those that were moved away, the oldest first."""
    log = audit_log(replica)
    return [*sorted(log.parent.glob(f"{log.name}.*")), *log.parent.glob(log.name)]


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
        f"add_header {ANSWERED_BY} $upstream_addr always;\n"
        f"location = /token {{ {location} }}\n"
        "location / { proxy_pass http://authserver; } } }\n"
    )
    nginx = [str(which("nginx")), "-p", str(here), "-c", str(here / "nginx.conf")]
    url = f"http://127.0.0.1:{port}/readyz"
    with running(nginx, url, here / "nginx.log") as process:
        yield process
