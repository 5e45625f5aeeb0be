"""Links that leak nothing and close nothing by themselves, and all that goes wrong in a person's browser."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from urllib.parse import parse_qs

import pytest
from playwright.async_api import APIResponse, Browser, Route, expect

from tests.browser.conftest import NewPlace
from tests.browser.screens import Watch, stop, typed, visitor
from tests.browser.states import House, asks
from tests.flows.rig import wrong
from tests.waiting import until

FIELD = "#otp"


# Links.


async def carried(watch: Watch, code: str) -> list[str]:
    """Where the code went, but in the body of a form."""
    found = []
    for request in watch.requests:
        headers = await request.all_headers()
        found += [text for text in (request.url.partition("#")[0], *headers.values()) if code in text]
    return found


@pytest.mark.parametrize("purpose", ["address_confirmation", "authentication"])
async def test_the_code_of_a_link_leaves_the_address_bar_and_goes_nowhere(
    browser: Browser, new_place: NewPlace, purpose: str
) -> None:
    house = await House.build(new_place)
    await house.put(purpose=purpose)
    code, link = house.code(), house.link()
    rights = ["clipboard-read", "clipboard-write"]
    async with visitor(browser, permissions=rights) as (page, watch):
        await page.goto(link)
        assert page.url == link.partition("#")[0]
        if purpose == "authentication":
            await expect(page.locator("#shown")).to_contain_text(" ".join(code))
            await page.get_by_role("button", name="Copy the code").click()
            await expect(page.get_by_role("button", name="Copied.")).to_be_visible()
            assert await page.evaluate("navigator.clipboard.readText()") == code
        else:
            await expect(page.locator(FIELD)).to_have_value(code)
            await page.get_by_role("button", name="Confirm").click()
            await expect(page.locator("h1")).to_have_text("Verified")
            assert parse_qs(watch.requests[-1].post_data or "")["otp"] == [code]
        await page.reload()
        assert await carried(watch, code) == []
        assert await page.evaluate("history.length") <= 2
        # What cannot be a code is not shown.
        await page.goto(link.partition("#")[0] + "#otp=<b>Call+0900</b>")
        await expect(page.locator("main")).not_to_contain_text("0900")


#: A mail sandbox: it runs the page's scripts for ten seconds (here 50 times faster), presses everything and
#: types everywhere, all by script. A question of the test would count as a gesture: it waits for the console.
_SANDBOX = """
const later = setTimeout, now = performance.now.bind(performance);
window.setTimeout = (work, wait = 0, ...more) => later(work, wait / 50, ...more);
performance.now = () => now() * 50;
const press = (node) => {
  for (const name of ["pointerdown", "mousedown", "touchstart", "focusin", "pointerup", "mouseup", "click"])
    node.dispatchEvent(new Event(name, { bubbles: true, cancelable: true }));
  for (const key of ["Enter", " "]) node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  if (node.click) node.click();
};
const type = (node) => {
  for (const name of ["input", "change", "compositionend", "keyup", "blur"])
    node.dispatchEvent(new InputEvent(name, { bubbles: true, inputType: "insertText", data: node.value }));
};
const meddle = () => {
  document.querySelectorAll("input").forEach(type);
  document.querySelectorAll("*").forEach(press);
  for (const form of document.forms) form.requestSubmit();
};
addEventListener("load", () => {
  for (let second = 1; second <= 10; second++) window.setTimeout(meddle, second * 1000);
  window.setTimeout(() => console.info("ten seconds"), 10500);
});
"""


@pytest.mark.parametrize("purpose", ["address_confirmation", "authentication", "transaction"])
async def test_a_sandbox_that_runs_a_mailed_link_closes_nothing(
    browser: Browser, new_place: NewPlace, purpose: str
) -> None:
    house = await House.build(new_place)
    url = await house.put(purpose=purpose)
    async with visitor(browser) as (page, watch):
        await page.add_init_script(_SANDBOX)
        async with page.expect_console_message(lambda message: message.text == "ten seconds"):
            await page.goto(house.link())
        assert watch.posts == 0
        if purpose == "address_confirmation":
            await expect(page.locator(FIELD)).to_have_value(house.code())
        else:
            await expect(page.locator(".code")).to_have_text(house.code())
    assert (await house.attempts(), (await house.place.state())["state"]) == (0, "pending")

    async with visitor(browser) as (page, _):
        await page.goto(url)
        await page.locator(FIELD).fill(house.code())
        await expect(page.locator("h1")).to_have_text("Verified")
        assert await page.locator("main").get_attribute("data-receipt")


async def test_another_profile_with_the_link_of_a_sign_in_closes_nothing(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (first, _), visitor(browser) as (second, watch):
        await asks(purpose="authentication")(house, first)
        await second.goto(house.link())
        await expect(second.locator(".code")).to_have_text(house.code())
        await expect(second.locator("form, input")).to_have_count(0)
        for key in ("Tab", "Enter", "Tab", "Enter"):
            await second.keyboard.press(key)
        assert (watch.posts, await house.attempts()) == (0, 0)
        await expect(first.locator("h1")).to_have_text("Enter your code")
        await typed(first.locator(FIELD), house.code())
        await expect(first.locator("h1")).to_have_text("Verified")
        await second.reload()
        await expect(second.locator("h1")).to_have_text("Verified")
        assert await second.locator("main").get_attribute("data-receipt") == ""


# What is not right.


async def test_whoever_has_no_right_sees_one_page(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    url = await house.put()
    foreign = url.replace("user-123", "user-124")
    async with visitor(browser) as (page, _):
        shown = []
        for target in (url[:-2] + "xx", foreign, url.partition("?")[0], url.replace("/shop/", "/nobody/")):
            answer = await page.goto(target)
            assert answer
            shown.append((answer.status, await page.content()))
        await expect(page.locator("h1")).to_have_text("Not available")
        assert len(set(shown)) == 1
        assert shown[0][0] == 404


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
async def test_what_cannot_be_the_code_is_explained_and_kept(
    browser: Browser, new_place: NewPlace, script: bool
) -> None:
    house = await House.build(new_place)
    async with visitor(browser, java_script_enabled=script) as (page, watch):
        await asks()(house, page)
        for number, text in enumerate(("1" * 5000, "12a456", "١٢٣", "<b>", "💩" * 6), 1):
            await page.locator(FIELD).fill(text)
            async with nullcontext() if script else page.expect_navigation():
                await page.locator(FIELD).press("Enter")
            await until(lambda number=number: watch.posts == number)  # type: ignore[misc]
            await expect(page.locator("[aria-busy]")).to_have_count(0)
            await expect(page.locator("#error")).to_contain_text("The code has 6 digits.")
            await expect(page.locator(FIELD)).to_be_focused()
            # Selected, so that the next try takes its place.
            assert await page.evaluate("getSelection().toString()") == (text if script else "")
            await expect(page.locator("b")).to_have_count(0)
        assert await house.attempts() == 0


async def test_two_clicks_are_one_form(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    url = await house.put()
    clicked = asyncio.Event()

    async def answer_after_both(route: Route) -> None:
        # Else the first may be answered between the two: a third form then, and rightly so.
        if route.request.method == "POST":
            await clicked.wait()
        await route.continue_()

    async with visitor(browser) as (page, watch):
        await page.route("**/otp/**", answer_after_both)
        for number, code in enumerate((wrong(house.code()), house.code()), 1):
            clicked.clear()
            await page.goto(f"{url}&otp={code}")
            await page.get_by_role("button", name="Verify").dblclick()
            clicked.set()
            await expect(page.locator("#error, .mark.good")).to_be_visible()
            assert (watch.posts, await house.attempts()) == (number, number)


async def test_a_press_out_of_habit_is_no_second_attempt(browser: Browser, new_place: NewPlace) -> None:
    """The last digit has sent the code; who presses the button then, or Enter, has seen no answer yet."""
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        # Its clock stands: however slow the machine, it is at once.
        await stop(page)
        await asks()(house, page)
        code = wrong(house.code())
        await page.locator(FIELD).fill(code)
        await expect(page.locator("#error")).to_contain_text("not right")
        await page.get_by_role("button", name="Verify").click()
        await page.locator(FIELD).press("Enter")
        await expect(page.locator(FIELD)).to_be_focused()
        assert (watch.posts, await house.attempts()) == (1, 1)

        await page.clock.run_for(2000)
        await page.locator(FIELD).press("Enter")
        await until(lambda: watch.posts == 2)
        await expect(page.locator("[aria-busy]")).to_have_count(0)
        assert await house.attempts() == 2


async def test_without_script_a_person_goes_back_and_loads_anew(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser, java_script_enabled=False) as (page, watch):
        await asks()(house, page)
        await page.locator(FIELD).fill(wrong(house.code()))
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_role("alert")).to_contain_text("This code is not right.")
        await page.reload()
        await expect(page.get_by_role("alert")).to_contain_text("This code is not right.")
        assert (watch.posts, await house.attempts()) == (1, 1)

        await page.locator(FIELD).fill(house.code())
        await page.get_by_role("button", name="Verify").click()
        await expect(page.locator("h1")).to_have_text("Verified")
        there = page.url
        await page.reload()
        await expect(page.locator("h1")).to_have_text("Verified")
        await page.go_back()
        await expect(page.locator("h1")).to_have_text("Verified")
        await page.goto("about:blank")
        await page.goto(there)
        await expect(page.locator("h1")).to_have_text("Verified")
        assert (watch.posts, await house.attempts()) == (2, 2)


async def test_without_script_two_clicks_are_one_attempt(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    url = await house.put()
    answers: list[APIResponse] = []

    async def answer_every_second(route: Route) -> None:
        answers.append(await route.fetch())
        if len(answers) % 2 == 0:
            await route.fulfill(response=answers[-1])

    async with visitor(browser, java_script_enabled=False) as (page, _):
        for number, code in enumerate((wrong(house.code()), house.code()), 1):
            await page.goto(f"{url}&otp={code}")
            await page.route("**/otp/**", answer_every_second)
            place = await page.get_by_role("button", name="Verify").bounding_box()
            assert place
            for click in (1, 2):
                await page.mouse.click(place["x"] + 9, place["y"] + 9)
                await until(lambda sent=2 * number - 2 + click: len(answers) == sent)  # type: ignore[misc]
            await expect(page.locator("#error, .mark.good")).to_be_visible()
            await page.unroute("**/otp/**")
            assert await house.attempts() == number
        assert await page.locator("main").get_attribute("data-receipt")


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
async def test_going_back_after_the_end_shows_the_end(
    browser: Browser, new_place: NewPlace, script: bool
) -> None:
    house = await House.build(new_place)
    async with visitor(browser, java_script_enabled=script) as (page, _):
        await asks()(house, page)
        await page.locator(FIELD).fill(house.code())
        if not script:
            await page.locator(FIELD).press("Enter")
        await expect(page.locator("h1")).to_have_text("Verified")
        if script:
            await page.goto(f"{house.place.url}/otp/shop/user-999")
        await page.go_back()
        await expect(page.locator("h1")).to_have_text("Verified")
        await expect(page.locator("form, input, button")).to_have_count(0)


#: As browsers do when all cookies are blocked.
_NO_COOKIES = """
const refuse = { get() { throw new DOMException("denied", "SecurityError"); } };
for (const name of ["localStorage", "sessionStorage", "indexedDB", "caches"])
  Object.defineProperty(window, name, refuse);
