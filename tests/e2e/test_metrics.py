"""Metrics of a real server with two workers, and what is made of them in deploy/."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from authserver.runtime.metrics.families import FAMILIES, MetricType
from tests.e2e.dashboards import Dashboard
from tests.e2e.fetching import ask_for_token, fetch
from tests.e2e.lab import ADMIN, installation
from tests.programs import Process, free_port, require, which
from tests.world import wait_until

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "authserver.rules.yaml"
TYPES = {
    MetricType.COUNTER: "counter",
    MetricType.HISTOGRAM: "histogram",
    MetricType.GAUGE: "gauge",
    MetricType.AGE: "gauge",
}
REQUESTS = 20


@dataclass(frozen=True)
class Served:
    """A server with metrics, and where it is scraped."""

    process: Process
    port: int
    metrics_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def scrape(self) -> str:
        answer = fetch(f"http://127.0.0.1:{self.metrics_port}/metrics")
        assert answer.status == 200
        return answer.body.decode()

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def requests(self) -> float:
        return self.value("authserver_token_requests_total")

    def ask(self, name: str = ADMIN[0], password: str = ADMIN[1]) -> int:
        return ask_for_token(f"{self.url}/token", auth=(name, password)).status


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port, metrics_port = free_port(), free_port()
    made = installation(tmp_path_factory.mktemp("metrics") / "data", port)
    made.env["AUTHSERVER_METRICS_LISTEN"] = f"127.0.0.1:{metrics_port}"
    with made.serving(port, "--workers", "2") as process:
        found = Served(process, port, metrics_port)
        assert wait_until(lambda: found.value("authserver_workers") == 2, 20)
        yield found


def test_every_request_is_counted_whichever_worker_answers_and_is_scraped(served: Served) -> None:
    before = served.requests()
    for _ in range(REQUESTS):
        assert served.ask() == 200
    assert served.ask(password="wrong") == 401
    assert wait_until(lambda: served.requests() == before + REQUESTS + 1, 10)
    assert served.value("authserver_token_requests_total", outcome="unauthorized") >= 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_counter_goes_down_when_a_worker_is_replaced(
    served: Served, number: signal.Signals
) -> None:
    before = served.requests()
    for _ in range(REQUESTS):
        assert served.ask() == 200
    assert wait_until(lambda: served.requests() == before + REQUESTS, 10)
    cpu = served.value("authserver_process_cpu_seconds_total")
    killed = served.process.workers[0]
    os.kill(killed, number)
    assert wait_until(lambda: killed not in served.process.workers, 10)
    assert served.requests() == before + REQUESTS
    assert served.value("authserver_process_cpu_seconds_total") >= cpu
    assert wait_until(lambda: len(served.process.workers) == 2, 20)
    # The one that ended is forgotten some seconds later.
    assert wait_until(lambda: served.value("authserver_workers") == 2, 20)
    assert served.requests() == before + REQUESTS


def test_metrics_are_on_their_own_listener_only(served: Served) -> None:
    assert fetch(f"{served.url}/metrics").status == 404
    assert fetch(f"http://127.0.0.1:{served.metrics_port}/").status == 404
    assert fetch(f"http://127.0.0.1:{served.metrics_port}/token").status == 404


def test_readiness_is_told_in_full_on_this_listener(served: Served) -> None:
    answer = fetch(f"http://127.0.0.1:{served.metrics_port}/readyz")
    assert answer.status == 200
    assert answer.json()["checks"].keys() == {"store", "schema", "signing_key", "clock"}
    outside = fetch(f"{served.url}/readyz", headers={"X-Forwarded-For": "192.0.2.1"})
    assert (outside.status, outside.json()) == (200, {"status": "ok"})


def test_a_slow_scraper_holds_no_other_up(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.metrics_port), timeout=20) as slow:
        slow.sendall(b"GET /metr")
        assert served.scrape()
        assert slow.recv(1) == b""


def test_a_scrape_holds_no_secret_and_no_account(served: Served) -> None:
    served.ask("somebody-else", "open-sesame")
    text = served.scrape()
    assert not [word for word in (*ADMIN, "somebody-else", "open-sesame") if word in text]


def test_prometheus_takes_the_scrape(served: Served) -> None:
    require("promtool")
    done = subprocess.run(
        [str(which("promtool")), "check", "metrics"],
        input=served.scrape(),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_scrape_has_every_metric_as_it_is_declared(served: Served) -> None:
    types = {family.name: family.type for family in text_string_to_metric_families(served.scrape())}
    assert types == {
        name.removesuffix("_total"): TYPES[family.type] for name, family in FAMILIES.items()
    }


def test_every_metric_is_documented_as_it_is_declared() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [
        (name, TYPES[family.type], ", ".join(f"`{x}`" for x in family.labels), family.help)
        for name, family in FAMILIES.items()
    ]


def used(expression: str) -> set[str]:
    """Return the metrics of ours that are named in PromQL, without a histogram's suffixes."""
    names = re.findall(r"\bauthserver_\w+", expression)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def labels_used(expression: str) -> Iterator[tuple[str, str]]:
    """Give each metric of ours and a label that it is selected by."""
    for name, matchers in re.findall(r"\b(authserver_\w+)\{([^}]*)\}", expression):
        for label in re.findall(r"(\w+)(?==|!=|=~|!~)", re.sub(r'"[^"]*"', "", matchers)):
            yield re.sub(r"_(bucket|sum|count)$", "", name), label


def expressions() -> list[str]:
    rules = [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    return [*(rule["expr"] for rule in rules), *Dashboard.shipped().expressions]


@pytest.mark.parametrize("expression", expressions())
def test_dashboard_and_alerts_ask_for_what_there_is(expression: str) -> None:
    assert used(expression) <= FAMILIES.keys()
    for name, label in labels_used(expression):
        assert label in {*FAMILIES[name].labels, "job", "instance"}, f"{name} has no {label}"


def test_the_dashboard_shows_every_metric_but_what_is_said_in_words() -> None:
    shown = set().union(*(used(expression) for expression in Dashboard.shipped().expressions))
    assert FAMILIES.keys() - shown == {
        "authserver_build_info",
        "authserver_snapshot_version",
        "authserver_app_token_expiry_timestamp_seconds",
    }


def promtool(*args: str) -> str:
    require("promtool")
    done = subprocess.run(
        [str(which("promtool")), *args], text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_alerts() -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", str(RULES))


def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(Path(__file__).with_name("alerts.yaml")))


def test_every_alert_is_tried_both_ways() -> None:
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    document = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text())
    for fires in (True, False):
        tried = {
            case["alertname"]
            for test in document["tests"]
            for case in test["alert_rule_test"]
            if bool(case.get("exp_alerts")) is fires
        }
        assert tried == alerts


def test_prometheus_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__\w+", "5m", expression)}
        for number, expression in enumerate(Dashboard.shipped().expressions)
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", str(path))


def test_grafana_knows_all_that_is_in_the_dashboard() -> None:
    assert Dashboard.shipped().unknown == []


def test_the_dashboards_panels_have_places_and_ids_of_their_own() -> None:
    dashboard = Dashboard.shipped()
    assert dashboard.overlapping == []
    assert len({panel["id"] for panel in dashboard.panels}) == len(dashboard.panels)
    assert all(panel["title"] for panel in dashboard.panels)


def test_the_dashboard_uses_the_variables_that_it_has() -> None:
    dashboard = Dashboard.shipped()
    named = set(re.findall(r"\$\{?([a-z]\w*)", dashboard.text))
    assert named - {"__rate_interval"} == dashboard.variables
