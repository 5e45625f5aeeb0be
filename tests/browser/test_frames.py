"""The page in a frame of the widget: its height, how both look, and what it may do on a foreign site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from otpsvc.address import phone
from tests.browser.conftest import FLAGS, NewPlace, NewSite, launch
from tests.browser.screens import hush
from tests.browser.sites import (
    FITS,
    Guest,
    Town,
    flaws,
    focused,
    framing,
    furnish,
    holds,
    options,
    script,
    watched,
)
from tests.flows.rig import Outlet, wrong

SCREENS = Path(__file__).parents[2] / "build" / "screens"
SIZES: dict[str, ViewportSize] = {
    "320x568": {"width": 320, "height": 568},
    "390x844": {"width": 390, "height": 844},
    "1280x800": {"width": 1280, "height": 800},
}


@pytest.fixture
def town(browser: Browser, new_place: NewPlace, new_site: NewSite) -> Town:
    return Town(browser, new_place, new_site)


async def test_the_dialog_is_used_by_keyboard_and_gives_everything_back(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put()
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        page, dialog = guest.page, guest.page.get_by_role("dialog", name="Verification")
        await page.evaluate("(wish) => { window.wish = wish; }", options(made))
        await page.focus("#go")
        height = await page.evaluate("scrollY")
        assert height > 300

        for round, leave in enumerate((by_esc_inside, by_esc_outside, by_cross, by_backdrop), 1):
            await page.keyboard.press("Enter")
            await expect(dialog).to_be_visible()
            await expect(guest.frame().locator("#otp")).to_be_focused()
            if round == 1:
                await _hold_to_the_dialog(guest)
            await leave(page)
            seen = await guest.told(count=round)
            assert len(seen["cancelled"]) == round
            await expect(dialog).to_have_count(0)
            await expect(page.locator("#go")).to_be_focused()
            assert await page.evaluate("scrollY") == height

    assert seen["answers"] == [["one", None]] * 4
    assert seen["finished"] == []
    assert (await place.state())["attempts"] == 0


async def _hold_to_the_dialog(guest: Guest) -> None:
    page = guest.page
    assert await flaws(page) == []
    assert await flaws(await guest.inside()) == []
    # What lies behind is neither focused nor scrolled.
    await page.evaluate("document.getElementById('go').focus()")
    await holds(page, "IFRAME")
    at = await page.evaluate("scrollY")
    await page.mouse.move(5, 5)
    await page.mouse.wheel(0, 300)
    # Round and round: what is in the frame, the cross, the browser's own buttons (BODY); never the site.
    places: set[str] = set()
    for number, key in enumerate(["Tab"] * 5 + ["Shift+Tab"] * 60):
        await page.keyboard.press(key)
        # The focus goes from process to process: pressed on at once, it would never arrive.
        for _ in range(5 + number):
            places.add(await focused(page))
            await asyncio.sleep(0.02)
        if key != "Tab" and len(places) == 3:
            break
    assert places == {"IFRAME", "cross", "BODY"}
    assert await page.evaluate("scrollY") == at
    await _drag_out(page)
    await guest.frame().locator("#otp").focus()


async def _drag_out(page: Page) -> None:
    """A press that began inside is no press on the backdrop."""
    box = await page.get_by_role("heading", name="Verification").bounding_box()
    assert box
    await page.mouse.move(box["x"] + 20, box["y"] + 5)
    await page.mouse.down()
    await page.mouse.move(5, 5)
    await page.mouse.up()


async def by_esc_inside(page: Page) -> None:
    await holds(page, "IFRAME")
    await page.keyboard.press("Escape")


async def by_esc_outside(page: Page) -> None:
    await page.get_by_role("button", name="Close").press("Escape")


async def by_cross(page: Page) -> None:
    await page.get_by_role("button", name="Close").click()


async def by_backdrop(page: Page) -> None:
    await page.mouse.click(5, 5)


async def test_the_frame_is_as_high_as_its_page(town: Town) -> None:
    place, site = await town.shop()
    made = await place.put(to="")
    heights = []
    async with town.visitor(viewport={"width": 900, "height": 1000}) as context:
        # That it was cancelled is learned from the answer to a form: by itself the page might notice first.
        await hush(context)
        guest = await Guest.at(context, place, site)
        frame = await guest.begin(made)
        stage = guest.page.locator(".stage")
        page = await guest.inside()

        async def fits() -> None:
            await page.wait_for_function(FITS, polling=20)
            box = await stage.bounding_box()
            assert box
            heights.append(box["height"])

        await expect(frame.locator("#to")).to_be_focused()
        await fits()
        await guest.type("anna@home.example\n", "#to")
        await expect(frame.locator("#otp")).to_be_focused()
        await place.node.settled()
        await fits()
        await guest.type(wrong(place.code()))
        await expect(frame.locator("#error")).to_be_visible()
        await fits()
        await place.door.ask("DELETE", "/api/otp/user-123")
        await guest.type(place.code())
        await expect(frame.locator("h1")).to_have_text("Cancelled")
        await fits()
        await guest.page.set_viewport_size(SIZES["390x844"])
        assert await guest.page.evaluate("innerHeight") == 844

    address, code, error, ended = heights
    assert ended < address < code < error


async def test_it_fits_on_every_screen_in_light_dark_and_arabic(town: Town) -> None:
    place, site = await town.shop(title="Anna's Flowers")
    made = await place.put()
    looks = {"light": {"theme": "light"}, "dark": {"theme": "dark"}, "arabic": {"locale": "ar"}}
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        for count, (look, wish) in enumerate(looks.items(), 1):
            frame = await guest.begin(made, **wish)
            await expect(frame.locator("#otp")).to_be_focused()
            await photograph(guest, f"widget-code-{look}")
            await guest.type(wrong(place.code()))
            await expect(frame.locator("#error")).to_be_visible()
            if look == "light":
                await photograph(guest, "widget-error")
            await guest.page.keyboard.press("Escape")
            await guest.told(count=count)


async def photograph(guest: Guest, name: str) -> None:
    """On each size of screen. Nothing is wider than the screen."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    for size, view in SIZES.items():
        await guest.page.set_viewport_size(view)
        inner = await guest.inside()
        await inner.wait_for_function("() => innerWidth <= 450", polling=20)
        for where in (guest.page, inner):
            too_wide = await where.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, f"{name} {size}"
        await guest.page.screenshot(path=SCREENS / f"{name}-{size}.png")


