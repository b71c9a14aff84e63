"""What a command is given is read before it holds the store."""

from pathlib import Path

import pytest

from tests.cli.commands import Commands
from tests.parsers import watched
from tests.world import PASSWORD

FILES = {
    "htpasswd": "bob:$2y$05$......................................................\n",
    "config.yml": "users: {bob: {}}\nacl:\n- {match: {name: 'a/*'}, actions: [pull]}\n",
}


@pytest.mark.parametrize(
    "command",
    [
        "acl allow user:alice team/*,b pull --from 10.0.0.0/8 --valid-until 2999-01-01",
        "acl edit 3 --patterns team/**,c --actions push --valid-until 2999-01-01",
        "acl delegate group:dev team/** --registry registry --actions pull",
        "token create alice --name ci --scope repository:team/*:pull --from 10.0.0.0/8",
        "import htpasswd {htpasswd} --allow ** pull",
        "import docker-auth {config.yml} --partial",
    ],
)
def test_nothing_is_parsed_in_a_change(
    run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
        command = command.replace(f"{{{name}}}", str(tmp_path / name))
    run("user", "add", "alice", "--password-stdin", stdin=PASSWORD)
    run("group", "add", "dev")
    run("acl", "allow", "user:alice", "a", "pull")
    with watched(monkeypatch) as called:
        run(*command.split())
    assert set(called) == {"outside"}
