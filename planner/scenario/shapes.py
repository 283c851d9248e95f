"""How people write values: the scalar types that every document of ours is made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from planner.domain.footprint import ZERO, Amount
from planner.units import (
    MICROUSD,
    parse_bytes,
    parse_microusd,
    parse_milli,
    parse_ratio_ppm,
    parse_seconds_ns,
)

LARGEST_INT = 2**31 - 1


class Shape(BaseModel):
    """The base of every document: camelCase names, no unknown fields, no silent conversions."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=to_camel, use_attribute_docstrings=True
    )


def kind_of(value: object) -> str:
    """Return what a value is, in the words of people: ``the number 3``, ``text 'abc'``, ``a list``."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"[:60]
        case str():
            return f"the text {value[:60]!r}"
        case Mapping():
            return "a mapping"
        case _:
            return "a list"


def _scalar(parse: Callable[[str], int], what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"expected {what}, found {kind_of(value)}")
        # A float's shortest text may be '1e-07'; a price or ratio is read without an exponent.
        text = value if isinstance(value, str) else f"{Decimal(repr(value)):f}"
        return parse(text)

    return read


def _text_or_number(pattern: str, description: str, example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}],
            "description": description,
            "examples": [example],
        }
    )


_QUANTITY = r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2}|[numkMGTPE]|[KMGTPE]i)?\s*$"
_NUMBER = r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$"

read_bytes = _scalar(parse_bytes, "an amount of memory such as 16Gi")
read_milli = _scalar(parse_milli, "an amount such as 250m or 2")

Bytes = Annotated[
    int, BeforeValidator(read_bytes), _text_or_number(_QUANTITY, "bytes, as a Kubernetes quantity", "16Gi")
]
Milli = Annotated[
    int, BeforeValidator(read_milli), _text_or_number(_QUANTITY, "a Kubernetes quantity", "250m")
]
Ratio = Annotated[
    int,
    BeforeValidator(_scalar(parse_ratio_ppm, "a ratio such as 3% or 0.03")),
    _text_or_number(r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*%?\s*$", "a share", "3%"),
]
_read_price = _scalar(parse_microusd, "a price in US dollars such as 0.526")
_price_schema = _text_or_number(r"^\s*\$?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$", "US dollars an hour", "0.526")
Price = Annotated[int, BeforeValidator(_read_price), _price_schema]

Seconds = Annotated[
    int,
    BeforeValidator(_scalar(parse_seconds_ns, "a time in seconds such as 0.003")),
    _text_or_number(_NUMBER, "seconds", "0.003"),
]
"""A short time, in nanoseconds."""

_DEAREST_SHARD_USD = 1_000_000


def _read_shard_price(value: Any) -> int:
    price = _read_price(value)
    if price > _DEAREST_SHARD_USD * MICROUSD:
        raise ValueError(
            f"expected at most {_DEAREST_SHARD_USD:,} US dollars an hour, found {kind_of(value)}"
        )
    return price


ShardPrice = Annotated[int, BeforeValidator(_read_shard_price), _price_schema]
"""A price that the sum over any fleet of shards keeps exact."""


def _read_scalar(value: Any) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a quantity, found {kind_of(value)}")
    return value


Scalar = Annotated[
    str | int | float,
    PlainValidator(_read_scalar),
    _text_or_number(_QUANTITY, "a Kubernetes quantity", "600Mi"),
]
"""A quantity whose unit depends on where it stands."""

Strings = dict[str, str]
Count = Annotated[int, Field(ge=0, le=LARGEST_INT)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INT)]


# ------------------------------------------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class _Name:
    """Text of a fixed form, with a message that says which."""

    pattern: str
    longest: int
    what: str

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        fits = re.compile(self.pattern).fullmatch

        def read(value: Any) -> str:
            if isinstance(value, str) and len(value) <= self.longest and fits(value):
                return value
            raise ValueError(self._fault(value))

        return core_schema.no_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "maxLength": self.longest}

    def _fault(self, value: Any) -> str:
        if not isinstance(value, str):
            return f"expected {self.what}, found {kind_of(value)}"
        if not re.fullmatch(self.pattern, value):
            return f"{value[:80]!r} is not {self.what}"
        return f"the name has {len(value)} characters; at most {self.longest} are allowed"


GROUP_LENGTH = 48
"""We append ``-<k>`` and KServe ``-predictor`` to it, and the name of a Service has 63 characters at most."""

_LOWER = "lower-case letters, digits and '-', with a letter or digit at both ends"
ModelName = Annotated[str, _Name(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", 253, f"a model's name: {_LOWER}")]
ObjectName = Annotated[str, _Name(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", 63, f"a name: {_LOWER}")]
GroupName = Annotated[
    str,
    _Name(
        r"[a-z]([-a-z0-9]*[a-z0-9])?",
        GROUP_LENGTH,
        "the name of a group of InferenceServices: lower-case letters, digits and '-', a letter first",
    ),
]
PartName = Annotated[
    str, _Name(r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?", 253, "a name: letters, digits, '-', '_' and '.'")
]
VariableName = Annotated[
    str, _Name(r"[A-Za-z_][A-Za-z0-9_]*", 253, "the name of a variable: letters, digits and '_'")
]
ResourceName = Annotated[
    str,
    _Name(
        r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        253,
        "a resource's name such as licenses or example.com/fpga",
    ),
]
LabelKey = Annotated[
    str,
    _Name(
        r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
        317,
        "the key of a Kubernetes label, as topology.kubernetes.io/zone",
    ),
]
LabelValue = Annotated[
    str, _Name(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", 63, "the value of a Kubernetes label")
]
NodeName = Annotated[
    str, _Name(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", 253, f"a node's name: {_LOWER}; '.' inside")
]


_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and format characters, lone surrogates, line and paragraph separators."""


