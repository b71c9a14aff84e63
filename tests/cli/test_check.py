"""authserver registry check: usage and output; tests/e2e/test_doctor.py has the registries."""

from pathlib import Path

import pytest

from tests.cli.commands import Commands
from tests.programs import free_port

HERE = "http://127.0.0.1"


@pytest.mark.parametrize(
    ("args", "status", "why"),
    [
        ((), 2, "--url"),
        (("--url", HERE, "--account", "alice"), 2, "--repository"),
        (("--url", HERE, "--password-stdin"), 2, "--account"),
        (("--url", HERE, "--account", "alice", "--repository", "a"), 2, "--password-stdin"),
        (("--url", HERE, "--repository", "A"), 1, "no repository name"),
        (("--url", "registry.example.com"), 1, "like https://"),
        (("--url", "https://u:secret@h"), 1, "user name"),
        (("--url", HERE, "--config", "/nonexistent"), 2, "does not exist"),
    ],
    ids=range(8),
)
def test_wrong_usage_is_said(
    standing: Commands, args: tuple[str, ...], status: int, why: str
) -> None:
    standing("registry", "check", "registry", *args, status=status)
    assert why in standing.err
    assert "secret" not in standing.err


def test_files_go_with_the_configuration_that_names_them(
    standing: Commands, tmp_path: Path
) -> None:
    standing("registry", "check", "registry", "--url", HERE, "--bundle", __file__, status=2)
    assert "--config" in standing.err


def test_the_only_registry_need_not_be_named(run: Commands) -> None:
    found = run.json("registry", "check", "--url", f"{HERE}:{free_port()}", status=1)
    assert found["service"] == "registry"
    run("registry", "add", "second")
    run("registry", "check", "--url", HERE, status=2)
    assert "say which registry by SERVICE: registry, second" in run.err
    run("registry", "check", "second", "--url", f"{HERE}:{free_port()}", status=1)


def test_the_result_is_kept_unless_another_url_was_asked(run: Commands) -> None:
    run.env["AUTHSERVER_PORT"] = str(free_port())
    url = f"{HERE}:{free_port()}"
    run("registry", "edit", "registry", "--url", url)
    run("registry", "check", "--url", f"{HERE}:{free_port()}", status=1)
    assert run.json("registry", "show", "registry")["last_check"] is None
    assert "never" in run("registry", "list")
    run("registry", "check", status=1)
    last = run.json("registry", "show", "registry")["last_check"]
    assert (last["healthy"], last["failed"]) == (False, 1)
    assert last["by"].startswith("cli:")
    assert "Z 1 failed  " in run("registry", "list")
    assert "Z 1 failed\n" in run("registry", "show", "registry")
    assert run.last_change()["action"] == "registry.check"


def test_an_unknown_registry_is_refused(standing: Commands) -> None:
    standing("registry", "check", "nobody", "--url", HERE, status=1)
    assert "nobody" in standing.err


def test_a_failure_is_status_1_and_names_what_failed(run: Commands) -> None:
    # On the usual port somebody else may serve.
    run.env["AUTHSERVER_PORT"] = str(free_port())
    url = f"{HERE}:{free_port()}"
    said = run("registry", "check", "registry", "--url", url, status=1).splitlines()
    assert said[0] == "failed     registry.reachable"
    assert any(line.startswith("           → start it") for line in said)
    assert said[-1] == "failed: registry.reachable"
    found = run.json("registry", "check", "registry", "--url", url, status=1)
    assert [f["status"] for f in found["findings"]] == [
        "failed",
        "passed",
        *["not tried"] * 3,
    ]
