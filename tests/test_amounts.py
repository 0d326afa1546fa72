"""Numbers with units, as they are given on the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.amounts import MEASURES, parse_amount, parse_size
from edgepart.errors import PlanError


@given(st.integers(0, 10**15))
def test_bytes_are_kept_exactly(number):
    assert parse_size(f"{number}B", "--answer") == number


@pytest.mark.parametrize(("text", "expected"), [("2.3MB", 2_300_000), ("1.001kB", 1001), ("0.29kB", 290)])
def test_a_size_is_rounded_to_whole_bytes(text, expected):
    assert parse_size(text, "--answer") == parse_amount(text, "bytes", "--limit").value == expected


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("200MB", "bytes", 200e6),
        ("1.5 GiB", "bytes", 1.5 * 2**30),
        ("10KB", "bytes", 10e3),
        ("4 gB", "bytes", 4e9),
        (" 7 B ", "bytes", 7),
        ("0.29 kB", "bytes", 290),
        ("1e3kB", "bytes", 1e6),
        ("0", "bytes", 0),
        ("50ms", "s", 0.05),
        ("3 µs", "s", 3e-6),
        ("3 μs", "s", 3e-6),
        ("2min", "s", 120),
        ("0", "s", 0),
        ("5mJ", "J", 5e-3),
        ("600Mbps", "bit/s", 6e8),
        ("600 mbps", "bit/s", 6e8),
        ("1Gbit/s", "bit/s", 1e9),
        ("9 bps", "bit/s", 9),
        ("2e-6", "USD", 2e-6),
        ("2e-6USD", "USD", 2e-6),
        ("3", "", 3),
    ],
)
def test_amounts_have_units(text, unit, expected):
    assert parse_amount(text, unit, "--limit").value == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("600Mb", "bit/s", "'Mb' in --limit x=600Mb is not a unit of a rate in bits a second: did you mean 600Mbps or"),
        ("600MB", "bit/s", "did you mean 600Mbps or 600Mbit/s?"),
        ("600MBps", "bit/s", "did you mean 600Mbps?"),
        ("600MB/s", "bit/s", "did you mean 600Mbit/s"),
        ("600Mb", "bytes", "'Mb' in --limit x=600Mb is not a unit of a size in bytes: did you mean 600MB?"),
        ("10kb", "bytes", "did you mean 10kB?"),
        ("1TB", "bytes", "'TB' in .* expected a number with B, kB, MB, GB, KiB, MiB or GiB, as 200MB"),
        (
            "5 parsecs",
            "s",
            "'parsecs' in --limit x=5 parsecs is not a unit of a time: expected a number with s, ms, us",
        ),
        ("50Ms", "s", "did you mean 50ms?"),
        ("5sec", "s", "did you mean 5s?"),
        ("5MJ", "J", "did you mean 5mJ?"),
        ("2W", "J", "expected a number with J, mJ, uJ, µJ or kJ, as 5mJ"),
        ("5", "s", "--limit x=5 has no unit: expected a number with s, ms, us, µs or min, as 50ms"),
        ("1000", "bytes", "has no unit"),
        ("2$", "USD", "not a unit of a sum of money"),
        ("150%", "", "'%' in --limit x=150% is not a unit of a number"),
        ("-1MB", "bytes", "--limit x=-1MB is below 0: expected a number with B"),
        ("", "bytes", "is not a size in bytes"),
        ("MB", "bytes", "is not a size in bytes"),
        ("1 2", "bytes", "is not a size in bytes"),
        ("1e999B", "bytes", "is not a size in bytes"),
        ("1e305GB", "bytes", "--limit x=1e305GB is too large: expected a number with B"),
        ("nan", "s", "is not a time"),
        ("inf", "s", "is not a time"),
        ("-1", "", "is below 0: expected a number of 0 or more, as 1"),
    ],
)
def test_a_wrong_amount_is_told_the_nearest_right_one(text, unit, says):
    with pytest.raises(PlanError, match=says):
        parse_amount(text, unit, "--limit x")


@pytest.mark.parametrize("unit", MEASURES)
def test_the_examples_of_errors_are_right(unit):
    assert parse_amount(MEASURES[unit].example, unit, "--limit").value > 0


def test_a_default_unit_serves_a_number_without_one():
    assert parse_amount("5", "s", "round_trip", "ms") == (pytest.approx(0.005), "ms")
    assert parse_amount("5s", "s", "round_trip", "ms") == (5, "s")
