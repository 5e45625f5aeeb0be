"""The page behind `url`: for who holds the token, and one fixed answer for all others."""

from __future__ import annotations

import re
import time
from urllib.parse import urlsplit

import pytest

from otpsvc.tenant import Secret
from otpsvc.token import Subject, sign
from tests.http.conftest import NewDoor, shop
from tests.http.door import Answer, Door, call


async def page_of(door: Door, **fields: str) -> tuple[str, str]:
    """Its path and its token."""
    made = await door.put(otp="246810", **fields)
    parts = urlsplit(made.json["data"]["url"])
    return parts.path, parts.query.removeprefix("t=")


async def submit(door: Door, path: str, fields: dict[str, str], **headers: str) -> Answer:
    return await door.ask(
        "POST", path, fields, auth="", headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


async def test_the_form_works_without_script(plain_door: Door) -> None:
    path, token = await page_of(plain_door)

    shown = await plain_door.ask("GET", f"{path}?t={token}", auth="")
    bad = await submit(plain_door, path, {"t": token, "otp": "000000"})
    good = await submit(plain_door, path, {"t": token, "otp": "246 810"})
    after = await plain_door.ask("GET", f"{path}?t={token}", auth="")

    assert shown.status == 200
    assert f'name="t" value="{token}"' in shown.body.decode()
    assert "This code is not right." in bad.body.decode()
    assert "<h1>Verified</h1>" in good.body.decode()
    assert "<h1>Verified</h1>" in after.body.decode()
    assert (await plain_door.ask("POST", "/api/otp/user-123/status", {})).status == 200


async def test_what_a_check_by_page_came_to_is_told(plain_door: Door) -> None:
    path, token = await page_of(plain_door)

    for code in ("000000", "246810", "246810"):
        await submit(plain_door, path, {"t": token, "otp": code})

    told = [line.code for line in plain_door.lines if line.route == "/otp/{namespace}/{id}"]
    assert told == ["wrong_code", "", "closed"]


async def test_a_get_changes_nothing(plain_door: Door) -> None:
    path, token = await page_of(plain_door)

    await plain_door.ask("GET", f"{path}?t={token}&otp=246810&action=check", auth="")

    data = (await plain_door.ask("GET", "/api/otp/user-123")).json["data"]
    assert (data["attempts"], data["state"]) == (0, "pending")


async def test_headers_allow_nothing_from_elsewhere(plain_door: Door) -> None:
    path, token = await page_of(plain_door)

    shown = await plain_door.ask("GET", f"{path}?t={token}", auth="")

    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (shown.headers["cache-control"], shown.headers["referrer-policy"]) == ("no-store", "same-origin")
    assert not re.search(rb"<script|https?://| style=| on[a-z]+=", shown.body)


async def test_everybody_else_gets_one_answer_without_a_look_into_the_store(new_door: NewDoor) -> None:
    door = await new_door(shop(), shop(name="bank", secrets=(Secret("bank-secret", plain=True),)))
    path, token = await page_of(door)
    expired = sign(
        door.node.verifier.keyring,
        "view",
        Subject("shop", "user-123"),
        gen=bytes(16),
        expires=int(time.time()) - 1,
    )
    receipt = sign(
        door.node.verifier.keyring,
        "receipt",
        Subject("shop", "user-123"),
        gen=bytes(16),
        expires=int(time.time()) + 9,
    )
    door.node.verifier.store = None  # type: ignore[assignment]

    answers = [
        await door.ask("GET", target, auth="")
        for target in (
            path,
            f"{path}?t=",
            f"{path}?t={token[:-2]}xx",
            f"{path}?t={'x' * 500}",
            f"{path}?t={expired}",
            f"{path}?t={receipt}",
            f"{path}?t={token}&t={token}",
            f"{path}?t=%zz",
            f"/otp/shop/user-124?t={token}",
            f"/otp/bank/user-123?t={token}",
            f"/otp/mallory/user-123?t={token}",
        )
    ]
    answers += [
        await submit(door, path, {"otp": "246810"}),
        await submit(door, path, {"t": "x", "otp": "246810"}),
    ]

    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert len({tuple(sorted({**answer.headers, "x-request-id": ""}.items())) for answer in answers}) == 1
    assert answers[0].status == 404
    assert {line.code for line in door.lines[1:]} == {""}


async def test_the_page_of_an_older_create_is_gone(plain_door: Door) -> None:
    path, token = await page_of(plain_door)
    await plain_door.put(to="ben@home.example", otp="135791")

    assert (await plain_door.ask("GET", f"{path}?t={token}", auth="")).status == 404
    assert (await submit(plain_door, path, {"t": token, "otp": "135791"})).status == 404
    assert (await plain_door.ask("GET", "/api/otp/user-123")).json["data"]["attempts"] == 0


async def test_forms_of_other_sites_are_refused(plain_door: Door) -> None:
    path, token = await page_of(plain_door)

    answer = await submit(plain_door, path, {"t": token, "otp": "246810"}, sec_fetch_site="cross-site")

    assert answer.status == 404
    assert (
        await submit(plain_door, path, {"t": token, "otp": "246810"}, sec_fetch_site="same-origin")
    ).status == 200


async def test_a_locked_page_says_so(plain_door: Door) -> None:
    path, token = await page_of(plain_door, max_attempts="1")
    locked = await submit(plain_door, path, {"t": token, "otp": "000000"})

    assert "Too many attempts" in locked.body.decode()
    assert (
        "Too many attempts" in (await submit(plain_door, path, {"t": token, "otp": "246810"})).body.decode()
    )


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x>', "{title}{0}%s"])
async def test_words_of_tenants_are_text(text: str, plain_door: Door) -> None:
    path, token = await page_of(plain_door, channel_description=text)

    shown = (await plain_door.ask("GET", f"{path}?t={token}", auth="")).body.decode()

    assert "<script" not in shown
    assert "<img" not in shown
    assert "alert(1)" in shown or "{title}{0}%s" in shown or "&lt;img" in shown


async def test_a_store_that_is_down_says_try_again(new_door: NewDoor) -> None:
    door = await new_door(url="unix:///nowhere/at/all", start=False)
    token = sign(
        door.node.verifier.keyring,
        "view",
        Subject("shop", "user-123"),
        gen=bytes(16),
        expires=int(time.time()) + 9,
    )

    answer = await call(door.app, "GET", f"/otp/shop/user-123?t={token}", {})

    assert (answer.status, "Please try again" in answer.body.decode()) == (503, True)
    assert door.lines[-1].code == "store_unavailable"
