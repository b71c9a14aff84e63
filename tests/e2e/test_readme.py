"""The registry of the README, as it stands there but for the places of this machine."""

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e.fetching import ask_for_token, fetch
from tests.e2e.lab import ADMIN, installation
from tests.programs import free_port, require, running

pytestmark = pytest.mark.e2e

README = Path(__file__).parents[2] / "README.md"


def config(**places: str) -> str:
    """Return the README's config.yml with the places of this machine in it."""
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    for shipped, here in {
        "/var/lib/registry": places["storage"],
        "localhost:5000": places["host"],
        "http://localhost:5001/token": places["realm"],
        "/etc/docker/registry/authserver-bundle.pem": places["bundle"],
    }.items():
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    return str(text)


@pytest.mark.parametrize("program", ["docker-registry", "registry-3.1.1"])
def test_the_registry_of_the_readme_takes_our_tokens(program: str, tmp_path: Path) -> None:
    require(program)
    port, host = free_port(), f"localhost:{free_port()}"
    authserver = installation(tmp_path / "data", port, AUTHSERVER_REGISTRY="main")
    section = authserver.run("registry", "config", "main", "--output-dir", str(tmp_path))
    realm, bundle = f"http://localhost:{port}/token", str(tmp_path / "authserver-bundle.pem")
    text = config(storage=str(tmp_path / "storage"), host=host, realm=realm, bundle=bundle)
    assert yaml.safe_load(text)["auth"] == yaml.safe_load(section.stdout)["auth"]
    (tmp_path / "config.yml").write_text(text)
    command, url = [program, "serve", str(tmp_path / "config.yml")], f"http://{host}/v2/"
    with (
        authserver.serving(port, "--workers", "1"),
        running(command, url, tmp_path / "registry.log"),
    ):
        refused = fetch(url)
        assert refused.status == 401
        assert f'realm="{realm}",service="main"' in refused.headers["WWW-Authenticate"]
        token = ask_for_token(realm, auth=ADMIN, service="main").json()["token"]
        assert fetch(url, headers={"Authorization": f"Bearer {token}"}).status == 200
