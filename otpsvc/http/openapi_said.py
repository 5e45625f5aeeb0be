"""What the OpenAPI document says about a call."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from otpsvc.http.openapi_schemas import Schema


class Said(Struct, frozen=True, kw_only=True):
    """`refused`: what it answers beyond what all do. `shape`: the schema of its answer, empty: by `data`.

    `path`: the parameter in its route; empty: the id of a verification. `query`: its fields stand there.
    """

    title: str
    note: str = ""
    fields: Schema = {}
    required: tuple[str, ...] = ()
    example: Schema = {}
    refused: tuple[int, ...] = ()
    key: bool = False
    query: bool = False
    data: Any = None
    shape: str = ""
    path: Schema = {}
