"""The OpenAPI document is complete and true: a fuzzer finds no answer that it does not name."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

from otpsvc.http.calls import CALLS
from otpsvc.http.openapi import document
from otpsvc.lines import Answered
from otpsvc.message import Incoming
from tests.http.conftest import NewDoor
from tests.http.door import Wire, basic
from tests.http.gate import TO, open_gate
from tests.http.wire_table import read_rows
from tests.waiting import PATIENCE

URL = "http://localhost:9000"
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = 25


def test_every_call_is_described() -> None:
    paths = document(URL)["paths"]
    described = {(method.upper(), path) for path, item in paths.items() for method in item}

    assert described == {(call.method, call.route) for call in CALLS} | {("GET", "/api/health")}


def test_every_answer_of_the_wire_table_is_described() -> None:
    paths = document(URL)["paths"]
    for row in read_rows():
        path = row.request.target.partition("?")[0].rstrip("/")
        for id in ("user-123", "user%2D123"):
            path = path.replace(id, "{id}")
        operation = paths.get(path, {}).get(row.request.method.lower())
        if operation is not None:
            assert str(row.status) in operation["responses"], row.name


def test_it_can_be_changed_without_changing_the_next_one() -> None:
    document(URL)["paths"].clear()
    assert document(URL)["paths"]


def test_it_is_a_valid_document() -> None:
    schemathesis.openapi.from_dict(document(URL)).validate()


def test_operations_have_their_own_names() -> None:
    names = [one["operationId"] for item in document(URL)["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)


def known(case: Any) -> None:
    """Lead a case to what exists, so that it comes further than the first refusal."""
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = "user-123"
    if "number" in (case.path_parameters or {}):
        case.path_parameters["number"] = TO
    if isinstance(case.body, dict) and "provider" in case.body:
        case.body |= {"provider": "mail", "to": "anna@home.example"}
    if isinstance(case.body, dict) and "text" in case.body:
        case.body["to"] = TO
        for name in ("channel", "route", "modem", "deadline"):
            case.body.pop(name, None)


def fuzz(base: str, mode: GenerationMode) -> int:
    """Runs in a thread of its own; raises at the first answer that is not described."""
    chosen = [getattr(checks, name) for name in NAMES]
    asked = 0
    for found in schemathesis.openapi.from_dict(document(base)).get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), lead=st.booleans(), problem=st.booleans())
        def ask(case: Any, lead: bool, problem: bool) -> None:
            nonlocal asked
            asked += 1
            if lead:
                known(case)
            headers = {"authorization": basic()} | ({"accept": "application/problem+json"} if problem else {})
            case.call_and_validate(base_url=base, headers=headers, checks=chosen, timeout=PATIENCE)

        # A call without parameters has nothing that could be wrong.
        with contextlib.suppress(Unsatisfiable):
            ask()
    return asked


# Said of the strategies, when the service draws meanwhile: in this process, and from the same source.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:Warning")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
async def test_a_fuzzer_finds_no_undocumented_answer(mode: GenerationMode, new_door: NewDoor) -> None:
    gate = await open_gate(new_door)
    door = gate.door
    await door.put(otp="246810")
    door.modems.add("user-123", since=1.0, used={"1d": (1, 2)})
    door.modems.answers = {"1": Answered(text="x")}
    await door.inbox.take(Incoming(id="1", line="user-123", sender="x", text="y", tenant="shop"))

    async with Wire(door.app) as wire:
        asked = await asyncio.to_thread(fuzz, f"http://127.0.0.1:{wire.port}", mode)

    statuses = {line.status for line in door.lines}
    assert asked >= 100
    assert {200, 202, 400} <= statuses if mode is GenerationMode.POSITIVE else {400} <= statuses
    assert not any(line.failure for line in door.lines)
