"""The programs that people push and pull with, each by its own verbs."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest

from tests.e2e.images import Image
from tests.programs import RECORDED, clean_environ, require, running, which

Done = subprocess.CompletedProcess[str]
Login = tuple[str, str]
"""A name and a password."""

FOREIGN = ("DOCKER_", "REGISTRY_", "CONTAINERD_", "HELM_", "REGCTL_", "XDG_")


class Client:
    """A client with a place of its own; ``host`` is how it names the registry."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    version: ClassVar[tuple[str, ...]]
    """The command that tells its version."""
    verbs: ClassVar[tuple[str, ...]] = ("login", "push", "pull", "copy", "delete")
    says_unauthorized: ClassVar[str]
    """What it says to a wrong password."""
    tries: ClassVar[int] = 1
    """How often it shows a wrong password."""
    login_asks: ClassVar[bool] = True
    """Whether its login asks us; otherwise it only stores."""

    def __init__(self, host: str, home: Path) -> None:
        self.host, self.home = host, home
        self.config = home / "docker" / "config.json"
        self.config.parent.mkdir(parents=True)
        self.environ = {k: v for k, v in clean_environ().items() if not k.startswith(FOREIGN)} | {
            "HOME": str(home),
            "DOCKER_CONFIG": str(self.config.parent),
            "REGISTRY_AUTH_FILE": str(self.config),
            "HELM_REGISTRY_CONFIG": str(self.config),
        }
        self._made = 0

    def run(self, *command: str, stdin: str = "", check: bool = False) -> Done:
        done = subprocess.run(
            command,
            input=stdin,
            env=self.environ,
            cwd=self.home,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def reference(self, name: str) -> str:
        return f"{self.host}/{name}:1"

    # What it goes by

    def keep_password(self, login: Login) -> None:
        """Store a password or an app token as `docker login` does without refresh tokens."""
        self._keep({"auth": base64.b64encode(":".join(login).encode()).decode()})

    def keep_identity_token(self, user: str, token: str) -> None:
        """Store a refresh token as `docker login` does."""
        auth = base64.b64encode(f"{user}:".encode()).decode()
        self._keep({"auth": auth, "identitytoken": token})

    def forget(self) -> None:
        self.config.unlink(missing_ok=True)

    def stored(self) -> dict[str, str]:
        """Return what it stored for the registry."""
        auths = json.loads(self.config.read_text())["auths"]
        found: dict[str, str] = auths[self.host]
        return found

    def _keep(self, entry: dict[str, str]) -> None:
        self.forget()
        self.config.write_text(json.dumps({"auths": {self.host: entry}}))

    # What it does. Names are of repositories; the tag is 1.

    def login(self, login: Login) -> Done:
        raise NotImplementedError

    def make(self, name: str) -> None:
        """Make an image that nobody has seen, to be pushed under ``name``."""
        raise NotImplementedError

    def push(self, name: str) -> Done:
        raise NotImplementedError

    def pull(self, name: str) -> Done:
        raise NotImplementedError

    def copy(self, name: str, other: str) -> Done:
        raise NotImplementedError

    def delete(self, name: str) -> Done:
        raise NotImplementedError

    def _new(self, suffix: str = "") -> Path:
        self._made += 1
        return self.home / f"{self._made}{suffix}"

    def _image(self, target: str) -> None:
        """Write a new image in another form of skopeo's."""
        origin = str(Image(self._new()))
        self.run("skopeo", "--insecure-policy", "copy", origin, target, check=True)

    def _archive(self, name: str) -> str:
        archive = self._new(".tar")
        self._image(f"docker-archive:{archive}:{self.reference(name)}")
        return str(archive)


class _WithStore(Client):
    """A client that keeps images and copies by a second name for one of them."""

    verbs: ClassVar[tuple[str, ...]] = ("login", "push", "pull", "copy")
    plain: ClassVar[tuple[str, ...]] = ()
    """How it is told that the registry has no TLS."""

    def client(self, *args: str, stdin: str = "", check: bool = False) -> Done:
        raise NotImplementedError

    def login(self, login: Login) -> Done:
        user, password = login
        return self.client(
            "login", *self.plain, "-u", user, "--password-stdin", self.host, stdin=password
        )

    def push(self, name: str) -> Done:
        return self.client("push", *self.plain, self.reference(name))

    def pull(self, name: str) -> Done:
        self.client("rmi", "-f", self.reference(name))
        return self.client("pull", *self.plain, self.reference(name))

    def copy(self, name: str, other: str) -> Done:
        self.client("tag", self.reference(name), self.reference(other), check=True)
        return self.push(other)


class Docker(_WithStore):
    name = "docker"
    programs: ClassVar[tuple[str, ...]] = ("docker", "dockerd", "containerd", "runc", "skopeo")
    version = ("dockerd", "--version")
    says_unauthorized = "unauthorized: incorrect user name or password"

    def client(self, *args: str, stdin: str = "", check: bool = False) -> Done:
        return self.run(self.programs[0], *args, stdin=stdin, check=check)

    def make(self, name: str) -> None:
        self.client("load", "-i", self._archive(name), check=True)


class Docker29(Docker):
    """The engine is of version 29, with images in containerd, as it keeps them by default.

    Since then the engine asks for tokens as containerd does, but for ``login``.
    """

    name = "docker-29"
    programs: ClassVar[tuple[str, ...]] = (
        "docker-29", "dockerd-29", "containerd-2.4.2", "runc", "skopeo",
    )  # fmt: skip
    version = ("docker-29", "--version")


class Podman(_WithStore):
    name = "podman"
    programs: ClassVar[tuple[str, ...]] = ("podman", "runc", "skopeo")
    version = ("podman", "--version")
    says_unauthorized = "invalid username/password"
    plain = ("--tls-verify=false",)
    run_root = ""

    def __init__(self, host: str, home: Path) -> None:
        super().__init__(host, home)
        # New ones want to find netavark, though they use it for containers only.
        (home / "netavark").symlink_to("/bin/true")
        config = home / "containers.conf"
        config.write_text(f"[engine]\nhelper_binaries_dir = [{json.dumps(str(home))}]\n")
        self.environ["CONTAINERS_CONF"] = str(config)

    def client(self, *args: str, stdin: str = "", check: bool = False) -> Done:
        where = ("--root", str(self.home / "store"), "--runroot", self.run_root)
        return self.run(
            self.programs[0], *where, "--storage-driver", "vfs", *args, stdin=stdin, check=check
        )

    def make(self, name: str) -> None:
        self.client("load", "-i", self._archive(name), check=True)


class Podman5(Podman):
    name = "podman-5"
    programs: ClassVar[tuple[str, ...]] = ("podman-5.8.0", "runc", "skopeo")
    version = ("podman-5.8.0", "--version")


class Buildah(Podman):
    name = "buildah"
    programs: ClassVar[tuple[str, ...]] = ("buildah", "skopeo")
    version = ("buildah", "--version")

    def make(self, name: str) -> None:
        self.client("pull", f"docker-archive:{self._archive(name)}", check=True)

    def pull(self, name: str) -> Done:
        self.client("rmi", "-f", self.reference(name))
        return self.client("pull", "--policy", "always", *self.plain, self.reference(name))


class Buildah142(Buildah):
    name = "buildah-1.42"
    programs: ClassVar[tuple[str, ...]] = ("buildah-1.42.0", "skopeo")
    version = ("buildah-1.42.0", "--version")


class Ctr(_WithStore):
    name = "ctr"
    login_asks = False
    programs: ClassVar[tuple[str, ...]] = ("ctr", "containerd", "skopeo")
    version = ("ctr", "--version")
    verbs = ("push", "pull", "copy")
    says_unauthorized = "401 Unauthorized"
    # By POST, and again by GET.
    tries = 2
    socket = ""
    _credentials: tuple[str, ...] = ()

    def keep_password(self, login: Login) -> None:
        self._credentials = ("--user", ":".join(login))

    def keep_identity_token(self, user: str, token: str) -> None:  # noqa: ARG002
        self._credentials = ("--refresh", token)

    def forget(self) -> None:
        self._credentials = ()

    def client(self, *args: str, stdin: str = "", check: bool = False) -> Done:
        command = (self.programs[0], "--address", self.socket, "images", *args)
        return self.run(*command, stdin=stdin, check=check)

    def make(self, name: str) -> None:
        self.client("import", self._archive(name), check=True)

    def push(self, name: str) -> Done:
        return self.client("push", "--plain-http", *self._credentials, self.reference(name))

    def pull(self, name: str) -> Done:
        self.client("rm", "--sync", self.reference(name))
        return self.client("pull", "--plain-http", *self._credentials, self.reference(name))


class Ctr2(Ctr):
    """The engine asks for tokens itself: the command only shows it the credentials."""

    name = "ctr-2"
    programs: ClassVar[tuple[str, ...]] = ("ctr-2.4.2", "containerd-2.4.2", "skopeo")
    version = ("ctr-2.4.2", "--version")


class Skopeo(Client):
    name = "skopeo"
    programs = ("skopeo",)
    version = ("skopeo", "--version")
    says_unauthorized = "invalid username/password"

    def login(self, login: Login) -> Done:
        user, password = login
        options = ("--tls-verify=false", "-u", user, "--password-stdin")
        return self.run("skopeo", "login", *options, self.host, stdin=password)

    def make(self, name: str) -> None:  # noqa: ARG002
        self._origin = str(Image(self._new()))

    def push(self, name: str) -> Done:
        return self._copy(self._origin, f"docker://{self.reference(name)}")

    def pull(self, name: str) -> Done:
        return self._copy(f"docker://{self.reference(name)}", f"dir:{self._new()}")

    def copy(self, name: str, other: str) -> Done:
        return self._copy(f"docker://{self.reference(name)}", f"docker://{self.reference(other)}")

    def delete(self, name: str) -> Done:
        return self.run(
            "skopeo", "delete", "--tls-verify=false", f"docker://{self.reference(name)}"
        )

    def _copy(self, origin: str, target: str) -> Done:
        plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
        return self.run("skopeo", "--insecure-policy", "copy", *plain, origin, target)


class Crane(Client):
    name = "crane"
    login_asks = False
    programs = ("crane", "skopeo")
    version = ("crane", "version")
    says_unauthorized = "UNAUTHORIZED: incorrect user name or password"

    def login(self, login: Login) -> Done:
        user, password = login
        options = ("-u", user, "--password-stdin")
        return self.run("crane", "auth", "login", self.host, *options, stdin=password)

    def make(self, name: str) -> None:
        self._origin = self._archive(name)

    def push(self, name: str) -> Done:
        return self.run("crane", "push", self._origin, self.reference(name))

    def pull(self, name: str) -> Done:
        return self.run("crane", "pull", self.reference(name), str(self._new(".tar")))

    def copy(self, name: str, other: str) -> Done:
        done = self.run("crane", "copy", self.reference(name), self.reference(other))
        self._digest = self.run("crane", "digest", "--tarball", self._origin, check=True).stdout
        return done

    def delete(self, name: str) -> Done:
        # A registry takes a digest only, and crane does not look it up.
        return self.run("crane", "delete", f"{self.host}/{name}@{self._digest.strip()}")


class Oras(Client):
    name = "oras"
    programs = ("oras",)
    version = ("oras", "version")
    says_unauthorized = "incorrect user name or password"

    def login(self, login: Login) -> Done:
        user, password = login
        options = ("--plain-http", "-u", user, "--password-stdin")
        return self.run("oras", "login", *options, self.host, stdin=password)

    def make(self, name: str) -> None:  # noqa: ARG002
        self._file = self._new(".bin")
        self._file.write_bytes(os.urandom(64))

    def push(self, name: str) -> Done:
        return self.run("oras", "push", "--plain-http", self.reference(name), self._file.name)

    def pull(self, name: str) -> Done:
        target = str(self._new())
        return self.run("oras", "pull", "--plain-http", "-o", target, self.reference(name))

    def copy(self, name: str, other: str) -> Done:
        plain = ("--from-plain-http", "--to-plain-http")
        return self.run("oras", "cp", *plain, self.reference(name), self.reference(other))

    def delete(self, name: str) -> Done:
        plain = ("--plain-http", "--force")
        return self.run("oras", "manifest", "delete", *plain, self.reference(name))


class Regctl(Client):
    name = "regctl"
    programs = ("regctl", "skopeo")
    version = ("regctl", "version", "--format", "{{.VCSTag}}")
    says_unauthorized = "unauthorized"

    def forget(self) -> None:
        super().forget()
        (self.home / ".regctl" / "config.json").unlink(missing_ok=True)

    def login(self, login: Login) -> Done:
        user, password = login
        return self._regctl(
            "registry", "login", self.host, "-u", user, "--pass-stdin", stdin=password
        )

    def make(self, name: str) -> None:  # noqa: ARG002
        layout = self._new()
        self._image(f"oci:{layout}:1")
        self._origin = f"ocidir://{layout}:1"

    def push(self, name: str) -> Done:
        return self._regctl("image", "copy", self._origin, self.reference(name))

    def pull(self, name: str) -> Done:
        return self._regctl("image", "export", self.reference(name), str(self._new(".tar")))

    def copy(self, name: str, other: str) -> Done:
        return self._regctl("image", "copy", self.reference(name), self.reference(other))

    def delete(self, name: str) -> Done:
        dereference = "--force-tag-dereference"
        return self._regctl("image", "delete", dereference, self.reference(name))

    def _regctl(self, *args: str, stdin: str = "") -> Done:
        return self.run("regctl", "--host", f"reg={self.host},tls=disabled", *args, stdin=stdin)


class Helm(Client):
    """Charts have a version where images have a tag, and their own last part of the name."""

    name = "helm"
    programs = ("helm",)
    version = ("helm", "version", "--short")
    verbs = ("login", "push", "pull")
    says_unauthorized = "incorrect user name or password"
    # By POST, and again by GET.
    tries = 2

    def login(self, login: Login) -> Done:
        user, password = login
        options = ("--plain-http", "-u", user, "--password-stdin")
        return self.run("helm", "registry", "login", *options, self.host, stdin=password)

    def make(self, name: str) -> None:
        chart = self._new()
        chart.mkdir()
        written = {"apiVersion": "v2", "name": Path(name).name, "version": "1.0.0"}
        (chart / "Chart.yaml").write_text(
            json.dumps(written | {"description": os.urandom(8).hex()})
        )
        self.run("helm", "package", str(chart), check=True)

    def push(self, name: str) -> Done:
        parent, chart = Path(name).parent, Path(name).name
        target = f"oci://{self.host}/{parent}"
        return self.run("helm", "push", "--plain-http", f"{chart}-1.0.0.tgz", target)

    def pull(self, name: str) -> Done:
        options = ("--plain-http", "--version", "1.0.0", "-d", str(self.home / "pulled"))
        (self.home / "pulled").mkdir(exist_ok=True)
        return self.run("helm", "pull", *options, f"oci://{self.host}/{name}")


CLIENTS: tuple[type[Client], ...] = (
    Docker, Docker29, Ctr, Ctr2, Podman, Podman5, Buildah, Buildah142, Skopeo,
    Crane, Oras, Regctl, Helm,
)  # fmt: skip


def at_hand() -> list[type[Client]]:
    """Return the clients that tests run: those of `make record-deps` only where they are."""
    return [kind for kind in CLIENTS if all(map(which, RECORDED.intersection(kind.programs)))]


@contextmanager
def ready(kind: type[Client], host: str, home: Path) -> Iterator[Client]:
    """Give a client that can work; what it works with runs until the block ends."""
    require(*kind.programs)
    client = kind(host, home)
    with _supported(client):
        yield client


@contextmanager
def _supported(client: Client) -> Iterator[None]:
    match client:
        case Docker29():
            _, engine, program, *_ = client.programs
            with (
                containerd(client.home / "containerd", program) as images,
                docker_engine(client.home / "engine", engine, f"--containerd={images}") as socket,
            ):
                client.environ["DOCKER_HOST"] = socket
                yield
        case Docker():
            with docker_engine(client.home / "engine") as socket:
                client.environ["DOCKER_HOST"] = socket
                yield
        case Ctr():
            with containerd(client.home / "containerd", client.programs[1]) as client.socket:
                yield
        case Podman():
            _require_root()
            # Podman takes at most 50 characters there.
            with TemporaryDirectory(prefix="podman-") as client.run_root:
                yield
        case _:
            yield


@contextmanager
def docker_engine(
    place: Path, program: str = "dockerd", option: str = "--storage-driver=overlay2"
) -> Iterator[str]:
    """Run a Docker engine of our own, without a bridge; give its socket."""
    # Docker's engine runs the other two.
    require(program, "containerd", "runc")
    _require_root()
    place.mkdir()
    # A path to a socket has at most 107 characters.
    with TemporaryDirectory(prefix="engine-") as short:
        socket = f"unix://{short}/s"
        command = [
            str(which(program)), option, "--iptables=false", "--ip6tables=false", "--bridge=none",
            "--data-root", str(place / "data"),
            "--exec-root", f"{short}/exec", "--pidfile", str(place / "pid"), "-H", socket,
        ]  # fmt: skip
        with running(command, socket, place / "log", clean_environ()):
            yield socket


@contextmanager
def containerd(place: Path, program: str = "containerd") -> Iterator[str]:
    """Run a containerd of our own; give its socket."""
    require(program)
    _require_root()
    place.mkdir()
    with TemporaryDirectory(prefix="containerd-") as short:
        socket = f"{short}/s"
        settings = {
            "version": 2,
            "root": str(place / "root"),
            "state": f"{short}/state",
            "disabled_plugins": ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"],
        }
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        config = place / "config.toml"
        config.write_text("\n".join([*lines, "[grpc]", f"address = {json.dumps(socket)}", ""]))
        command = [str(which(program)), "--config", str(config)]
        with running(command, f"unix://{socket}", place / "log", clean_environ()):
            yield socket


def _require_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("an engine needs root")