Object.defineProperty(Document.prototype, "cookie", refuse);
Object.defineProperty(Navigator.prototype, "cookieEnabled", { get: () => false });
"""


async def test_without_cookies_and_stores_nothing_is_missing(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        await page.add_init_script(_NO_COOKIES)
        await asks(to="")(house, page)
        await page.locator("#to").fill("anna@home.example")
        await page.locator("#to").press("Enter")
        await expect(page.locator(FIELD)).to_be_focused()
        await house.settled()
        await page.locator(FIELD).fill(wrong(house.code()))
        await expect(page.locator("#error")).to_contain_text("not right")
        await page.locator(FIELD).fill(house.code())
        await expect(page.locator("h1")).to_have_text("Verified")
        assert watch.errors == []


async def test_without_a_connection_the_code_is_kept_and_sent_later(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        # It tries some times and no more: here only when the line is back.
        await stop(page)
        await asks()(house, page)
        await page.context.set_offline(True)
        await typed(page.locator(FIELD), house.code())
        await expect(page.locator("#error")).to_have_text("No connection. We will keep trying.")
        await expect(page.locator("#live")).to_contain_text("No connection.")
        await expect(page.locator(FIELD)).to_have_value(house.code())
        await page.context.set_offline(False)
        await expect(page.locator("h1")).to_have_text("Verified")
        assert await page.locator("main").get_attribute("data-receipt")
    assert await house.attempts() == 1
