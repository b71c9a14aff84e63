"""The log: one line an event on standard error, for people or as JSON."""

import logging
import os
import re
import sys
from contextvars import ContextVar
from select import PIPE_BUF, select
from typing import Literal

import structlog

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The current request's id, which each of its lines has."""


_ALWAYS = frozenset(
    {"event", "level", "timestamp", "request_id", "lines_lost", "account", "registry", "by"}
)
"""Fields that stay whatever the sentence says: a name may be a word of it by chance."""


class LogLines:
    """Writes lines without waiting or failing: it drops and counts what its file does not take.

    The reader of the log may have stopped or ended, and requests must go on.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost = 0
        """Lines dropped since the last one that was written."""
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Write a line, or drop it."""
        try:
            taken = self._write(text.encode(errors="backslashreplace"))
        except OSError:
            taken = False
        self.lost = 0 if taken else self.lost + 1

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def _write(self, line: bytes) -> bool:
        # A pipe that is ready takes PIPE_BUF bytes at once.
        for start in range(0, len(line), PIPE_BUF):
            if not select((), (self._descriptor,), (), 0)[1]:
                return False
            os.write(self._descriptor, line[start : start + PIPE_BUF])
        return True

    def tell_lost(
        self, _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        """Have a line tell how many before it were lost; a processor."""
        if self.lost:
            event["lines_lost"] = self.lost
        return event


def configure(form: Literal["console", "json"]) -> None:
    """Set up logging for this process, the standard library's loggers included."""
    lines = LogLines(sys.stderr.fileno())
    timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        lines.tell_lost,
        structlog.processors.add_log_level,
        timestamper,
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=0, repr_native_str=True
        )
        shared.append(_said_once)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Its type asks for more than it uses.
        logger_factory=structlog.WriteLoggerFactory(file=lines),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    # It logs the kind of database at each check of the schema.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _said_once(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Leave out the fields whose value the sentence has: they are for programs."""
    sentence = str(event.get("event"))
    return {
        name: value
        for name, value in event.items()
        if name in _ALWAYS or not re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", sentence)
    }


def _add_request_id(
    _: structlog.typing.WrappedLogger, __: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if (current := request_id.get()) is not None:
        event["request_id"] = current
    return event
