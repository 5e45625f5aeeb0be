"""Who may see and do what on the pages: tokens, links in messages, `open_view`, frames, other sites."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import urlsplit

import pytest
from msgspec import structs

from otpsvc.tenant import Secret, Texts
from otpsvc.token import Subject, sign
from tests.flows.rig import Outlet
from tests.http.conftest import NewDoor, shop
from tests.http.door import Answer, Door
from tests.http.pages_rig import Visitor


async def attempts(door: Door) -> int:
    return int((await door.ask("GET", "/api/otp/user-123")).json["data"]["attempts"])


def signed(door: Door, label: str, expires: float) -> str:
    of = Subject("shop", "user-123")
    keyring = door.node.verifier.keyring
    return sign(keyring, label, of, gen=bytes(16), expires=int(expires))  # type: ignore[arg-type]


async def test_everybody_else_gets_one_answer_without_a_look_into_the_store(new_door: NewDoor) -> None:
    door = await new_door(shop(), shop(name="bank", secrets=(Secret("bank-secret", plain=True),)))
    visitor = await Visitor.of(door, otp="246810")
    path, token = visitor.path, visitor.token
    expired, receipt = signed(door, "view", time.time() - 1), signed(door, "receipt", time.time() + 600)
    door.node.verifier.store = None  # type: ignore[assignment]

    targets = [
        path,
        f"{path}?t=",
        f"{path}?t={token[:-2]}xx",
        f"{path}?t={'x' * 500}",
        f"{path}?t={expired}",
        f"{path}?t={receipt}",
        f"{path}?t={token}&t={token}",
        f"{path}?t=%zz",
        f"{path}/address",
        f"{path}/status",
        f"{path}/status?t={token[:-2]}xx",
        f"/otp/shop/user-124?t={token}",
        f"/otp/shop/%2e%2e?t={token}",
        f"/otp/bank/user-123?t={token}",
        f"/otp/mallory/user-123?t={token}",
        "/otp/mallory/user-123/status",
    ]
    answers = [await door.ask("GET", target, auth="") for target in targets]
    for fields in ({"otp": "246810"}, {"t": "x", "otp": "246810"}, {"t": "x", "to": "e@home.example"}):
        answers.append(await door.ask("POST", path, fields, auth=""))
        answers.append(await door.ask("POST", path + "/address", fields, auth=""))

    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert len({tuple(sorted({**answer.headers, "x-request-id": ""}.items())) for answer in answers}) == 1
    assert answers[0].status == 404
    assert "frame-ancestors 'none'" in answers[0].headers["content-security-policy"]
    assert {line.code for line in door.lines[1:]} == {""}


async def test_the_receipt_is_in_the_answer_to_the_right_code_alone(new_door: NewDoor) -> None:
    door = await new_door(shop(require_receipt=True, origins=("https://shop.example",)))
    visitor = await Visitor.of(door, otp="246810")
    shown = await visitor.get()
    good = await visitor.post(otp="246810")
    receipt = good.main["receipt"]
    after = await visitor.get()

    async def status(**fields: str) -> int:
        return (await door.ask("POST", "/api/otp/user-123/status", fields)).status

    assert "receipt" not in shown.main
    assert after.main["receipt"] == ""
    assert [await status(), await status(receipt=receipt), await status(receipt=receipt)] == [400, 200, 400]


async def test_a_get_changes_nothing(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    for query in ("otp=246810&action=check", "otp=246810", "action=resend", "to=eve@home.example"):
        for below in ("", "/address", "/status"):
            await visitor.get(below, query=f"{visitor.query}&{query}")
            await plain_door.ask("HEAD", f"{visitor.path}{below}?{visitor.query}&{query}", auth="")

    data = (await plain_door.ask("GET", "/api/otp/user-123")).json["data"]
    assert (data["attempts"], data["state"], data["generate"]) == (0, "pending", 1)


async def test_the_code_of_an_old_link_is_filled_in_and_not_sent(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    page = await visitor.get(query=f"{visitor.query}&otp=246810&action=check")

    assert 'value="246810"' in page.text
    assert page.kind == "code"
    assert all("246810" not in repr(line) for line in plain_door.lines)


# Links in messages.


async def linked(door: Door, outlet: Outlet, **fields: str) -> Visitor:
    """Who opens the link that the message brought."""
    await door.put(**fields)
    await door.node.settled()
    (url,) = re.findall(r"http://localhost:9000(/otp/\S+)", outlet.taken[-1].text)
    assert urlsplit(url).fragment == f"otp={outlet.taken[-1].code}"
    assert outlet.taken[-1].code not in url.partition("#")[0].partition("?")[0]
    return Visitor(door, url)


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


@pytest.fixture
async def linking(new_door: NewDoor, outlet: Outlet) -> Door:
    owner = shop(templates=Texts(text="{{ code }} {{ url }}"), origins=("https://shop.example",))
    return await new_door(owner, outlets={"mail": outlet})


async def test_a_mailed_link_confirms_an_address_when_a_person_says_so(linking: Door, outlet: Outlet) -> None:
    visitor = await linked(linking, outlet)
    shown = await visitor.get()
    good = await visitor.post(otp=outlet.taken[0].code)

    assert (shown.kind, good.kind) == ("link", "done")
    assert "frame-ancestors 'none'" in shown.answer.headers["content-security-policy"]
    # The window that waits for it is another one.
    assert good.main["receipt"] == ""
    assert (await linking.ask("POST", "/api/otp/user-123/status", {})).status == 200


@pytest.mark.parametrize("purpose", ["authentication", "transaction"])
@pytest.mark.parametrize("require", [None, False])
async def test_a_mailed_link_never_closes_an_authentication(
    linking: Door, outlet: Outlet, purpose: str, require: bool | None
) -> None:
    linking.node.tenants["shop"] = structs.replace(linking.node.tenants["shop"], require_receipt=require)
    visitor = await linked(linking, outlet, purpose=purpose)
    shown = await visitor.get()
    form = {"t": visitor.token, "otp": outlet.taken[0].code, "op": "1"}
    posted = await visitor.post(form=form)

    assert shown.kind == "show"
    assert "<form" not in shown.text
    assert outlet.taken[0].code not in shown.text
    assert posted.kind == "show"
    data = (await linking.ask("GET", "/api/otp/user-123")).json["data"]
    assert (data["state"], data["attempts"]) == ("pending", 0)


async def test_a_mailed_link_closes_nothing_where_a_receipt_is_awaited(
    new_door: NewDoor, outlet: Outlet
) -> None:
    owner = shop(templates=Texts(text="{{ code }} {{ url }}"), require_receipt=True)
    door = await new_door(owner, outlets={"mail": outlet})
    visitor = await linked(door, outlet)
    shown = await visitor.get()
    await visitor.post(form={"t": visitor.token, "otp": outlet.taken[0].code, "op": "1"})

    assert shown.kind == "show"
    assert (await door.ask("GET", "/api/otp/user-123")).json["data"]["state"] == "pending"


async def test_a_mailed_link_sends_nothing(linking: Door, outlet: Outlet) -> None:
    visitor = await linked(linking, outlet)
    await visitor.post(form={"t": visitor.token, "action": "resend"})
    address = await visitor.post("/address", form={"t": visitor.token, "to": "eve@home.example"})
    shown = await visitor.get()
    await linking.node.settled()

    assert len(outlet.taken) == 1
    assert address.answer.status == 302
    assert 'value="resend"' not in shown.text


async def test_scanners_verify_nothing(linking: Door, outlet: Outlet) -> None:
    visitor = await linked(linking, outlet)
    for method in ("GET", "HEAD", "GET"):
        answer = await linking.ask(
            method, f"{visitor.path}?{visitor.query}&otp={outlet.taken[0].code}", auth=""
        )
        assert answer.status == 200

    data = (await linking.ask("GET", "/api/otp/user-123")).json["data"]
    assert (data["state"], data["attempts"]) == ("pending", 0)


# Without a token.


@pytest.fixture
async def open_door(new_door: NewDoor) -> Door:
    return await new_door(shop(open_view=True, origins=("https://shop.example",)))


async def test_where_the_tenant_allows_it_an_id_opens_the_page(open_door: Door) -> None:
    visitor = await Visitor.of(open_door, otp="246810")
    shown = await visitor.get(query="view=popup")
    good = await visitor.post(otp="246810")

    assert (shown.kind, good.kind) == ("code", "done")
    assert good.main["receipt"]
    assert 'value="resend"' not in shown.text
    assert "frame-ancestors https://shop.example" in shown.answer.headers["content-security-policy"]


async def test_without_a_token_there_are_two_attempts_and_no_sends(open_door: Door) -> None:
    visitor = await Visitor.of(open_door, otp="246810")
    stranger = Visitor(open_door, visitor.path, client="203.0.113.9")
    pages = [await stranger.post(form={}, otp=code) for code in ("000000", "111111", "222222", "246810")]
    await stranger.post(form={}, action="resend")
    await stranger.post("/address", form={}, to="eve@home.example")

    assert ["Too many wrong codes." in page.text for page in pages] == [False, False, True, True]
    assert await attempts(open_door) == 2
    data = (await open_door.ask("GET", "/api/otp/user-123")).json["data"]
    assert (data["generate"], data["to"]) == (1, "anna@home.example")
    # Nobody else is kept out by that, least of all who has the token.
    assert (await visitor.post(form={"t": visitor.token}, otp="246810")).kind == "done"


async def test_without_a_token_an_unknown_id_looks_like_one_that_is_over(open_door: Door) -> None:
    unknown = await Visitor(open_door, "/otp/shop/nobody-1").get(query="")
    await open_door.put(ttl="1", otp="246810")
    await asyncio.sleep(1.1)
    over = await Visitor(open_door, "/otp/shop/user-123").get(query="")

    assert (unknown.answer.status, unknown.kind) == (over.answer.status, over.kind) == (200, "expired")
    assert unknown.text.replace("nobody-1", "user-123") == over.text


async def test_without_a_token_nobody_names_the_address(open_door: Door) -> None:
    made = await open_door.put(to="")
    stranger = Visitor(open_door, urlsplit(made.json["data"]["url"]).path)

    assert (await stranger.get(query="")).kind == "expired"
    await stranger.post("/address", form={}, to="eve@home.example")
    assert (await open_door.ask("GET", "/api/otp/user-123")).json["data"]["to"] == ""


# Frames and other sites.


async def test_only_the_tenants_origins_may_frame_it(new_door: NewDoor) -> None:
    door = await new_door(shop(origins=("https://shop.example", "https://m.shop.example")))
    page = await (await Visitor.of(door)).get()

    policy = page.answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://shop.example https://m.shop.example")
    assert page.main["origins"] == "https://shop.example https://m.shop.example"


async def submitted(door: Door, visitor: Visitor, fields: dict[str, str], **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await door.ask("POST", visitor.path, fields, auth="", headers=sent)


async def test_forms_of_other_sites_are_refused(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    fields = {"t": visitor.token, "otp": "246810"}

    assert (await submitted(plain_door, visitor, fields, sec_fetch_site="cross-site")).status == 404
    assert await attempts(plain_door) == 0
    assert (await submitted(plain_door, visitor, fields, sec_fetch_site="same-origin")).status == 200


async def test_without_a_token_forms_of_other_origins_are_refused_too(open_door: Door) -> None:
    visitor = await Visitor.of(open_door, otp="246810")

    assert (await submitted(open_door, visitor, {"otp": "246810"}, sec_fetch_site="same-site")).status == 404
    assert (await submitted(open_door, visitor, {"otp": "246810"}, sec_fetch_site="none")).status == 200


async def test_a_client_that_posts_without_end_is_slowed_down(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    fields = {"t": visitor.token}
    statuses: list[int] = []
    # One more is allowed every fifth of a second, so a slow machine needs some more.
    while 429 not in statuses and len(statuses) < 500:
        posts = [plain_door.ask("POST", visitor.path, fields, auth="") for _ in range(50)]
        statuses += [answer.status for answer in await asyncio.gather(*posts)]
    other = Visitor(plain_door, f"{visitor.path}?{visitor.query}", client="192.0.2.9")

    assert statuses[:100] == [200] * 100
    assert 429 in statuses
    assert (await other.post(form={"t": visitor.token})).answer.status == 200


# The state, for the script.


async def test_the_state_is_that_of_otpgateway_with_a_version(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    await plain_door.node.settled()
    page = await visitor.get()
    before = (await visitor.get("/status")).answer.json
    await visitor.post(form={"t": visitor.token}, otp="246810")
    after = (await visitor.get("/status")).answer.json

    assert (before["closed"], before["state"], before["version"]) == (False, "pending", page.main["version"])
    assert (after["closed"], after["state"]) == (True, "verified")
    assert set(before) == {"closed", "state", "version"}
