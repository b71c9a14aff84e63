"""docs/api.md: its requests, sent by curl to a real server in the order in which they stand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import Authserver, clean_environ, free_port, require
from tests.world import ADMIN, PASSWORD

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture
def requests() -> list[str]:
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_requests_are_answered_as_the_page_says(
    data_dir: Path, requests: list[str], tmp_path: Path
) -> None:
    require("curl", "bash")
    port = free_port()
    env = clean_environ(AUTH=f"{ADMIN}:{PASSWORD}", API=f"http://127.0.0.1:{port}/api/v1")
    env = {name: value for name, value in env.items() if not name.lower().endswith("_proxy")}
    with Authserver(data_dir).serving(port, "--workers", "1"):
        script = "\n".join(["set -euo pipefail", *requests])
        done = subprocess.run(
            [str(shutil.which("bash")), "-c", script],
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert len(requests) == 20
    assert '"description":"","disabled":true' in done.stdout
    assert '"changes":[],"prunable":[]' in done.stdout
    assert '"check":"registry.reachable"' in done.stdout
    assert "robot:ci team/** pull,push" in done.stdout.rpartition('{"rules":')[2]
