"""Under which circumstances a rule holds: from which networks, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from authserver.core.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Hindrance(StrEnum):
    """What keeps a rule from applying to a request."""

    DISABLED = "it is disabled"
    REGISTRY = "it is for another registry"
    TYPE = "it is for another resource type"
    SUBJECT = "it is about somebody else"
    PATTERN = "its pattern does not cover the name"
    ACTION = "it is about other actions"
    NETWORK = "it is for requests from other networks"
    NETWORK_UNKNOWN = "it is for requests from some networks only"
    NOT_YET = "it is not valid yet"
    EXPIRED = "it is not valid any more"
    TIME_UNKNOWN = "it is valid for a time only"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a request comes from, and when; None is what is not known.

    What is not known never helps: an allow under that condition does not hold, a deny does.
    """

    address: Address | None = None
    at: datetime | None = None


UNKNOWN = Circumstances()


@dataclass(frozen=True, slots=True)
class Conditions:
    """Source networks (none: every address), and from when until before when."""

    networks: tuple[Network, ...] = ()
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def __bool__(self) -> bool:
        return self != ALWAYS

    def __str__(self) -> str:
        parts = [f"from {','.join(map(str, self.networks))}"] if self.networks else []
        parts += [f"after {shown(self.valid_from)}"] if self.valid_from else []
        parts += [f"until {shown(self.valid_until)}"] if self.valid_until else []
        return " ".join(parts)

    def unmet(self, circumstances: Circumstances) -> Iterator[Hindrance]:
        """Give what does not hold, or is not known to hold."""
        if self.networks:
            if circumstances.address is None:
                yield Hindrance.NETWORK_UNKNOWN
            elif not any(circumstances.address in network for network in self.networks):
                yield Hindrance.NETWORK
        if self.valid_from is None and self.valid_until is None:
            return
        if circumstances.at is None:
            yield Hindrance.TIME_UNKNOWN
        elif self.valid_from is not None and circumstances.at < self.valid_from:
            yield Hindrance.NOT_YET
        elif self.valid_until is not None and circumstances.at >= self.valid_until:
            yield Hindrance.EXPIRED

    def within(self, other: "Conditions") -> bool:
        """Whether ``other`` holds wherever and whenever this does."""
        return (
            self._networks_within(other)
            and _at_least(self.valid_from, other.valid_from)
            and _at_most(self.valid_until, other.valid_until)
        )

    def _networks_within(self, other: "Conditions") -> bool:
        if not other.networks:
            return True
        return bool(self.networks) and all(
            any(_inside(network, wider) for wider in other.networks) for network in self.networks
        )


ALWAYS = Conditions()
UNKNOWNS = frozenset({Hindrance.NETWORK_UNKNOWN, Hindrance.TIME_UNKNOWN})


def shown(at: datetime) -> str:
    """Return a time as messages and rules write it, to the second."""
    # strftime writes the year 1 as 1, which nobody reads back.
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def moment(text: str) -> datetime:
    """Read a date (its beginning, UTC) or a time with its zone.

    Raises:
        Refused: it is neither.
    """
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{text!r} is no time: write 2026-12-31 or 2026-12-31T18:00Z") from None
    if read.tzinfo is None and (len(text) > len("2026-12-31") or "T" in text.upper()):
        raise Refused(f"{text!r} has no zone: write {text}Z for UTC")
    return in_utc(read if read.tzinfo else read.replace(tzinfo=UTC))


def in_utc(at: datetime) -> datetime:
    """Return a time in UTC, as all times are compared and kept.

    Raises:
        Refused: there is no such time in UTC: in the first or last hours of all years.
    """
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise Refused(f"{at.isoformat()} is out of range") from None


def new_conditions(
    networks: tuple[str, ...],
    valid_from: datetime | None,
    valid_until: datetime | None,
    now: datetime | None,
) -> Conditions:
    """Return a new rule's conditions; ``now`` None takes a period that is over already.

    Raises:
        Refused: a network is no good, or the period is empty or over already.
    """
    if valid_from and valid_until and valid_from >= valid_until:
        raise Refused(f"the rule would end ({shown(valid_until)}) before it begins")
    if now and valid_until and valid_until <= now:
        raise Refused(f"the rule would have ended already, at {shown(valid_until)}")
    read = sorted({network(text) for text in networks}, key=lambda n: (n.version, n))
    return Conditions(tuple(read), valid_from, valid_until)


def network(text: str) -> Network:
    """Read a source network.

    Raises:
        Refused: it is no network, has host bits, or is every address.
    """
    try:
        read = ip_network(text)
    except ValueError as error:
        raise Refused(f"{text!r} is no network: {error}") from None
    if isinstance(read, IPv6Network) and read.network_address.ipv4_mapped is not None:
        raise Refused(f"{text} is IPv4 written as IPv6: write it as an IPv4 network")
    if read.prefixlen == 0:
        raise Refused(f"{text} is every address: leave the network out")
    return read


def address(text: str) -> Address | None:
    """Read a client's address; None for what is no address."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _inside(network: Network, wider: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(wider, IPv4Network) and network.subnet_of(wider)
    return isinstance(wider, IPv6Network) and network.subnet_of(wider)


def _at_least(time: datetime | None, least: datetime | None) -> bool:
    return least is None or (time is not None and time >= least)


def _at_most(time: datetime | None, most: datetime | None) -> bool:
    return most is None or (time is not None and time <= most)
