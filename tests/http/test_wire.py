"""Every case of docs/wire.md, byte by byte over a socket, once by each way inside."""

from __future__ import annotations

import time

import pytest

from otpsvc.address import EMAIL, phone
from otpsvc.lines import Answered
from otpsvc.tenant import Limits, Secret
from tests.flows.rig import Outlet
from tests.http.conftest import NewDoor, shop
from tests.http.door import FORM, RARE_FORM, Door, Wire
from tests.http.gate import gatekeeper
from tests.http.wire_table import Row, common_headers, pattern, read_givens, read_rows, whole

ROWS = read_rows()
GIVENS = read_givens()
COMMON = common_headers()


async def door_for(row: Row, new_door: NewDoor) -> Door:
    owners = (
        shop(channels=("mail",)),
        shop(name="bank", secrets=(Secret("bank-secret", plain=True),), limits=Limits()),
        shop(name="desk", secrets=(Secret("desk-secret", plain=True),), scopes=frozenset({"sms"})),
        gatekeeper(name="gate", secrets=(Secret("gate-secret", plain=True),)),
        gatekeeper(name="mute", secrets=(Secret("mute-secret", plain=True),), channels=("mail",)),
    )
    url = "unix:///nowhere/at/all" if row.given == "store down" else ""
    # Its courier sleeps, so that no message moves between two looks.
    outlets = {"mail": Outlet(EMAIL), "sms": Outlet(phone())}
    door = await new_door(*owners, url=url, start=False, outlets=outlets)
    if row.given.startswith("modem"):
        door.modems.add("one", state=row.given.split()[1], told=1_700_000_000.0)
        door.modems.answers = {"*123#": Answered(text="Balance: 5")}
    return door


@pytest.mark.parametrize("form", [FORM, RARE_FORM], ids=["hot", "litestar"])
@pytest.mark.parametrize("row", ROWS, ids=[row.name.replace(" ", "-") for row in ROWS])
async def test_exact_bytes(row: Row, form: str, new_door: NewDoor, session_wire: Wire) -> None:
    door, wire = await door_for(row, new_door), session_wire
    wire.app = door.app
    began = time.monotonic()
    for before in GIVENS.get(row.given, []):
        await wire.say(before.raw(form))

    raw = await wire.say(row.request.raw(form))

    body_wanted = pattern(whole(row.body), passed=time.monotonic() - began)
    head, _, body = raw.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert (first.split(" ")[1], body_wanted.fullmatch(body) is not None) == (
        str(row.status),
        True,
    ), f"{first}\n{body}"
    wanted = COMMON | {"content-length": str(len(body.encode()))} | row.headers
    if row.status == 204:
        del wanted["content-type"], wanted["content-length"]
    wanted = {name: value for name, value in wanted.items() if value != "none"}
    assert headers.keys() == wanted.keys()
    for name, value in wanted.items():
        assert pattern(value).fullmatch(headers[name]), (name, headers[name])


def test_every_case_has_its_own_name() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) > 100
    assert {row.given for row in ROWS} <= {*GIVENS, "store down", "modem ready", "modem lost"}
