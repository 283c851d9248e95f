"""Text to exact integers and back: bytes, milli-units, parts per million, micro-dollars and nanoseconds.

Inside the planner memory is ``int`` bytes, shares are ``int`` milli-units, ratios are ``int`` parts per
million and money is ``int`` micro-USD; this module is the only place that knows how people write them.
The syntax of quantities is Kubernetes' (apimachinery ``resource.Quantity``): a decimal number with a
binary suffix (Ki, Mi, Gi, Ti, Pi, Ei), a decimal suffix (n, u, m, k, M, G, T, P, E) or an exponent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, localcontext

PPM = 1_000_000
MICROUSD = 1_000_000
NANOSECONDS = 10**9

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
_QUANTITY = re.compile(
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?:(?P<exponent>[eE][+-]?\d{1,2})|(?P<suffix>[A-Za-z]{0,2}))", re.ASCII
)
_WHOLE = re.compile(r"([0-9]{1,18})([A-Za-z]{0,2})", re.ASCII)
_WHOLE_BYTES = {**_BINARY, **{suffix: int(factor) for suffix, factor in _DECIMAL.items() if factor >= 1}}
_WHOLE_MILLI = {suffix: int(1000 * factor) for suffix, factor in _DECIMAL.items() if 1000 * factor >= 1}
"""What a whole number with a suffix is multiplied by."""
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_LONGEST_TEXT = 60
"""No number that anybody means is longer; arithmetic on millions of digits would overflow ``decimal``."""
_LONGEST_S = 3600
# An exbibyte less one: the solver takes 2^60 for "not limited", so that sums of several stay inside int64.
_LARGEST = 2**60 - 1
# Up to here a 64-bit float, which is how readers of JSON take a plan's cost, tells every micro-USD apart.
_LARGEST_MICROUSD = 2**53


def _short(text: str | float) -> str:
    """Return a text without the blanks around it."""
    body = str(text).strip()
    if len(body) > _LONGEST_TEXT:
        raise ValueError(f"'{body[:20]}...' is no number that makes sense: it has {len(body):,} characters")
    return body


def _exact(text: str | float) -> Decimal:
    """Return the value of a Kubernetes quantity, never negative."""
    if isinstance(text, bool):
        raise ValueError("expected a quantity such as 16Gi or 250m, not a boolean")
    match = _QUANTITY.fullmatch(_short(text))
    if match is None:
        raise ValueError(
            f"{text!r} is not a quantity: write a number with a suffix, as 16Gi, 500M, 250m or 2"
        )
    with localcontext() as context:
        context.prec = 60
        number = Decimal(match["number"] + (match["exponent"] or ""))
        suffix = match["suffix"] or ""
        if suffix in _BINARY:
            value = number * _BINARY[suffix]
        elif suffix in _DECIMAL:
            value = number * _DECIMAL[suffix]
        else:
            known = ", ".join([*_BINARY, *(s for s in _DECIMAL if s)])
            raise ValueError(f"{text!r} has the unknown suffix {suffix!r}; known suffixes: {known}")
    if value > _LARGEST:
        raise ValueError(f"{text!r} is larger than 2^60 - 1, an exbibyte")
    return value


def _whole(text: str | float, factors: Mapping[str, int]) -> int | None:
    """Return a whole number with a suffix without the detour of decimals; None if it needs a closer look."""
    match = _WHOLE.fullmatch(text) if isinstance(text, str) else None
    factor = factors.get(match[2]) if match is not None else None
    if match is None or factor is None:
        return None
    value = int(match[1]) * factor
    return value if value <= _LARGEST else None


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))


def parse_bytes(text: str | float) -> int:
    """Return bytes; a fraction of a byte is rounded up, as Kubernetes does."""
    whole = _whole(text, _WHOLE_BYTES)
    return _ceil(_exact(text)) if whole is None else whole


def parse_milli(text: str | float) -> int:
    """Return milli-units (``"250m"`` is 250, ``"4"`` is 4,000), rounded up."""
    whole = _whole(text, _WHOLE_MILLI)
    if whole is not None:
        return whole
    value = _exact(text) * 1000
    if value > _LARGEST:
        raise ValueError(f"{text!r} is larger than 2^60 - 1 milli-units")
    return _ceil(value)


def parse_ratio_ppm(text: str | float) -> int:
    """Return parts per million of ``"3%"`` or ``0.03``; only 0 to 1 (100 %) is a ratio."""
    body = _short(text)
    percent = body.endswith("%")
    number = body.removesuffix("%").strip()
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{text!r} is not a ratio: write a percentage such as 3% or a number from 0 to 1")
    value = Decimal(number) / (100 if percent else 1)
    if value > 1:
        hint = "" if percent or Decimal(number) > 100 else f"; did you mean {number}%?"
        raise ValueError(f"{text!r} is not a ratio: it is above 100%{hint}")
    return _ceil(value * PPM)


def parse_microusd(text: str | float) -> int:
    """Return micro-USD of a price in USD (``0.526`` is 526,000), rounded up."""
    body = _short(text).removeprefix("$")
    if isinstance(text, bool) or not _NUMBER.fullmatch(body):
        raise ValueError(f"{text!r} is not a price: write US dollars an hour, as 0.526")
    price = _ceil(Decimal(body) * MICROUSD)
    if price > _LARGEST_MICROUSD:
        raise ValueError(f"{text!r} is larger than {_LARGEST_MICROUSD // MICROUSD:,} US dollars an hour")
    return price


def parse_seconds_ns(text: str | float) -> int:
    """Return nanoseconds of a time in seconds (``0.003`` is 3,000,000), rounded up; at most an hour."""
    body = _short(text)
    if isinstance(text, bool) or not _NUMBER.fullmatch(body):
        raise ValueError(f"{text!r} is not a time: write seconds, as 0.003")
    value = _ceil(Decimal(body) * NANOSECONDS)
    if value > _LONGEST_S * NANOSECONDS:
        raise ValueError(f"{text!r} is longer than {_LONGEST_S:,} seconds")
    return value


def format_seconds(value_ns: int) -> str:
    """Return nanoseconds as exact decimal seconds without trailing zeros (``"0.003"``)."""
    return f"{value_ns // NANOSECONDS}.{value_ns % NANOSECONDS:09d}".rstrip("0").rstrip(".")


def format_bytes(value_bytes: int) -> str:
    """Return bytes for people: three significant digits and a binary suffix (``"14.6Gi"``)."""
    sign, value = ("-", -value_bytes) if value_bytes < 0 else ("", value_bytes)
    for suffix, factor in reversed(_BINARY.items()):
        if value >= factor:
            return f"{sign}{_significant(value / factor)}{suffix}"
    return f"{sign}{value}"


def _significant(number: float) -> str:
    decimals = 2 if number < 10 else 1 if number < 100 else 0
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity_bytes(value_bytes: int) -> str:
    """Return bytes as an exact Kubernetes quantity in the largest binary suffix that divides them."""
    for suffix, factor in reversed(_BINARY.items()):
        if value_bytes and value_bytes % factor == 0:
            return f"{value_bytes // factor}{suffix}"
    return str(value_bytes)


def quantity_milli(value_milli: int) -> str:
    """Return milli-units as an exact Kubernetes quantity (``"250m"``, ``"4"``)."""
    return str(value_milli // 1000) if value_milli % 1000 == 0 else f"{value_milli}m"


def format_usd(value_microusd: int) -> str:
    """Return micro-USD as exact decimal USD without trailing zeros (``"0.526"``)."""
    sign, value = ("-", -value_microusd) if value_microusd < 0 else ("", value_microusd)
    text = f"{sign}{value // MICROUSD}.{value % MICROUSD:06d}"
    return text.rstrip("0").rstrip(".")


def format_percent(ppm: int) -> str:
    """Return parts per million as a percentage (``30_000`` is ``"3%"``)."""
    text = f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0").rstrip(".")
    return f"{text}%"
