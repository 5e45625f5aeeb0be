"""The widget on a tenant's site: it opens, ends once, leaves nothing, and says so when it cannot."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha384
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, expect

from otpsvc.http.static import files
from tests.browser.conftest import NewPlace, NewSite
from tests.browser.place import Place, Site
from tests.browser.screens import stop
from tests.browser.sites import (
    COUNTING,
    Guest,
    Town,
    flaws,
    focused,
    furnish,
    hashed,
    script,
    strict,
)
from tests.flows.rig import wrong
from tests.waiting import until

#: As Chromium says it: a frame whose page did not come.
UNREACHABLE = "net::ERR_"


def answer_of(receipt: str, id: str = "user-123") -> dict[str, str]:
    return {"namespace": "shop", "id": id, "receipt": receipt}


def pinned(place: Place) -> str:
    """By the name that changes with the file, held to its hash."""
    name = next(name for name in files() if name.endswith(".js") and name != "otp.js")
    digest = b64encode(sha384(files()[name].body).digest()).decode()
    return script(place, name, integrity=f"sha384-{digest}", crossorigin="anonymous")


def module(place: Place, site: Site) -> str:
    """By import; the site's policy allows this one inline script."""
    source = f'import {{ OTPGateway }} from "{place.url}/static/otp.mjs"; globalThis.OTPGateway = OTPGateway;'
    site.policy = strict(place, hashed(source))
    return f'<script type="module">{source}</script>'


@pytest.fixture
def town(browser: Browser, new_place: NewPlace, new_site: NewSite) -> Town:
    return Town(browser, new_place, new_site)


# On other hosts, and on another port of the same.
@pytest.mark.parametrize(
    ("loaded", "hosts"),
    [
        ("plain", ("localhost", "localhost")),
        ("pinned", ("shop.example", "localhost")),
        ("module", ("shop.example", "otp.example")),
    ],
)
async def test_a_site_with_a_strict_policy_gets_the_receipt_once(
    loaded: str, hosts: tuple[str, str], town: Town
) -> None:
    place, site = await town.shop(host=hosts[0], at=hosts[1])
    furnish(site, place, {"plain": "", "pinned": pinned(place), "module": module(place, site)}[loaded])
    if loaded != "module":
        site.policy = strict(place)
    made = await place.put(purpose="authentication")

    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        frame = await guest.press(made)
        await expect(frame.locator("#otp")).to_be_focused()
        await guest.type(place.code())
        seen = await guest.told()
        await expect(guest.page.locator("[data-otpsvc], iframe")).to_have_count(0)

    receipt = seen["answers"][0][1]["receipt"]
    assert seen["answers"] == [["one", answer_of(receipt)]]
    assert seen["finished"] == [["one", "shop", "user-123", receipt]]
    assert seen["cancelled"] == seen["errors"] == []
    assert [await place.status(receipt=receipt, gen=made["gen"]) for _ in range(2)] == [200, 400]


async def test_a_call_of_otpgateway_works_where_the_tenant_allows_it(town: Town) -> None:
    place, site = await town.shop(open_view=True)
    await place.put()
    call = """(name) => { OTPGateway("shop", "user-123",
      (...told) => seen.finished.push([name, ...told]), (...told) => seen.cancelled.push([name, ...told]),
    ); }"""

    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        await guest.page.evaluate(call, "first")
        await (await guest.ready()).locator("#otp").press("Escape")
        await guest.told("cancelled")
        await guest.page.evaluate(call, "second")
        await guest.type(place.code())
        seen = await guest.told("finished")

    assert seen["cancelled"] == [["first"]]
    assert [one[:3] for one in seen["finished"]] == [["second", "shop", "user-123"]]
    assert await place.status() == 200


# Inline, and several.


