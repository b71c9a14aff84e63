"""The one form of records over which HMACs are made."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from authserver.audit import chain
from authserver.audit.chain import Form, encoded

COLUMNS = ("at", "request_id", "service", "jwt_id", "count", "é")

VALUES = st.one_of(
    st.none(),
    st.text(),
    st.integers(),
    st.booleans(),
    st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.lists(st.integers()))),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-3))])),
)


@given(st.tuples(*[VALUES] * len(COLUMNS)))
def test_the_quick_way_says_the_same(values: tuple[Any, ...]) -> None:
    said = chain.text(dict(zip(COLUMNS, values, strict=True)))
    assert Form(COLUMNS).text(values) == said


OWN = (0, 3, 1)
"""Columns in the order of their names outside: at, jti, request_id."""


@given(st.tuples(*[VALUES] * len(COLUMNS)), st.tuples(*[VALUES] * len(OWN)))
def test_records_that_share_what_they_say_are_told_by_one_template(
    values: tuple[Any, ...], others: tuple[Any, ...]
) -> None:
    form, other = Form((*COLUMNS, "100%s")), [*values, "%s%%"]
    template = form.template(other, OWN)
    for index, value in zip(OWN, others, strict=True):
        # What is None in one is None in all of them.
        other[index] = value if None not in (value, values[index]) else values[index]
    said = [encoded(other[index]) for index in OWN if values[index] is not None]
    assert template % tuple(said) == form.text(other)


def test_times_are_in_utc_and_columns_have_their_names_outside() -> None:
    at = datetime(2026, 11, 24, 1, tzinfo=timezone(timedelta(hours=2)))
    values = (at, "r", "registry", None, 1, "ü")
    assert Form(COLUMNS).text(values) == (
        '{"at": "2026-11-23T23:00:00+00:00", "count": 1, "registry": "registry", '
        '"request_id": "r", "\\u00e9": "\\u00fc"}'
    )