# On a site that is foreign to it.

#: A message arrives for who asked, and was given the right to.
PHONE = """
if (location.pathname.startsWith("/otp/")) {
  window.OTPCredential ||= class {};
  navigator.credentials.get = (asked) => document.featurePolicy.allowsFeature("otp-credentials")
    ? new Promise((resolve) => { window.arrive = (code) => resolve({ code }); })
    : Promise.reject(new DOMException("not delegated", "NotAllowedError"));
}
"""


async def test_the_code_of_a_text_message_comes_into_the_frame_by_itself(town: Town) -> None:
    # Browsers do so on secure sites, as those below localhost are.
    place, site = await town.shop(host="shop.localhost", outlets={"sms": Outlet(phone())})
    made = await place.put(provider="sms", to="+4915112345678")
    site.pages["/"] += f'<iframe id="plain" src="{made["url"]}"></iframe>'
    async with town.visitor() as context:
        await context.add_init_script(PHONE)
        guest = await Guest.at(context, place, site)
        # A frame that the site made itself, without the widget's `allow`, has no such right.
        await expect(guest.page.frame_locator("#plain").locator("#otp")).to_be_visible()
        assert not await guest.page.frames[1].evaluate("isSecureContext && 'arrive' in window")
        await guest.page.evaluate("document.getElementById('plain').remove()")

        await guest.begin(made)
        inside = await guest.inside()
        await inside.wait_for_function("() => 'arrive' in window", polling=20)
        await inside.evaluate("(code) => arrive(code)", place.code("sms"))
        seen = await guest.told("finished")

    assert await place.status(receipt=seen["finished"][0][3]) == 200