async def test_inside_an_element_it_speaks_and_looks_as_the_site_says(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put()
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        await guest.page.focus("#go")
        frame = await guest.begin(made, container="#here", theme="dark", locale="ar")
        html = frame.locator("html[data-theme=dark][lang=ar][dir=rtl]")
        await expect(html).to_have_count(1)
        await expect(guest.page.locator("#here > [data-otpsvc=inline] iframe")).to_have_attribute(
            "title", "التحقق"
        )
        assert await guest.page.get_by_role("dialog").count() == 0
        # The site decides where its visitor is.
        assert await focused(guest.page) == "go"
        assert await flaws(guest.page) + await flaws(await guest.inside()) == []

        await guest.fill(wrong(place.code()))
        await expect(frame.locator("#error")).to_be_visible()
        await expect(html).to_have_count(1)
        # What was typed is selected: the next try replaces it.
        await guest.type(place.code())
        await guest.told("finished")
        await expect(guest.page.locator("#here > *")).to_have_count(0)
        assert await focused(guest.page) in ("go", "BODY")


async def test_two_at_once_do_not_mix_up(town: Town) -> None:
    place, site = await town.shop()
    codes, made = [], []
    for id in ("left-1", "right-1"):
        made.append(await place.put(id))
        codes.append(place.code())
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        left = await guest.begin(made[0], name="left", container="#here")
        await guest.begin(made[1], name="right", container="#there")
        await guest.fill(wrong(codes[0]), id="left-1")
        await expect(left.locator("#error")).to_be_visible()
        await guest.fill(codes[1], id="right-1")
        seen = await guest.told()
        assert [one[0] for one in seen["answers"]] == ["right"]
        await expect(guest.page.locator("#here iframe")).to_have_count(1)
        await left.locator("#otp").press("Control+a")
        await guest.type(codes[0], id="left-1")
        seen = await guest.told(count=2)

    receipts = [answer["receipt"] for _, answer in seen["answers"]]
    assert seen["finished"] == [
        ["right", "shop", "right-1", receipts[0]],
        ["left", "shop", "left-1", receipts[1]],
    ]
    assert seen["cancelled"] == []
    told = {"left-1": receipts[1], "right-1": receipts[0]}
    assert await place.status("left-1", receipt=told["right-1"]) == 400
    assert [await place.status(id, receipt=receipt) for id, receipt in told.items()] == [200, 200]


async def test_who_closes_it_goes_on_where_it_was(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put(to="")
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        frame = await guest.begin(made, name="first")
        await guest.type("anna@home.example\n", "#to")
        await expect(frame.locator("#otp")).to_be_focused()
        await place.node.settled()
        await guest.page.keyboard.press("Escape")
        await guest.told(count=1)

        frame = await guest.begin(made, name="second")
        await guest.type(wrong(place.code()))
        await expect(frame.locator("#meta")).to_contain_text("Attempts left: 4")
        await guest.page.keyboard.press("Escape")
        await guest.told(count=2)

        frame = await guest.begin(made, name="third")
        await expect(frame.locator("#meta")).to_contain_text("Attempts left: 4")
        await guest.fill(place.code())
        seen = await guest.told(count=3)

    receipt = seen["answers"][2][1]["receipt"]
    assert seen["cancelled"] == [["first"], ["second"]]
    assert seen["finished"] == [["third", "shop", "user-123", receipt]]
    assert len(place.outlets["mail"].taken) == 1
    assert await place.status(receipt=receipt, gen=made["gen"]) == 200


async def test_nothing_is_left_behind(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put()
    lost = made | {"url": f"{site.url}/otp/shop/user-123?t=x"}
    async with town.visitor("violates the following Content Security Policy") as context:
        await context.add_init_script(COUNTING)
        await stop(context)
        guest = await Guest.at(context, place, site)
        before = await traces(guest.page)

        await guest.begin(made)
        assert "message" in (await traces(guest.page))[0]
        await (await guest.ready()).locator("#otp").press("Escape")
        await guest.told(count=1)
        cancelled = await traces(guest.page)
        await guest.begin(lost)
        await guest.loaded()
        await guest.page.clock.fast_forward(6000)
        await guest.page.get_by_role("button", name="Close").last.click()
        await guest.told(count=2)
        failed = await traces(guest.page)
        refused = await guest.page.evaluate(MISTAKES)
        mistaken = await traces(guest.page)
        await guest.begin(made)
        await guest.fill(place.code())
        await guest.told("finished")
        finished = await traces(guest.page)

    assert before[0] == []
    assert cancelled == failed == mistaken == finished == before
    assert refused == ["TypeError"] * 6


#: Calls that cannot work: the names of what they throw.
MISTAKES = """() => [
  undefined, {}, { namespace: "shop" }, { url: "javascript:alert(1)/shop/user-123" },
  { container: "#nowhere" }, { onFinish: 1 },
].map((wish, at) => {
  const given = at > 2 ? Object.assign({ namespace: "shop", id: "user-123" }, wish) : wish;
  try { OTPGateway(given); return ""; } catch (error) { return error.name; }
})"""


async def traces(page: Page) -> list[Any]:
    """Listeners on the window and the document, style sheets, elements."""
    found: list[Any] = await page.evaluate(
        """[listening(), document.adoptedStyleSheets.length, document.querySelectorAll("*").length,
            document.documentElement.getAttributeNames(), document.body.getAttributeNames()]"""
    )
    return found


async def test_a_page_that_does_not_come_is_said_in_words(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put()
    held: list[Route] = []
    async with town.visitor(UNREACHABLE) as context:
        await stop(context)
        guest = await Guest.at(context, place, site)
        words = guest.page.get_by_role("status")
        # Nobody listens there.
        await context.route("**/otp/**", lambda route: route.abort("connectionrefused"))
        await guest.begin(made, name="down")
        await expect(words).to_have_text("Loading…")
        await guest.loaded()
        await guest.page.clock.fast_forward(6000)
        await expect(words).to_have_text("This page could not be loaded. Please close it and try again.")
        await guest.page.get_by_role("button", name="Close").last.click()
        await guest.told(count=1)

        # It answers, but late.
        await context.unroute("**/otp/**")
        await context.route("**/otp/**", lambda route: held.append(route))
        frame = await guest.begin(made, name="slow")
        await guest.page.clock.fast_forward(19_000)
        await expect(words).to_have_text("Loading…")
        await guest.page.clock.fast_forward(2000)
        await expect(words).to_have_text("This page could not be loaded. Please close it and try again.")
        # axe waits by the page's clock.
        await guest.page.clock.resume()
        assert await flaws(guest.page) == []
        await until(lambda: held)
        await held[0].continue_()
        await expect(frame.locator("#otp")).to_be_visible()
        await expect(words).to_be_hidden()
        seen = await guest.told(count=1)

    assert seen["cancelled"] == [["down"]]
    assert seen["answers"] == [["down", None]]
    assert seen["finished"] == seen["errors"] == []
