"""The condition on the network that a request comes from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Self

from authserver.core.addresses import Address, Network, is_inside, parse_network
from authserver.core.conditions.condition import (
    Circumstances,
    Condition,
    ConditionField,
    Hindrance,
    Value,
    ValueKind,
)

_OTHER = Hindrance("network", "it is for requests from other networks")
_UNKNOWN = Hindrance("network_unknown", "it is for requests from some networks only", unknown=True)
_FIRST = (ip_address("0.0.0.0"), ip_address("::"))  # noqa: S104 - not bound to


@dataclass(frozen=True, slots=True)
class SourceNetworks(Condition):
    """The request comes from one of these networks, of which there is at least one."""

    networks: tuple[Network, ...]

    FIELDS = (
        ConditionField(
            "networks",
            ValueKind.TEXTS,
            "Only for requests from these networks; empty: from anywhere.",
            "--from",
            "Only for requests from this network, as in 10.1.0.0/16; may be repeated.",
            metavar="NETWORK",
            check=parse_network,
        ),
    )
    HINDRANCES = (_UNKNOWN, _OTHER)
    ABSENT = "from anywhere"
    REMOVAL = ("--from-anywhere", "No networks.")

    @classmethod
    def parse(cls, values: Mapping[str, Value]) -> Self | None:
        texts = values.get("networks")
        if not isinstance(texts, Collection) or not texts:
            return None
        networks = {ip_network(text) for text in texts}
        return cls(tuple(sorted(networks, key=lambda network: (network.version, network))))

    def values(self) -> dict[str, Value]:
        return {"networks": list(map(str, self.networks))}

    def __str__(self) -> str:
        return f"from {','.join(map(str, self.networks))}"

    def unmet(self, circumstances: Circumstances) -> Hindrance | None:
        address = circumstances.address
        if address is None:
            return _UNKNOWN
        # A loop: a generator takes twice the time, and each token request comes past here.
        for network in self.networks:
            if address in network:
                return None
        return _OTHER

    def within(self, other: Self) -> bool:
        return all(
            any(is_inside(network, wider) for wider in other.networks) for network in self.networks
        )

    @classmethod
    def samples(
        cls, conditions: Collection[Self], circumstances: Circumstances
    ) -> list[Circumstances]:
        """Return one sample for each stretch of addresses between two borders of networks."""
        if circumstances.address is not None or not conditions:
            return [circumstances]
        borders: set[Address] = set(_FIRST)
        for network in {network for each in conditions for network in each.networks}:
            borders.add(network.network_address)
            if int(network.broadcast_address) + 1 < 2**network.max_prefixlen:
                borders.add(network.broadcast_address + 1)
        ordered = sorted(borders, key=lambda address: (address.version, int(address)))
        return [circumstances, *(replace(circumstances, address=address) for address in ordered)]
