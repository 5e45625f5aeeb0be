"""The pages behind `url`, without script: the code, the address, another way, and how they end."""

from __future__ import annotations

import asyncio
import re
import time
from http import HTTPStatus

import pytest

from otpsvc.address import ANY, EMAIL, phone
from otpsvc.tenant import Limits, PageLook
from otpsvc.token import Subject, sign
from tests.flows.rig import Outlet, with_codes
from tests.http.conftest import NewDoor, shop
from tests.http.door import Door, call
from tests.http.pages_rig import Visitor


async def state(door: Door) -> tuple[str, int, int]:
    data = (await door.ask("GET", "/api/otp/user-123")).json["data"]
    return data["state"], data["attempts"], data["generate"]


# The code.


async def test_the_form_works_without_script(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")

    shown = await visitor.get()
    bad = await visitor.post(otp="000000")
    good = await visitor.post(otp="246 810")
    after = await visitor.get()

    assert (shown.kind, shown.hidden["t"]) == ("code", visitor.token)
    assert "This code is not right." in bad.text
    assert (good.kind, after.kind) == ("done", "done")
    assert "You can close this window." in good.text
    assert (await plain_door.ask("POST", "/api/otp/user-123/status", {})).status == 200


async def test_a_client_that_keeps_the_query_when_it_posts_is_served(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    await visitor.get()

    assert (await visitor.post(f"?{visitor.query}", otp="246810")).kind == "done"


async def test_a_form_posted_twice_gets_its_first_answer(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    form = (await visitor.get()).hidden

    wrong = [await visitor.post(form=form, otp="000000") for _ in range(2)]
    right = [await visitor.post(form=form, otp="246810") for _ in range(2)]

    assert ["This code is not right." in page.text for page in wrong] == [True, True]
    assert await state(plain_door) == ("verified", 2, 1)
    assert right[0].main["receipt"]
    assert right[0].main["receipt"] == right[1].main["receipt"]


async def test_two_clicks_at_once_count_one_attempt(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    form = (await visitor.get()).hidden

    pages = await asyncio.gather(*(visitor.post(form=form, otp="246810") for _ in range(5)))

    assert len({page.main["receipt"] for page in pages}) == 1
    assert await state(plain_door) == ("verified", 1, 1)


async def test_a_new_form_after_the_end_brings_no_receipt(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    form = (await visitor.get()).hidden
    await visitor.post(form=form, otp="246810")

    again = await visitor.post(form=form | {"op": "another"}, otp="246810")

    assert (again.kind, again.main["receipt"]) == ("done", "")


async def test_what_a_check_by_page_came_to_is_told(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    for code in ("000000", "246810", "246810"):
        await visitor.post(form={"t": visitor.token}, otp=code)

    told = [line.code for line in plain_door.lines if line.route == "/otp/{namespace}/{id}"]
    assert told == ["wrong_code", "", "closed"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "Type the code first."),
        (" - ", "Type the code first."),
        ("24681", "The code has 6 digits."),
        ("2468101", "The code has 6 digits."),
        ("24681o", "The code has 6 digits."),
        ("1" * 5000, "The code has 6 digits."),
        ("<b>", "The code has 6 digits."),
    ],
)
async def test_what_cannot_be_the_code_costs_no_attempt(plain_door: Door, typed: str, said: str) -> None:
    visitor = await Visitor.of(plain_door)
    await visitor.get()

    page = await visitor.post(otp=typed)

    assert (page.answer.status, page.kind) == (200, "code")
    assert said in page.text
    assert 'aria-invalid="true"' in page.text
    assert (await state(plain_door))[1] == 0


@pytest.mark.parametrize("typed", ["246-810", "246 810", " ٢٤٦٨١٠ ", "２４６８１０", "246\u200b810"])
async def test_a_code_is_taken_as_people_write_it(plain_door: Door, typed: str) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    await visitor.get()

    assert (await visitor.post(otp=typed)).kind == "done"


async def test_a_tenants_own_code_may_have_another_length(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="24681012")
    shown = await visitor.get()

    assert shown.main["length"] == "0"
    assert (await visitor.post(otp="24681012")).kind == "done"


async def test_a_slow_hash_works_and_its_page_outlives_a_resend(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(with_codes(shop(), hash="argon2id"), outlets={"mail": outlet})
    visitor = await Visitor.of(door)
    await door.node.settled()
    await visitor.get()

    again = await visitor.post(action="resend")
    await door.node.settled()

    assert again.kind == "code"
    assert (await visitor.post(otp=outlet.taken[-1].code)).kind == "done"


async def test_a_locked_page_says_when_to_come_back(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810", max_attempts="1", ttl="120")
    await visitor.get()
    locked = await visitor.post(otp="000000")

    assert locked.kind == "locked"
    assert "You can ask for a new one in 2\u00a0min" in locked.text
    assert (await visitor.post(form={"t": visitor.token}, otp="246810")).kind == "locked"


async def test_a_cancelled_page_says_so(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    await plain_door.ask("DELETE", "/api/otp/user-123")

    assert (await visitor.get()).kind == "cancelled"
    assert (await visitor.post(form={"t": visitor.token}, otp="246810")).kind == "cancelled"


async def test_whoever_comes_too_late_is_told_so(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, ttl="1")
    await asyncio.sleep(1.1)
    ended = await visitor.get()
    # Until the store has forgotten it.
    await asyncio.sleep(2.2)
    gone = await visitor.get()

    assert (ended.answer.status, ended.kind) == (gone.answer.status, gone.kind) == (200, "expired")
    assert (await visitor.get("/status")).answer.json["message"] == "Session expired."


async def test_the_page_of_an_older_create_is_over(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    await plain_door.put(to="ben@home.example", otp="135791")

    assert (await visitor.get()).kind == "expired"
    assert (await visitor.post(form={"t": visitor.token}, otp="135791")).kind == "expired"
    assert (await state(plain_door))[1] == 0


# Sending again.


async def test_the_code_is_sent_again(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    visitor = await Visitor.of(door)
    await door.node.settled()
    form = (await visitor.get()).hidden

    pages = [await visitor.post(form=form, action="resend") for _ in range(2)]
    await door.node.settled()

    assert ["A message was sent." in page.text for page in pages] == [True, True]
    assert len(outlet.taken) == 2
    assert outlet.taken[0].code == outlet.taken[1].code


async def test_a_resend_too_soon_says_how_long_to_wait(new_door: NewDoor) -> None:
    door = await new_door(shop(limits=Limits(waits=(240,))))
    visitor = await Visitor.of(door, ttl="3600")
    shown = await visitor.get()

    early = await visitor.post(action="resend")

    waits = [int(wait) for wait in re.findall(r'<button [^>]*data-down="(\d+)"', shown.text)]
    assert [wait in range(181, 241) for wait in waits] == [True]
    assert "You can ask again in 4\u00a0min" in early.text
    assert 'aria-invalid="true"' not in early.text


async def test_clients_have_a_budget_of_sends(new_door: NewDoor) -> None:
    from otpsvc.tenant import Rate

    door = await new_door(shop(limits=Limits(waits=(0,), client=(Rate(1, 3600),))))
    visitor = await Visitor.of(door)
    await visitor.get()
    first = await visitor.post(action="resend")
    second = await visitor.post(action="resend")

    assert "A message was sent." in first.text
    assert "Too many requests from your network." in second.text


async def test_a_tenants_own_code_is_not_sent_again(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door, otp="246810")
    shown = await visitor.get()

    page = await visitor.post(action="resend")

    assert 'value="resend"' not in shown.text
    assert "No more messages can be sent for this code." in page.text
    assert (await state(plain_door))[2] == 1


async def test_another_way_that_the_tenant_lists_reaches_the_same_address(new_door: NewDoor) -> None:
    outlets = {"sms": Outlet(phone()), "voice": Outlet(phone()), "mail": Outlet(EMAIL), "any": Outlet(ANY)}
    door = await new_door(
        shop(channels=("sms", "voice", "mail")), outlets=outlets, titles={"voice": "Phone call"}
    )
    visitor = await Visitor.of(door, provider="sms", to="+4915112345678")
    await door.node.settled()
    shown = await visitor.get()

    called = await visitor.post(action="resend", provider="voice")
    await door.node.settled()
    other = await visitor.post(action="resend", provider="mail")

    assert "Send by: Phone call" in shown.text
    assert 'value="mail"' not in shown.text
    assert "A message was sent." in called.text
    assert [message.code for message in outlets["voice"].taken] == [outlets["sms"].taken[0].code]
    assert "This request has changed in the meantime." in other.text
    assert outlets["mail"].taken == []


async def test_another_way_does_not_make_the_code_live_longer(new_door: NewDoor) -> None:
    outlets = {"sms": Outlet(phone()), "voice": Outlet(phone())}
    door = await new_door(shop(channels=("sms", "voice")), outlets=outlets)
    visitor = await Visitor.of(door, provider="sms", to="+4915112345678", ttl="100")
    await asyncio.sleep(2)
    await visitor.get()
    called = await visitor.post(action="resend", provider="voice")

    assert "A message was sent." in called.text
    assert (await door.ask("GET", "/api/otp/user-123")).json["data"]["ttl"] <= 98


# The address.


async def test_the_page_asks_for_the_address_and_sends_the_code(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    made = (await door.put(to="")).json["data"]
    visitor = Visitor(door, made["url"])

    await visitor.get()
    form = await visitor.follow()
    await visitor.post("/address", to="anna@home.example")
    code = await visitor.follow()
    await door.node.settled()

    assert (form.kind, code.kind) == ("address", "code")
    assert 'type="email"' in form.text
    assert "a\u2060…\u2060@h\u2060…\u2060" in code.text
    assert [message.to for message in outlet.taken] == ["anna@home.example"]
    assert (await visitor.post(otp=outlet.taken[0].code)).kind == "done"
    # The tenant's own gen and url still hold.
    status = await door.ask("POST", "/api/otp/user-123/status", {"gen": made["gen"]})
    assert (status.status, status.json["data"]["to"]) == (200, "anna@home.example")
    assert (await Visitor(door, made["url"]).get()).kind == "done"


async def test_an_address_form_posted_twice_sends_one_message(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    visitor = await Visitor.of(door, to="")
    await visitor.get()
    form = (await visitor.follow()).hidden

    await asyncio.gather(*(visitor.post("/address", form=form, to="anna@home.example") for _ in range(3)))
    await door.node.settled()

    assert len(outlet.taken) == 1
    assert (await state(door))[2] == 1


async def test_a_mistyped_address_can_be_corrected(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    visitor = await Visitor.of(door, to="")
    await visitor.get()
    await visitor.follow()
    await visitor.post("/address", to="ann@home.example")
    shown = await visitor.follow()
    await door.node.settled()
    form = await visitor.get("/address")
    await visitor.post("/address", to="anna@home.example")
    await visitor.follow()
    await door.node.settled()

    first, second = outlet.taken
    assert "Use another address" in shown.text
    assert (form.kind, second.to) == ("address", "anna@home.example")
    assert first.code != second.code
    assert "This code is not right." in (await visitor.post(otp=first.code)).text
    assert (await visitor.post(otp=second.code)).kind == "done"


async def test_an_address_that_the_tenant_gave_stays(plain_door: Door) -> None:
    visitor = await Visitor.of(plain_door)

    form = await visitor.get("/address")
    posted = await visitor.post("/address", form={"t": visitor.token}, to="eve@home.example")

    assert (form.answer.status, posted.answer.status) == (302, 302)
    assert (await plain_door.ask("GET", "/api/otp/user-123")).json["data"]["to"] == "anna@home.example"


@pytest.mark.parametrize("typed", ["", "anna", "a@b\r\nBcc: c@d.example", '"><img src=x>@home.example'])
async def test_a_bad_address_is_shown_again_with_what_to_do(plain_door: Door, typed: str) -> None:
    visitor = await Visitor.of(plain_door, to="")
    await visitor.get()
    await visitor.follow()

    page = await visitor.post("/address", to=typed)

    assert (page.answer.status, page.kind) == (HTTPStatus.OK, "address")
    assert "This is not an e-mail address." in page.text
    assert "<img" not in page.text
    assert (await state(plain_door))[2] == 0


async def test_people_may_choose_between_the_ways_that_the_tenant_lists(new_door: NewDoor) -> None:
    outlets = {"mail": Outlet(EMAIL), "sms": Outlet(phone()), "secret": Outlet(EMAIL)}
    door = await new_door(shop(channels=("mail", "sms")), outlets=outlets)
    visitor = await Visitor.of(door, to="")
    await visitor.get()
    shown = await visitor.follow()
    by_phone = await visitor.get("/address", query=f"{visitor.query}&provider=sms")
    await visitor.post("/address", to="+49 151 12345678")
    await visitor.follow()
    await door.node.settled()

    assert "provider=sms" in shown.text
    assert "secret" not in shown.text
    assert 'type="tel"' in by_phone.text
    assert [message.to for message in outlets["sms"].taken] == ["+4915112345678"]


async def test_a_way_that_is_not_listed_cannot_be_chosen(new_door: NewDoor) -> None:
    outlets = {"mail": Outlet(EMAIL), "secret": Outlet(EMAIL)}
    door = await new_door(outlets=outlets)
    visitor = await Visitor.of(door, to="")
    await visitor.get()
    await visitor.follow()
    await visitor.post("/address", to="anna@home.example", provider="secret")
    await door.node.settled()

    assert outlets["secret"].taken == []
    assert len(outlets["mail"].taken) == 1


async def test_a_tenants_own_code_waits_for_its_address(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    visitor = await Visitor.of(door, to="", otp="246810")
    await visitor.get()
    await visitor.follow()
    await visitor.post("/address", to="anna@home.example")
    shown = await visitor.follow()
    await door.node.settled()

    assert [message.code for message in outlet.taken] == ["246810"]
    # It went to one address and must not verify another.
    assert "Use another address" not in shown.text
    assert (await visitor.get("/address")).answer.status == 302
    assert (
        await visitor.post("/address", form={"t": visitor.token}, to="e@home.example")
    ).answer.status == 302


async def test_the_language_of_the_page_is_that_of_the_message(new_door: NewDoor) -> None:
    outlet = Outlet()
    door = await new_door(outlets={"mail": outlet})
    visitor = await Visitor.of(door, to="")
    await visitor.get(accept_language="de-AT,de;q=0.9")
    form = await visitor.get("/address", accept_language="de-AT,de;q=0.9")
    await visitor._ask(
        "POST",
        visitor.path + "/address",
        form.hidden | {"to": "anna@home.example"},
        {"accept_language": "de-AT,de;q=0.9"},
    )
    await door.node.settled()

    assert '<html lang="de"' in form.text
    assert [message.locale for message in outlet.taken] == ["de"]


# What all of them have.


async def test_the_help_texts_of_the_create_go_before_ours(plain_door: Door) -> None:
    own = await Visitor.of(plain_door, channel_description="Look under the doormat.")
    assert "Look under the doormat." in (await own.get()).text
    await plain_door.put("user-124", to="", address_description="Your mail, please.")
    ours = await Visitor.of(plain_door, id="user-125")

    assert "sent a code by e-mail to a\u2060…" in (await ours.get()).text


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x>', "{title}{0}%s{{ 777*7777 }}"])
async def test_words_of_tenants_are_text(text: str, new_door: NewDoor) -> None:
    door = await new_door(shop(title=text, page=PageLook(help=text)))
    visitor = await Visitor.of(door, channel_description=text)

    shown = (await visitor.get()).text.partition("</script>")[2]

    assert "<script" not in shown
    assert "<img" not in shown
    assert str(777 * 7777) not in shown
    assert "alert(1)" in shown or "{title}{0}%s{{ 777*7777 }}" in shown or "&lt;img" in shown


async def test_a_page_is_packed_for_who_takes_it(plain_door: Door) -> None:
    import gzip

    visitor = await Visitor.of(plain_door)
    plain = (await visitor.get()).answer
    packed = (await visitor.get(accept_encoding="gzip, br")).answer
    head, _, _ = plain.body.partition(b"<title>")

    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"]
    assert gzip.decompress(packed.body).partition(b"<title>")[0] == head
    assert len(packed.body) < 15_000


async def test_headers_allow_nothing_from_elsewhere(plain_door: Door) -> None:
    shown = await (await Visitor.of(plain_door)).get()

    headers = shown.answer.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")
    assert headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in headers
    body = shown.text.partition("</script>")[2]
    assert not re.search(r"<script|https?://(?!www\.w3\.org)| style=| on[a-z]+=", body)


async def test_a_store_that_is_down_says_try_again(new_door: NewDoor) -> None:
    door = await new_door(url="unix:///nowhere/at/all", start=False)
    keyring, of = door.node.verifier.keyring, Subject("shop", "user-123")
    token = sign(keyring, "view", of, gen=bytes(16), expires=int(time.time()) + 600)

    answer = await call(door.app, "GET", f"/otp/shop/user-123?t={token}", {})

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "Please try again" in answer.body.decode()
    assert f"t={token}" in answer.body.decode()
    assert door.lines[-1].code == "store_unavailable"
