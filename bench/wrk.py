"""Loading the server with wrk, and reading what it prints."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ANOTHER = (
    '  wrk.headers["X-Forwarded-For"] = "10.0." .. math.floor(n / 250) % 250 .. "." .. n % 250'
)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_percentile = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m) *$", re.MULTILINE)
_requests = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
_rate = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_failed = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_broken = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True)
class Load:
    """What wrk saw: requests a second, and times in seconds."""

    requests: int
    rate: float
    p50: float
    p99: float
    failed: int

    @classmethod
    def parse(cls, output: str) -> "Load":
        """Read wrk's report.

        Raises:
            ValueError: it is none.
        """
        requests, rate = _requests.search(output), _rate.search(output)
        times = {
            at: float(number) * _UNITS[unit] for at, number, unit in _percentile.findall(output)
        }
        if requests is None or rate is None or times.keys() != {"50", "99"}:
            raise ValueError(f"not a report of wrk --latency:\n{output}")
        failed, broken = _failed.search(output), _broken.search(output)
        wrong = int(failed[1]) if failed else 0
        wrong += sum(map(int, broken.groups())) if broken else 0
        return cls(int(requests[1]), float(rate[1]), times["50"], times["99"], wrong)


@dataclass(frozen=True)
class Request:
    """One request, sent again and again.

    ``{n}`` in the query or in the form is another number each time, and ``by_turns`` are values of
    the Authorization header, another each time. ``by_many`` has each be of another client, as a
    proxy says.
    """

    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None
    by_turns: Sequence[str] = ()
    by_many: bool = False

    def script(self) -> str:
        """Return the request as a script for wrk."""
        headers = dict(self.headers)
        if self.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        path = f"/token?{self.query}"
        lines = [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()]
        lines.append(f"wrk.path = {_lua(path)}")
        if self.form is not None:
            lines += ['wrk.method = "POST"', f"wrk.body = {_lua(self.form)}"]
        if self.by_turns or self.by_many or "{n}" in path + (self.form or ""):
            # Otherwise wrk writes the request once, and takes less time itself.
            body = "nil" if self.form is None else _numbered(self.form)
            turns = ", ".join(map(_lua, self.by_turns))
            header = 'wrk.headers["Authorization"]'
            lines += [
                f"local n, turns = 0, {{{turns}}}",
                "function request()",
                "  n = n + 1",
                f"  {header} = turns[n % #turns + 1] or {header}",
                *([_ANOTHER] if self.by_many else []),
                f"  return wrk.format(nil, {_numbered(path)}, nil, {body})",
                "end",
            ]
        return "\n".join([*lines, ""])


def _lua(text: str) -> str:
    return json.dumps(text)


def _numbered(text: str) -> str:
    return " .. n .. ".join(map(_lua, text.split("{n}")))


@dataclass(frozen=True)
class Wrk:
    """Loads one server. ``scripts`` is a directory for what wrk is told to send."""

    url: str
    scripts: Path

    def start(self, request: Request, seconds: int, connections: int) -> "subprocess.Popen[str]":
        """Begin to load the server; wait for it with :func:`finished`."""
        script = self.scripts / f"request-{abs(hash(request.script()))}.lua"
        script.write_text(request.script())
        command = ["wrk", "--threads", "1", "--connections", str(connections), "--latency"]
        command += ["--duration", f"{seconds}s", "--timeout", "30s", "--script", str(script)]
        return subprocess.Popen([*command, self.url], stdout=subprocess.PIPE, text=True)


def finished(process: "subprocess.Popen[str]") -> Load:
    """Wait for wrk and return what it saw.

    Raises:
        ValueError: it failed.
    """
    output, _ = process.communicate()
    return Load.parse(output)
