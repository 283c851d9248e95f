from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16Gi", 16 * 2**30),
        ("1.5Ki", 1536),
        ("500M", 500_000_000),
        ("1e3", 1000),
        ("1E", 10**18),
        ("0.1", 1),
        (".5Ki", 512),
        (7, 7),
        ("100m", 1),
        (" 5k ", 5000),
    ],
)
def test_bytes_are_read_as_kubernetes_reads_them(text: str | int, expected: int) -> None:
    assert units.parse_bytes(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.003", 3_000_000), (2, 2 * 10**9), (0.00002, 20_000), ("1e-3", None), ("1h", None)],
)
def test_seconds_are_read_to_nanoseconds_and_written_exactly(text: str | float, expected: int | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="is not a time"):
            units.parse_seconds_ns(text)
        return
    assert units.parse_seconds_ns(f"{text:f}" if isinstance(text, float) else text) == expected
    assert units.parse_seconds_ns(units.format_seconds(expected)) == expected


def test_a_load_takes_an_hour_at_most() -> None:
    assert units.parse_seconds_ns(3600) == 3600 * 10**9
    with pytest.raises(ValueError, match="longer than 3,600 seconds"):
        units.parse_seconds_ns("3600.1")


@pytest.mark.parametrize(
    ("text", "expected"), [("250m", 250), ("4", 4000), (0.5, 500), ("1u", 1), ("2k", 2_000_000)]
)
def test_milli_units_are_rounded_up(text: str | float, expected: int) -> None:
    assert units.parse_milli(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "16 Gi", "16gb", "Gi", "1_000", "nan", "inf", "1e400", "0x10", "1Gi1", True]
)
def test_what_is_not_a_quantity_is_refused(text: str | bool) -> None:
    with pytest.raises(ValueError, match=r"quantity|suffix|larger"):
        units.parse_bytes(text)


def test_more_than_the_solver_counts_is_refused() -> None:
    assert units.parse_bytes("1023Pi") == 1023 * 2**50
    with pytest.raises(ValueError, match="larger than 2\\^60 - 1, an exbibyte"):
        units.parse_bytes("1Ei")
    with pytest.raises(ValueError, match="larger"):
        units.parse_milli("1E")


@pytest.mark.parametrize(
    ("text", "ppm"),
    [("3%", 30_000), ("0.03", 30_000), (0, 0), (1, 1_000_000), ("100%", 1_000_000), ("0.00001%", 1)],
)
def test_ratios_are_parts_per_million(text: str | float, ppm: int) -> None:
    assert units.parse_ratio_ppm(text) == ppm


@pytest.mark.parametrize("text", ["101%", "-1%", "1.2", "three", "", "nan"])
def test_what_is_not_a_ratio_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ratio"):
        units.parse_ratio_ppm(text)


@pytest.mark.parametrize(
    ("text", "microusd"), [("0.526", 526_000), (3, 3_000_000), ("$1.20", 1_200_000), ("0.0000001", 1)]
)
def test_prices_are_micro_usd(text: str | float, microusd: int) -> None:
    assert units.parse_microusd(text) == microusd


@pytest.mark.parametrize("text", ["-1", "free", "", True, "1,5"])
def test_what_is_not_a_price_is_refused(text: str | bool) -> None:
    with pytest.raises(ValueError, match="price"):
        units.parse_microusd(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1024, "1Ki"),
        (15_636_103_987, "14.6Gi"),
        (-2048, "-2Ki"),
        (700 * 2**20, "700Mi"),
    ],
)
def test_bytes_for_people(value: int, text: str) -> None:
    assert units.format_bytes(value) == text


@given(st.integers(0, 2**60 - 1))
def test_exact_quantities_are_read_back(value: int) -> None:
    assert units.parse_bytes(units.quantity_bytes(value)) == value


@given(st.integers(0, 2**50))
def test_milli_quantities_and_prices_are_read_back(value: int) -> None:
    assert units.parse_milli(units.quantity_milli(value)) == value
    assert units.parse_microusd(units.format_usd(value)) == value


@given(st.integers(0, 1_000_000))
def test_percentages_are_read_back(ppm: int) -> None:
    assert units.parse_ratio_ppm(units.format_percent(ppm)) == ppm


@given(
    number=st.integers(0, 2**62),
    suffix=st.sampled_from(["", "n", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ei", "Zi", "mi"]),
    read=st.sampled_from([units.parse_bytes, units.parse_milli]),
)
def test_a_whole_number_is_what_it_is_as_a_decimal(
    number: int, suffix: str, read: Callable[[str], int]
) -> None:
    """Whole numbers are read without decimals, which a point asks for."""

    def result(text: str) -> object:
        try:
            return read(text)
        except ValueError as error:
            return str(error).replace(text, "")

    assert result(f"{number}{suffix}") == result(f"{number}.0{suffix}")
