"""The code page in use: quick and still, without script, by keyboard alone, codes that come by themselves."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import NewPlace
from tests.browser.screens import Watch, stop, typed, visitor
from tests.browser.states import NUMBER, House, address_given, asks
from tests.flows.rig import wrong
from tests.waiting import until

FIELD = "#otp"
WRONG = "Please check This code is not right."
HINT = "6 digits. You can paste it, with or without blanks."
NO_PHONE = re.compile("^Please check This is not a phone number")
AUTO = "It is checked as soon as it is complete."


async def quiet(page: Page) -> None:
    """Whatever the page's script began by itself has been asked for by now."""
    await page.evaluate("() => new Promise((done) => setTimeout(done, 20))")


# Speed.


@pytest.mark.parametrize("of", ["waits", "many"])
async def test_the_page_is_one_small_request_and_nothing_moves(
    browser: Browser, new_place: NewPlace, of: str
) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        await stop(page)
        await asks(of, provider="sms", to=NUMBER)(house, page)
        before = await page.locator("#message").text_content()
        await page.screenshot()
        await page.clock.run_for(2000)
        await expect(page.locator("#message")).not_to_have_text(before or "")
        await page.screenshot()

        sizes = await watch.requests[0].sizes()
        assert len(watch.requests) == 1
        assert sizes["responseHeadersSize"] + sizes["responseBodySize"] < 15_000
        assert await watch.seen("shift") == 0


# Without script.


async def test_without_script_the_whole_walk_works(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser, java_script_enabled=False) as (page, _):
        await address_given(house, page)
        await house.settled()
        await page.locator(FIELD).fill(wrong(house.code()))
        assert await house.attempts() == 0
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_role("alert")).to_contain_text("This code is not right.")
        await expect(page.locator(FIELD)).to_be_focused()
        await expect(page.locator(FIELD)).to_have_attribute("aria-invalid", "true")
        await expect(page.locator(FIELD)).to_have_accessible_description(f"{WRONG} {HINT}")
        await page.get_by_role("button", name="Send again").click()
        await expect(page.locator("#message")).to_have_text("A message was sent.")
        await house.settled()
        await page.locator(FIELD).fill(house.code())
        await page.locator(FIELD).press("Enter")
        await expect(page.get_by_role("heading", name="Verified")).to_be_visible()

    assert len(house.outlets["mail"].taken) > 1
    assert await house.place.status() == 200


async def test_without_script_another_way_is_chosen(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser, java_script_enabled=False) as (page, _):
        await asks("many", to="")(house, page)
        await expect(page.get_by_role("link", name="E-mail")).to_have_attribute("aria-current", "true")
        await page.get_by_role("link", name="Text message").click()
        await page.get_by_label("Phone number").fill("0")
        await page.get_by_label("Phone number").press("Enter")
        await expect(page.get_by_label("Phone number")).to_have_value("0")
        await expect(page.get_by_label("Phone number")).to_be_focused()
        await expect(page.get_by_label("Phone number")).to_have_accessible_description(NO_PHONE)
        await page.get_by_label("Phone number").fill(NUMBER)
        await page.get_by_label("Phone number").press("Enter")
        await page.get_by_role("button", name="Send by: Phone call").click()
        await expect(page.locator("#message")).to_have_text("A message was sent.")
        await house.settled("many")
        await page.locator(FIELD).fill(house.code("voice"))
        await page.locator(FIELD).press("Enter")
        await expect(page.get_by_role("heading", name="Verified")).to_be_visible()


# By keyboard alone.

_HELD = """() => {
  const held = document.activeElement, { outlineStyle, outlineWidth } = getComputedStyle(held);
  return [held.id || held.textContent.trim(), outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
}"""


async def reached(page: Page, key: str, times: int) -> list[str]:
    """What has the focus after each press of the key; it is seen there."""
    names = []
    for _ in range(times):
        await page.keyboard.press(key)
        name, seen = await page.evaluate(_HELD)
        assert seen or name.startswith("Shop"), f"no outline on {name}"
        names.append("the end" if name.startswith("Shop") else name)
    return names