@pytest.fixture
async def forgetful(browser: Browser, need: Callable[[str], str]) -> AsyncIterator[Browser]:
    """A Chromium that gives frames of other sites no cookies."""
    flags = [*FLAGS, "--test-third-party-cookie-phaseout"]
    running = await launch(browser.browser_type, need("chromium"), flags)
    yield running
    await running.close()


#: What the frame may keep there: the cookie that it sets, and how its store answers.
KEPT = """() => {
  document.cookie = "a=b; SameSite=None; Secure";
  try { return [document.cookie, localStorage.length]; }
  catch (error) { return [document.cookie, error.name]; }
}"""


async def test_it_needs_no_cookies_and_keeps_nothing(forgetful: Browser, town: Town) -> None:
    place, site = await town.shop(host="shop.localhost")
    made = await place.put()
    async with watched(forgetful) as context:
        guest = await Guest.at(context, place, site)
        frame = await guest.begin(made)
        await frame.locator("#otp").wait_for()
        inside = await guest.inside()
        assert await inside.evaluate("isSecureContext")
        assert await inside.evaluate(KEPT) == ["", "SecurityError"]
        await guest.type(wrong(place.code()))
        await expect(frame.locator("#error")).to_be_visible()
        await guest.type(place.code())
        seen = await guest.told("finished")
        assert await context.cookies() == []

    assert await place.status(receipt=seen["finished"][0][3]) == 200


async def test_without_script_the_form_works_in_a_frame_and_tells_nobody(town: Town) -> None:
    place, site = await town.shop()
    site.policy, site.pages["/plain"] = "", framing((await place.put())["url"])
    asked: list[str] = []
    async with town.visitor(java_script_enabled=False) as context:
        context.on("request", lambda request: asked.append(request.url))
        guest = await Guest.at(context, place, site, "/plain")
        frame = guest.page.frame_locator("iframe")
        await frame.locator("#otp").fill(wrong(place.code()))
        await frame.get_by_role("button", name="Verify").click()
        await expect(frame.locator("#error")).to_be_visible()
        await frame.locator("#otp").fill(place.code())
        await frame.get_by_role("button", name="Verify").click()
        await expect(frame.locator("h1")).to_have_text("Verified")

    assert (await place.state())["state"] == "verified"
    assert site.asked == ["/plain?"]
    assert {url.partition("/otp/")[0] for url in asked[1:]} == {place.url}


async def test_the_sites_style_does_not_reach_it(town: Town) -> None:
    place, site = await town.shop()
    site.policy = f"script-src 'self' {place.url}"
    rude = "<style>div, dialog, iframe, h2, button { display: none !important; zoom: 3 !important }</style>"
    furnish(site, place, script(place) + rude)
    made = await place.put()
    async with town.visitor() as context:
        guest = await Guest.at(context, place, site)
        frame = await guest.begin(made)
        await expect(frame.locator("#otp")).to_be_focused()
        await (await guest.inside()).wait_for_function(FITS, polling=20)
        dialog = guest.page.get_by_role("dialog")
        box = await dialog.bounding_box()
        assert box
        assert 400 < box["width"] < 460 < box["height"]
        await expect(guest.page.get_by_role("button", name="Close")).to_be_visible()
        # Nothing moves for who does not want that.
        moves = "(dialog) => getComputedStyle(dialog).animationName"
        assert await dialog.evaluate(moves) == "none"
        await guest.page.emulate_media(reduced_motion="no-preference")
        assert await dialog.evaluate(moves) != "none"
