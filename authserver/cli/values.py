"""Options whose value is a member of an enumeration."""

from enum import StrEnum

import click


class Values(click.Choice[str]):
    """Takes the values of an enumeration, and gives its members."""

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__([member.value for member in kind])
        self.kind = kind

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> StrEnum:
        return self.kind(super().convert(value, param, ctx))
