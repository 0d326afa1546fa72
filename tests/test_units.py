import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepart.units import percent, seconds, significant, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (1234.5, "1230 s"),
        (1, "1 s"),
        (0.99996, "1 s"),
        (0.0123, "12.3 ms"),
        (4.5e-6, "4.5 µs"),
        (3e-9, "0.003 µs"),
    ],
)
def test_seconds(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (64, "64 B"), (999, "999 B"), (999_999, "1 MB"), (1.5e9, "1.5 GB")]
)
def test_size(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (-0.5, "-0.500"),
        (35.51, "35.5"),
        (123456, "123000"),
        (1.234e-5, "1.23e-05"),
        (0.000123, "0.000123"),
        (2e7, "2.00e+07"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


def test_percent() -> None:
    assert [percent(x) for x in (0.924, -0.00001, 1.0)] == ["92.4 %", "0.0 %", "100.0 %"]
    assert percent(0.525, 0) in ("52 %", "53 %")


@given(st.floats(1e-6, 1e6))
def test_a_duration_keeps_three_digits(value: float) -> None:
    number, unit = seconds(value).split()
    assert float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit] == pytest.approx(value, rel=5.1e-3)
    assert len(number.replace(".", "").lstrip("0")) <= 3 or value >= 1000
