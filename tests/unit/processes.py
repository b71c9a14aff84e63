"""A serving process for unit tests."""

from dataclasses import dataclass, field, replace

from sqlalchemy import Executable

from authserver.db import accounts
from authserver.db.store import Store
from authserver.runtime.settings import Settings
from authserver.web.wiring import wire
from tests.unit.clocks import Seconds
from tests.world import Clock


@dataclass
class Process:
    """A serving process whose thread does not run, by clocks that are moved by hand."""

    settings: Settings
    clock: Clock
    monotonic: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        wiring = wire(self.settings)
        self.state, self.maintenance = wiring.state, wiring.maintenance
        # The first round of the thread.
        self.maintenance.tick()
        self.store = self.state.store = replace(
            self.state.store, clock=self.clock, time=lambda _: self.clock()
        )
        self.monotonic.at = self.state.current.read_at
        for job in self.maintenance.jobs.values():
            job.done_at = min(job.done_at, self.monotonic.at)
        self.state.monotonic = self.monotonic

    @property
    def accounts(self) -> set[str]:
        return set(self.state.current.snapshot.accounts)


def add_user(store: Store, name: str) -> None:
    with store.change("test") as change:
        accounts.add_user(change, name, None)


def execute(store: Store, statement: Executable) -> None:
    """Write to the store behind the back of the change log."""
    with store.append() as session:
        session.execute(statement)