async def test_the_keyboard_reaches_everything_in_order_and_leaves(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        await asks("many", provider="sms", to=NUMBER)(house, page)
        await expect(page.locator(FIELD)).to_be_focused()
        every = ["Verify", "Send again", "Send by: Phone call", "the end"]
        assert await reached(page, "Tab", 4) == every
        assert await reached(page, "Shift+Tab", 4) == [*every[2::-1], "otp"]

        await typed(page.locator(FIELD), "12\n")
        await expect(page.locator("#error")).to_contain_text("The code has 6 digits.")
        await expect(page.locator(FIELD)).to_be_focused()
        await page.locator("#error a").press("Enter")
        await typed(page.locator(FIELD), house.code("sms"))
        await expect(page.locator("h1")).to_have_text("Verified")
        await expect(page.locator("h1")).to_be_focused()


async def test_the_keyboard_fills_in_the_address(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        await asks("many", to="")(house, page)
        every = ["Text message", "Phone call", "E-mail", "to", "Send the code", "the end"]
        assert await reached(page, "Tab", 6) == every
        await reached(page, "Shift+Tab", 2)
        await typed(page.locator("#to"), "anna@home.example\n")
        await expect(page.locator(FIELD)).to_be_focused()


# The field, and codes that come by themselves.


async def test_the_field_is_made_for_codes(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        await asks()(house, page)
        box = page.locator("input:visible")
        for name, value in {
            "id": "otp",
            "type": "text",
            "inputmode": "numeric",
            "autocomplete": "one-time-code",
            "autocapitalize": "none",
            "dir": "ltr",
        }.items():
            await expect(box).to_have_attribute(name, value)
        await expect(box).to_have_accessible_name("Code")
        await expect(box).to_have_accessible_description(f"{HINT} {AUTO}")
        await expect(box).not_to_have_attribute("maxlength", "6")
        await box.fill(wrong(house.code()))
        await expect(box).to_have_accessible_description(f"{WRONG} {HINT} {AUTO}")
        await expect(box).to_have_attribute("aria-invalid", "true")
        await asks("letters")(house, page)
        await expect(page.locator("input:visible")).to_have_attribute("inputmode", "text")


async def test_a_code_is_sent_by_itself_when_a_person_has_brought_all_of_it(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser, permissions=["clipboard-read", "clipboard-write"]) as (page, watch):
        await asks(max_attempts="10")(house, page)
        bad = [code for code in (f"{digit}" * 6 for digit in range(1, 9)) if code != house.code()]
        # As browsers and keyboards fill it in: at once, nobody touched the page before.
        await expect(page.locator(FIELD)).to_be_focused()
        await page.keyboard.insert_text(bad[0])
        await until(lambda: watch.posts == 1)
        await expect(page.locator("#error")).to_contain_text("not right")

        pasted = [
            f"{bad[1][:3]}-{bad[1][3:]}",
            f" {bad[2][:3]} {bad[2][3:]}\n",
            f"Your code is {bad[3]}. Shop",
        ]
        pasted.append("".join(chr(0x660 + int(digit)) for digit in bad[4]))
        for number, text in enumerate(pasted, 2):
            await page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
            await expect(page.locator(FIELD)).to_be_focused()
            await page.keyboard.press("ControlOrMeta+V")
            await expect(page.locator("#meta")).to_contain_text(f"Attempts left: {10 - number}")
            assert await house.attempts() == watch.posts == number

        await typed(page.locator(FIELD), house.code()[:5])
        await quiet(page)
        assert watch.posts == 5
        await typed(page.locator(FIELD), house.code()[5])
        await expect(page.locator("h1")).to_have_text("Verified")
        assert watch.posts == 6


_BY_SCRIPT = """(code) => {
  const box = document.querySelector("#otp"), inside = new DataTransfer();
  inside.setData("text/plain", `Your code is ${code}.`);
  box.focus();
  box.dispatchEvent(new ClipboardEvent("paste", { clipboardData: inside, bubbles: true, cancelable: true }));
  box.value = code;
  for (const made of [new Event("input", { bubbles: true }), new Event("change", { bubbles: true }),
    new InputEvent("input", { bubbles: true, inputType: "insertText", data: code }),
    new CompositionEvent("compositionend", { bubbles: true, data: code })]) box.dispatchEvent(made);
}"""


async def never_sends(page: Page, watch: Watch, house: House) -> None:
    await expect(page.locator(FIELD)).to_have_value(house.code())
    await quiet(page)
    assert (watch.posts, await house.attempts()) == (0, 0)


async def test_what_a_script_or_a_link_brought_is_not_sent(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        url = await house.put()
        await page.goto(url)
        await page.evaluate(_BY_SCRIPT, house.code())
        await never_sends(page, watch, house)
        await page.goto(f"{url}&otp={house.code()}")
        await never_sends(page, watch, house)
        assert house.code() not in page.url
        await page.goto("about:blank")
        await page.goto(f"{url}#otp={house.code()}")
        await never_sends(page, watch, house)
        assert house.code() not in page.url
        await page.get_by_role("button", name="Verify").click()
        await expect(page.locator("h1")).to_have_text("Verified")


async def test_a_composition_is_sent_when_it_ends(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        await asks()(house, page)
        keys = await page.context.new_cdp_session(page)
        await expect(page.locator(FIELD)).to_be_focused()
        code = house.code()
        for end in range(1, 7):
            composed = {"text": code[:end], "selectionStart": end, "selectionEnd": end}
            await keys.send("Input.imeSetComposition", composed)
        await never_sends(page, watch, house)
        await keys.send("Input.insertText", {"text": code})
        await expect(page.locator("h1")).to_have_text("Verified")


_WEBOTP = """
window.OTPCredential = class {};
window.asked = 0;
navigator.credentials.get = ({ otp, signal }) => new Promise((resolve, reject) => {
  window.asked += otp.transport[0] === "sms";
  window.arrives = (code) => resolve({ code });
  signal.addEventListener("abort", () => { localStorage.setItem("aborted", "yes"); reject(signal.reason); });
});
"""


async def test_a_text_message_is_read_by_the_browser_and_sent(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        await page.add_init_script(_WEBOTP)
        await asks()(house, page)
        assert await page.evaluate("window.asked") == 0
        await asks(provider="sms", to=NUMBER)(house, page)
        assert await page.evaluate("window.asked") == 1
        assert await page.evaluate("localStorage.getItem('aborted')") is None
        await page.goto(house.place.url)
        await page.wait_for_function("() => localStorage.getItem('aborted') === 'yes'")

        await asks(provider="sms", to=NUMBER)(house, page)
        await page.evaluate("(code) => window.arrives(code)", house.code("sms"))
        await expect(page.locator("h1")).to_have_text("Verified")
        assert watch.posts == 1
