"""The parts of the bench: what it reads, and how it puts figures together. Nothing is timed."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from authserver.db import snapshot
from bench import machine, table
from bench.__main__ import QUICK, QUICK_LARGE
from bench.attacker import Attacker
from bench.figures import Figure, Round, Row, paired
from bench.flood import Flood
from bench.installation import PASSWORD, made
from bench.steady import Steady
from bench.worst import Worst
from bench.wrk import Load, Request

REPORT = """Running 3s test @ http://127.0.0.1:44177/token
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.03ms    5.15ms 130.28ms   50.00%
    Req/Sec     9.99k     1.35k   12.22k    71.43%
  Latency Distribution
     50%    1.29ms
     75%    1.93ms
     90%    3.07ms
     99%   11.90ms
  29822 requests in 3.00s, 87.19MB read
{more}Requests/sec:   9936.54
Transfer/sec:     29.05MB
"""
ONE = Round(
    rate=9000,
    p50=0.001,
    p99=0.01,
    processor=1e-4,
    resident=100_000_000,
    others=0.01,
    es256=30_000,
    bcrypt=4,
)


FLOOD = Flood(kept=0.39, resident=(0, 0, 1_000_000), logins=(0.3, 0.5, 0.4), refused=1, tries=9)


def test_an_installation_of_the_bench_is_one_that_the_server_reads(tmp_path: Path) -> None:
    installation = made(tmp_path / "data", number_of_rules=30, number_of_accounts=5)
    store = installation.store()
    with store.read() as session:
        state = snapshot.load(session)
    store.engine.dispose()
    users = [state.accounts[f"user{n}"] for n in range(5)]
    password = PASSWORD.encode()
    assert all(bcrypt.checkpw(password, (user.password_hash or "").encode()) for user in users[:2])
    assert not any(user.disabled or user.admin or user.app_tokens_only for user in users)
    for number, user in enumerate(users):
        own = state.rules.candidates(user.account, f"team{number}/app{number}/x")
        assert f"team{number}/app{number}/**" in {str(rule.patterns[0]) for rule in own}
    assert sum(str(rule.patterns[0]).startswith("team") for rule in state.rules) == 31
    assert [state.owner(token).account.name for token in state.app_tokens.values()] == ["user0"]


def test_a_report_of_wrk_is_read() -> None:
    read = Load.parse(REPORT.format(more=""))
    assert (read.requests, read.rate, read.failed) == (29822, 9936.54, 0)
    assert (read.p50, read.p99) == pytest.approx((0.00129, 0.0119))


def test_seconds_are_read_as_well() -> None:
    """After these wrk writes a space: its columns are as wide as ``ms``."""
    read = Load.parse(
        REPORT.format(more="").replace("1.29ms", "1.06s ").replace("11.90ms", "2.50m ")
    )
    assert (read.p50, read.p99) == pytest.approx((1.06, 150))


def test_answers_that_were_none_are_counted() -> None:
    more = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 7\n"
    assert Load.parse(REPORT.format(more=more)).failed == 17


def test_what_is_no_report_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        Load.parse("unable to connect to 127.0.0.1:1 Connection refused")


def test_a_request_is_told_to_wrk() -> None:
    script = Request("a=1", {"Authorization": 'Basic "x"'}).script()
    assert 'wrk.path = "/token?a=1"' in script
    assert r'wrk.headers["Authorization"] = "Basic \"x\""' in script
    assert "function" not in script
    assert 'wrk.body = "b=2"' in Request(form="b=2").script()
    assert '"/token?a=" .. n .. "&b", nil, nil' in Request("a={n}&b").script()
    assert '"/token?", nil, "b=" .. n .. ""' in Request(form="b={n}").script()
    turns = Request("a=1", by_turns=["x", "y"]).script()
    assert 'turns = 0, {"x", "y"}' in turns
    assert "turns[n % #turns + 1]" in turns


def test_rounds_in_which_others_were_busy_do_not_count() -> None:
    row = Row("x", (ONE, replace(ONE, rate=3000, others=0.5), replace(ONE, rate=12_000)))
    assert row.to_es256() == Figure(0.35, 0.3, 0.4)
    assert not row.is_disturbed
    assert row.to_bcrypt(2) == Figure(1312.5, 1125, 1500)


def test_where_others_were_always_busy_the_row_says_so() -> None:
    row = Row("x", (replace(ONE, others=0.5),))
    assert row.is_disturbed
    assert row.to_es256().median == 0.3


def test_pairs_are_of_the_same_round() -> None:
    small = Row("small", (ONE, replace(ONE, rate=4500), replace(ONE, rate=1, others=0.9)))
    large = Row("large", (replace(ONE, rate=4500), replace(ONE, rate=4500), ONE))
    assert paired(large, small, lambda one: one.rate) == Figure(0.75, 0.5, 1.0)


def test_the_table_has_a_line_for_each_bound_and_says_how_far_it_got() -> None:
    rows = {m.name: Row(m.name, (replace(ONE, beside=4000),)) for m in QUICK.measurements}
    lines = table.lines(rows, 2, QUICK_LARGE, 30_000, Figure(4, 4, 4))
    found = {line.name: line for line in (*lines, *table.of_flood(FLOOD))}
    assert found["anonymous pull"].verdict == "holds"
    assert found["refresh grant"].verdict == "aim"
    assert found["start-up to the first token"].verdict == "MISSED"
    assert found["app tokens beside cold passwords"].figure.median == pytest.approx(4 / 9)
    assert found["resident memory of a worker"].verdict == "holds"
    assert found["resident memory of a worker, beside 1 KB for each of them"].verdict == "aim"
    assert found["app tokens beside wrong passwords on 64 connections"].verdict == "MISSED"
    assert found["people who log in meanwhile"].figure == Figure(0.4, 0.3, 0.5)
    assert sum(line.bound is not None for line in found.values()) == 15
    assert all(str(line).startswith(name) for name, line in found.items())


def test_load_and_an_attack_are_held_against_their_bounds() -> None:
    steady = Steady("x", requests=9, rate=1.0, p99=0.1, refused=0, lost=1, records=8)
    assert [line.verdict for line in table.of_steady(steady)] == ["", "", "aim", "MISSED"]
    bad = {"kept": 0.39, "p99": 1.1, "failed": 1, "refused": 1, "resident": 1 << 30}
    worst = Worst("x", logins=(0.1,), stored=1 << 30, answers={}, **bad)  # type: ignore[arg-type]
    assert {line.verdict for line in table.of_worst(worst)} == {"MISSED"}


def test_a_request_of_many_clients_says_whose_it_is() -> None:
    script = Request("a=1", by_many=True).script()
    assert 'wrk.headers["X-Forwarded-For"] = "10.0." .. math.floor(n / 250)' in script


def test_the_attacker_counts_what_it_is_answered() -> None:
    ours, theirs = socket.socketpair()
    attacker = Attacker(0, tls=False, deadline=0.0)
    answers = (
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 429 Too",
        b" Many\r\n\r\nHTTP/1",
        b".1 404 Not Found\r\n",
    )
    theirs.sendall(b"".join(answers))
    attacker.exchange("x", ours, [b"a", b"b", b"c"])
    assert theirs.recv(100) == b"abc"
    assert attacker.answers == {"x 200": 1, "x 429": 1, "x 404": 1}
    ours.close()
    theirs.close()


def test_what_others_took_is_told_from_what_was_ours() -> None:
    before = machine.Busy(100.0, 40.0)
    assert machine.Busy(110.0, 47.0).others_since(before) == 3.0
    assert machine.Busy(101.0, 42.0).others_since(before) == 0.0


def test_a_process_that_has_ended_works_no_more() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert machine.cpu_seconds(ended.pid) == 0
    assert machine.cpu_seconds(os.getpid()) > 0


def test_the_raw_rates_are_of_processor_time() -> None:
    assert machine.es256_rate(0.001) > 0
    assert machine.bcrypt_rate(4, 0.001) > 0
