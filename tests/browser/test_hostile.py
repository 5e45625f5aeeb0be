"""Sites that mean harm, and those that look like it: only the tenant's own page hears of a receipt."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Browser, Frame, Page, Route, expect

from otpsvc.tenant import Texts
from tests.browser.conftest import NewPlace, NewSite
from tests.browser.screens import stop, typed
from tests.browser.sites import (
    ALL,
    FITS,
    JUNK,
    Guest,
    Town,
    comes_true,
    fill_at,
    flaws,
    framing,
    furnish,
    heard,
    holds,
    saying,
)
from tests.http.conftest import shop
from tests.waiting import until

#: What Chromium says of a refused frame.
REFUSED = "frame-ancestors"
#: Where a refused frame is instead.
NOWHERE = "chrome-error://chromewebdata/"
HTML = {"content-type": "text/html; charset=utf-8"}


async def refused(frame: Frame) -> None:
    """Until the browser has put its own page there."""
    await until(lambda: frame.url == NOWHERE, lambda: frame.url)


# Who may show the page in a frame.


@pytest.fixture
def town(browser: Browser, new_place: NewPlace, new_site: NewSite) -> Town:
    return Town(browser, new_place, new_site)


async def test_a_site_that_is_not_configured_shows_and_hears_nothing(town: Town) -> None:
    place, site = await town.shop()
    # One of them has the service's host and another port, another the shop's.
    hosts = ("evil.example", "shop.example.evil.example", "evil-shop.example", "shop.example", "localhost")
    # The code filled in: one click of somebody who sees another button would do.
    bait = framing(f"{(await place.put())['url']}&otp={place.code()}")
    site.policy, site.pages["/plain"] = "", bait
    async with town.visitor(REFUSED) as context:
        page = await context.new_page()
        await page.goto(site.url + "/plain")
        verify = page.frame_locator("iframe").get_by_role("button", name="Verify")
        await verify.click(trial=True)
        button = await verify.bounding_box()
        assert button
        for host in hosts:
            evil = await town.site(host)
            evil.pages["/"] = bait
            await page.goto(evil.url)
            await refused(page.frames[1])
            await page.mouse.click(button["x"] + 9, button["y"] + 9)
            assert await heard(page) == []
        assert (await place.state())["attempts"] == 0
        await page.goto(site.url + "/plain")
        await verify.click(trial=True)

        async def works() -> bool:
            """Once the browser knows whose place that is on the screen."""
            await page.mouse.click(button["x"] + 9, button["y"] + 9)
            return any(data.get("receipt") for _, data in await heard(page))

        await until(works)


async def test_its_widget_says_so_and_can_be_closed(town: Town) -> None:
    place, _ = await town.shop()
    evil = furnish(await town.site("evil.example"), place)
    async with town.visitor(REFUSED) as context:
        await stop(context)
        guest = await Guest.at(context, place, evil)
        await guest.begin(await place.put())
        await guest.page.locator("iframe").wait_for(state="attached")
        await expect(guest.page.get_by_role("status")).to_have_text("Loading…")
        await guest.loaded()
        await guest.page.clock.fast_forward(6000)
        await expect(guest.page.get_by_role("status")).to_contain_text("could not be loaded")
        # axe waits by the page's clock.
        await guest.page.clock.resume()
        assert await flaws(guest.page) == []
        await holds(guest.page, "title")
        await guest.page.keyboard.press("Escape")
        seen = await guest.told()
        assert await heard(guest.page) == []

    assert seen["cancelled"] == [["one"]]
    assert seen["finished"] == []


async def test_every_page_around_the_frame_counts(town: Town) -> None:
    own, second, evil = [await town.site(host) for host in ("shop.example", "blog.example", "evil.example")]
    place = await town.new_place(shop(origins=(own.url, second.url)))
    url = (await place.put())["url"]
    for site in (own, second, evil):
        site.pages["/frame"] = framing(url)
        site.pages["/own"] = framing(own.url + "/frame")
        site.pages["/evil"] = framing(evil.url + "/frame")
        # An origin that is nobody's.
        site.pages["/sandbox"] = framing(own.url + "/frame", sandbox="allow-scripts")
    async with town.visitor(REFUSED) as context:
        page = await context.new_page()
        for start in (second.url + "/own", own.url + "/own"):
            await page.goto(start)
            await expect(page.frames[2].locator("#otp")).to_be_visible()
            await comes_true(page.frames[1], "() => heard.length")
            assert await heard(page) == []
            assert {origin for origin, _ in await heard(page.frames[1])} == {place.url}
        for start in (evil.url + "/own", own.url + "/evil", own.url + "/sandbox"):
            await page.goto(start)
            await refused(page.frames[2])
            assert await heard(page) == await heard(page.frames[1]) == []


async def test_links_and_what_is_not_there_are_framed_by_nobody(town: Town) -> None:
    place, site = await town.shop(templates=Texts(text="{{ code }} {{ url }}"))
    urls = {}
    for purpose in ("address_confirmation", "authentication"):
        made = await place.put(purpose, purpose=purpose)
        urls[purpose] = re.findall(r"http\S+", place.outlets["mail"].taken[-1].text)[0]
    view = made["url"]
    bare = view.partition("?")[0]
    urls |= {"no token": bare, "tampered": view[:-2] + "xx", "nobody's": bare.replace("/shop/", "/mallory/")}
    urls |= {"address": bare + "/address", "status": bare + "/status"}
    site.policy = ""
    async with town.visitor(REFUSED, "status of 404") as context:
        page = await context.new_page()
        for name, url in urls.items():
            site.pages["/"] = framing(url)
            await page.goto(site.url)
            await refused(page.frames[1])
            assert await heard(page) == [], name
        site.pages["/"] = framing(view)
        await page.goto(site.url)
        await expect(page.frames[1].locator("#otp")).to_be_visible()


async def test_in_a_sandbox_no_receipt_is_made(town: Town) -> None:
    place, site = await town.shop()
    site.policy = ""
    site.pages["/"] = framing((await place.put())["url"], sandbox="allow-scripts allow-forms")
    async with town.visitor("CORS policy", "net::ERR_FAILED", "status of 404", REFUSED) as context:
        page = await context.new_page()
        await page.goto(site.url)
        frame = page.frames[1]
        # Posted from an origin that is nobody's: refused, by script and without.
        await fill_at(frame.locator("#otp"), place.code())
        await expect(frame.locator("#error")).to_be_visible()
        await frame.evaluate("document.getElementById('check').submit()")
        await refused(frame)
        assert "receipt" not in json.dumps(await heard(page))

    assert ((await place.state())["state"], (await place.state())["attempts"]) == ("pending", 0)


# Not every browser says who frames a page, and some say "null". (whatwg/html#11560)
@pytest.mark.parametrize("around", ["undefined", "['null']"])
async def test_where_a_browser_lets_everybody_frame_it_only_the_shop_hears(around: str, town: Town) -> None:
    place, site = await town.shop()
    evil = await town.site("evil.example")
    site.policy, url = "", (await place.put())["url"]
    site.pages["/"] = evil.pages["/"] = framing(url)

    async def unprotected(route: Route) -> None:
        body = await (await route.fetch()).text()
        await route.fulfill(body=body.replace("location.ancestorOrigins", around), headers=HTML)

    async with town.visitor() as context:
        await context.route("**/otp/**", unprotected)
        page = await context.new_page()
        await page.goto(site.url)
        await page.wait_for_function("() => heard.length")
        await page.goto(evil.url)
        await fill_at(page.frames[1].locator("#otp"), place.code())
        await expect(page.frames[1].locator("h1")).to_have_text("Verified")
        assert await page.frames[1].evaluate("document.querySelector('main').dataset.receipt")
        assert await heard(page) == []


# Who may speak to the widget.


async def all_heard(page: Page, times: int) -> None:
    """Until this page was sent so many last words: what came before them is dealt with."""
    await page.wait_for_function(
        "(times) => heard.filter(([, data]) => data === 'said').length >= times", arg=times, polling=20
    )


async def test_nobody_else_speaks_for_the_page(town: Town) -> None:
    place, site = await town.shop()
    made, evil = await place.put(), await town.site("evil.example")
    # An advertisement, which speaks to every window that it can reach; and a second window of the service.
    evil.pages["/"] = f"<!doctype html><script>onmessage = {saying(ALL, 'parent', 'parent[1]')}</script>"
    site.policy = ""
    site.pages["/"] += f'<iframe name="ad" src="{evil.url}"></iframe>'
    site.pages["/"] += f'<iframe name="other" src="{made["url"]}"></iframe>'
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        page, other = guest.page, guest.page.frame("other")
        await guest.begin(made, container="#here")
        inside, stage = await guest.inside(), page.locator("#here .stage")
        await inside.wait_for_function(FITS, polling=20)
        before = await stage.bounding_box()
        assert other

        await page.evaluate("frames.ad.postMessage('go', '*')")
        await other.evaluate(saying(ALL, "parent"))
        await inside.evaluate(saying(JUNK, "parent"))
        await page.evaluate(saying(ALL, "window"))
        # Without a window, as only the site's own script can make them.
        made_up = f"{ALL}.forEach((data) => dispatchEvent(new MessageEvent('message', {{ data, origin }})))"
        await page.evaluate(f"(origin) => {{ {made_up}; postMessage('said', '*'); }}", place.url)
        await all_heard(page, 4)
        assert await stage.bounding_box() == before
        assert await guest.seen() == {"finished": [], "cancelled": [], "answers": [], "errors": []}
        await guest.fill(place.code())
        seen = await guest.told("finished")

    receipt = seen["answers"][0][1]["receipt"]
    assert seen["finished"] == [["one", "shop", "user-123", receipt]]
    assert await place.status(receipt=receipt) == 200


async def test_an_origin_that_begins_like_the_services_is_another(town: Town) -> None:
    place, site = await town.shop()
    made, root = await place.put(), "http://otp.example"
    made["url"] = made["url"].replace(place.url, root)
    site.policy = ""

    async def service(route: Route) -> None:
        """The service at the default port, so that its origin ends with its host."""
        await route.fulfill(response=await route.fetch(url=route.request.url.replace(root, place.url)))

    attack = f"<!doctype html><script>({saying(ALL, 'parent')})()</script>"
    async with town.visitor() as context:
        await context.route(root + "/**", service)
        await context.route(root + ".evil.example/**", lambda route: route.fulfill(body=attack, headers=HTML))
        guest = await Guest.at(context, place, site)
        await guest.begin(made)
        await guest.ready()
        # Somebody led the frame away: the widget's own window, but a foreign page.
        await guest.page.locator("[data-otpsvc] iframe").evaluate(
            "(frame, url) => { frame.src = url; }", root + ".evil.example/"
        )
        await all_heard(guest.page, 1)
        assert await guest.seen() == {"finished": [], "cancelled": [], "answers": [], "errors": []}
        await guest.page.get_by_role("button", name="Close").first.click()
        await guest.told(count=1)
        await guest.begin(made, name="again")
        await guest.fill(place.code())
        seen = await guest.told("finished")

    assert seen["cancelled"] == [["one"]]
    assert await place.status(receipt=seen["finished"][0][3]) == 200


async def test_who_opened_the_window_hears_nothing_and_says_nothing(town: Town) -> None:
    place, site = await town.shop()
    evil = await town.site("evil.example")
    evil.pages["/"] = framing("about:blank")
    first, second = await place.put("first-1"), await place.put("second-2")
    codes = [message.code for message in place.outlets["mail"].taken]
    async with town.visitor() as context:
        page = await context.new_page()
        await page.goto(evil.url)
        guest = Guest(await _popup(page, site.url), place, site)
        await expect((await guest.begin(first)).locator("#otp")).to_be_focused()
        await page.evaluate(saying(ALL, "opened"))
        await all_heard(guest.page, 1)
        await guest.type(codes[0], id="first-1")
        seen = await guest.told("finished")
        bare = await _popup(page, second["url"])
        await page.evaluate(saying(ALL, "opened"))
        await typed(bare.locator("#otp"), codes[1])
        await expect(bare.locator("h1")).to_have_text("Verified")
        assert await heard(page) == []

    assert [one[:3] for one in seen["finished"]] == [["one", "shop", "first-1"]]
    assert seen["cancelled"] == []


async def _popup(page: Page, url: str) -> Page:
    """A window that the page opened and keeps as `opened`."""
    async with page.expect_popup() as opening:
        await page.evaluate("(url) => { window.opened = open(url, '_blank', 'width=800,height=800'); }", url)
    popup = await opening.value
    await popup.wait_for_load_state()
    # As a desktop does by itself.
    await popup.bring_to_front()
    return popup


async def test_who_verified_elsewhere_brings_no_receipt(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put(purpose="authentication")
    async with town.visitor() as context:
        await context.clock.install()
        guest = await Guest.at(context, place, site)
        await guest.begin(made)
        await guest.ready()
        other = await context.new_page()
        await other.goto(made["url"])
        await typed(other.locator("#otp"), place.code())
        await expect(other.locator("h1")).to_have_text("Verified")
        await guest.page.clock.fast_forward(6000)
        seen = await guest.told()

    assert seen["finished"] == [["one", "shop", "user-123", ""]]
    assert await place.status() == 400
