"""The types of config values: which fields a table has, how each is written, what fits."""

from __future__ import annotations

import functools
import re

from msgspec import Struct, inspect

from otpsvc.config.values import WRITTEN, Written

#: Larger integers do not convert to floats.
_FLOAT_MAX = 1e18


@functools.cache
def fields_of(cls: type[Struct]) -> dict[str, inspect.Field]:
    """The fields of a struct by their names in the file."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


def written(kind: inspect.Type) -> Written | None:
    """How a type that is written as one string is read; None for all others."""
    if isinstance(kind, inspect.StructType | inspect.CustomType):
        return WRITTEN.get(kind.cls)
    return None


def without_none(kind: inspect.Type) -> inspect.Type:
    """`X | None` as `X`: TOML has no null, a missing key says it."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    rest = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    return rest[0] if len(rest) == 1 else kind


def item_of(kind: inspect.Type) -> inspect.Type | None:
    """The type of the items of a list; None when it is no list."""
    if isinstance(kind, inspect.CollectionType):
        return kind.item_type
    return None


def fits(kind: inspect.Type, value: object) -> bool:
    """True when a plain value is of the type and inside its bounds."""
    match kind:
        case inspect.AnyType():
            return True
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _in_bounds(kind, value)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _in_bounds(kind, value)
        case inspect.StrType():
            return isinstance(value, str) and _text_fits(kind, value)
        case inspect.LiteralType():
            return any(value == one and type(value) is type(one) for one in kind.values)
        case inspect.EnumType():
            return any(value == one.value for one in kind.cls)
        case inspect.UnionType():
            return any(fits(one, value) for one in kind.types)
    return False


def _in_bounds(kind: inspect.IntType | inspect.FloatType, value: float) -> bool:
    # TOML has nan and inf; no setting means them.
    if isinstance(kind, inspect.FloatType) and not abs(value) <= _FLOAT_MAX:
        return False
    return (
        (kind.ge is None or value >= kind.ge)
        and (kind.gt is None or value > kind.gt)
        and (kind.le is None or value <= kind.le)
        and (kind.lt is None or value < kind.lt)
    )


def _text_fits(kind: inspect.StrType, value: str) -> bool:
    return (
        len(value) >= (kind.min_length or 0)
        and (kind.max_length is None or len(value) <= kind.max_length)
        and (kind.pattern is None or re.search(kind.pattern, value) is not None)
    )
