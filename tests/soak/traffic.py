"""All who ask and who change something, each at a pace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.fetching import fetch
from tests.soak.changing import Api, Changer
from tests.soak.grants import Judge, Question
from tests.soak.load import Load, Noted
from tests.soak.place import Place
from tests.soak.setting_up import administrator, questions

CLIENTS = 2
"""How many clients each of the ways has."""

NEWEST = 12
"""How many of the credentials that are ended or will be are asked about."""


@dataclass(frozen=True)
class Pace:
    """Every how many seconds a client asks, and somebody guesses or changes something."""

    asks: float
    changes: float


@dataclass(frozen=True)
class Traffic:
    """The clients, who changes things, and what came of it."""

    pace: Pace
    changer: Changer
    noted: Noted
    _judge: Judge
    _url: str
    _asked: list[Question]

    @classmethod
    def to(cls, here: Place, pace: Pace) -> "Traffic":
        """Set up the rules and accounts; nobody asks yet."""
        noted = Noted()
        api = Api(here.url, administrator(here), noted)
        changer = Changer(api)
        asked = questions(api, changer)
        api.acknowledged = 0
        bundle = fetch(f"{here.url}/bundle.pem").body.decode()
        judge = Judge(bundle, here.reaches_by_address)
        return cls(pace, changer, noted, judge, here.url, asked)

    @property
    def rate(self) -> float:
        """How many token requests there are in a second."""
        return (len(self._asked) * CLIENTS + 1) / self.pace.asks

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have everybody ask until the block ends."""
        quick = Load(self._url, self._judge, self.noted, self.pace.asks)
        # Guesses and changes are no load: they come a few times a second.
        slow = Load(self._url, self._judge, self.noted, self.pace.changes)
        asking = [self._asking(quick, one) for one in self._asked for _ in range(CLIENTS)]
        asking.append(self._asking_ended(quick))
        with quick.running(*asking), slow.running(self.changer.work, slow.guess):
            yield

    def _asking(self, load: Load, question: Question) -> Callable[[int], None]:
        return lambda _: load.ask(question)

    def _asking_ended(self, load: Load) -> Callable[[int], None]:
        def ask(number: int) -> None:
            if newest := self.changer.credentials[-NEWEST:]:
                load.ask(newest[number % len(newest)])

        return ask