def _printable(text: str) -> str:
    """Refuse what a terminal would obey rather than show, and what would break a line of a table."""
    if text.isprintable():
        return text
    bad = next((item for item in text if unicodedata.category(item) in _UNPRINTABLE), None)
    if bad is not None:
        raise ValueError(f"holds the character U+{ord(bad):04X}, which cannot be printed")
    return text


Printable = Annotated[str, AfterValidator(_printable)]
Text = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_printable)]
ClassOrAny = Annotated[
    str, _Name(r"\*|[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?", 253, "a device class or '*'")
]
StorageUri = Annotated[
    str, _Name(r"[a-z][a-z0-9+.-]*://[!-~]+", 2048, "a storage URI: a scheme and a path, as s3://bucket/path")
]


# ----------------------------------------------------------------------------------------------- amounts


def fault_at(at: str, message: str) -> PydanticCustomError:
    """Return the fault of a part of a value that is read as a whole; ``at`` is its path from there."""
    return PydanticCustomError("part", "{message}", {"at": at, "message": message})


def _known_fields(value: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in value:
        if key not in known:
            raise PydanticCustomError("part_unknown", "{at}", {"at": key, "known": known})


def _part(value: Mapping[str, Any], at: str, read: Callable[[Any], Any]) -> Any:
    try:
        return read(value[at])
    except PydanticCustomError as error:
        inner = dict(error.context or {})
        inner["at"] = f"{at}.{inner['at']}"
        raise PydanticCustomError(error.type, error.message_template, inner) from None
    except ValueError as error:
        raise fault_at(at, str(error)) from None


_AMOUNTS_KEPT = 2**14
"""Texts whose amounts are remembered: the options of a model, and many models, say and share the same."""


def _amount_reader(read: Callable[[Any], int]) -> Callable[[Any], Amount]:
    def certain(value: Any) -> Amount:
        number = read(value)
        return Amount(p50=number, p95=number)

    certain_text = lru_cache(_AMOUNTS_KEPT)(certain)

    def read_amount(value: Any) -> Amount:
        if isinstance(value, str):
            return certain_text(value)
        if not isinstance(value, Mapping):
            return certain(value)
        _known_fields(value, ("p50", "p95"))
        if len(value) < 2:
            raise ValueError("expected one quantity, or both p50 and p95")
        p50, p95 = _part(value, "p50", read), _part(value, "p95", read)
        if p50 > p95:
            raise ValueError(f"p50 ({value['p50']}) is above p95 ({value['p95']})")
        return Amount(p50=p50, p95=p95)

    return read_amount


_SCALAR_SCHEMA = {"anyOf": [{"type": "string", "pattern": _QUANTITY}, {"type": "number", "minimum": 0}]}
_BARE_AMOUNT_SCHEMA: dict[str, Any] = {
    "description": "one quantity, or its p50 and p95",
    "anyOf": [
        *_SCALAR_SCHEMA["anyOf"],
        {
            "type": "object",
            "properties": {"p50": _SCALAR_SCHEMA, "p95": _SCALAR_SCHEMA},
            "required": ["p50", "p95"],
            "additionalProperties": False,
        },
    ],
}


def _amount_schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({**_BARE_AMOUNT_SCHEMA, "examples": [example]})


read_bytes_amount = _amount_reader(read_bytes)
read_milli_amount = _amount_reader(read_milli)
BytesAmount = Annotated[Amount, PlainValidator(read_bytes_amount), _amount_schema("600Mi")]
MilliAmount = Annotated[Amount, PlainValidator(read_milli_amount), _amount_schema("35m")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """GPU memory of a footprint: while loading, after warm-up and after the unload, in bytes."""

    steady: Amount = ZERO
    load_peak: Amount = ZERO
    residual: Amount = ZERO


def _read_gpu_memory(value: Any) -> GpuMemory:
    if not isinstance(value, Mapping) or {"p50", "p95"} & value.keys():
        steady = read_bytes_amount(value)
        return GpuMemory(steady=steady, load_peak=steady)
    _known_fields(value, ("steady", "loadPeak", "residual"))
    if "steady" not in value:
        raise ValueError(
            "expected one quantity, or a mapping with steady and, if known, loadPeak and residual"
        )
    steady = _part(value, "steady", read_bytes_amount)
    peak = _part(value, "loadPeak", read_bytes_amount) if value.get("loadPeak") is not None else steady
    residual = _part(value, "residual", read_bytes_amount) if value.get("residual") is not None else ZERO
    for quantile in ("p50", "p95"):
        if getattr(peak, quantile) < getattr(steady, quantile):
            raise fault_at(
                "loadPeak", f"is below steady at {quantile}; a model is never smaller while it loads"
            )
    return GpuMemory(steady=steady, load_peak=peak, residual=residual)


@lru_cache(_AMOUNTS_KEPT)
def _gpu_memory_of_texts(*fields: tuple[str, str]) -> GpuMemory:
    return _read_gpu_memory(dict(fields))


def read_gpu_memory(value: Any) -> GpuMemory:
    """Return GPU memory as people write it; what is written alike is kept once."""
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return _gpu_memory_of_texts(*value.items())
    return _read_gpu_memory(value)


GpuMemoryAmount = Annotated[
    GpuMemory,
    PlainValidator(read_gpu_memory),
    WithJsonSchema(
        {
            "description": "one quantity, its p50 and p95, or steady, loadPeak and residual apart",
            "examples": ["600Mi", {"steady": {"p50": "600Mi", "p95": "700Mi"}, "loadPeak": "900Mi"}],
            "anyOf": [
                *_BARE_AMOUNT_SCHEMA["anyOf"],
                {
                    "type": "object",
                    "properties": {
                        "steady": _BARE_AMOUNT_SCHEMA,
                        "loadPeak": _BARE_AMOUNT_SCHEMA,
                        "residual": _BARE_AMOUNT_SCHEMA,
                    },
                    "required": ["steady"],
                    "additionalProperties": False,
                },
            ],
        }
    ),
]
