"""Time on the pages: countdowns, waits, news of the message and of other windows, clocks that are wrong."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from otpsvc.tenant import Limits
from tests.browser.conftest import NewPlace, launch
from tests.browser.screens import hush, stop, typed, visitor
from tests.browser.states import NUMBER, House, asks
from tests.flows.rig import wrong
from tests.http.conftest import shop
from tests.waiting import until

DAY = dt.timedelta(days=1)
SENT = re.compile(r"Sent\s\d+\s(s|min)\sago\.")


def reads(text: str) -> re.Pattern[str]:
    """Blanks may be of those that hold words together."""
    return re.compile(text.replace(" ", r"\s"))


async def seconds_of(page: Page, selector: str) -> int:
    """The number that is read there."""
    found = re.search(r"\d+", await page.locator(selector).inner_text())
    assert found
    return int(found[0])


async def given(page: Page, selector: str) -> int:
    """The seconds that the server said there."""
    return int(await page.locator(selector).get_attribute("data-down") or "")


async def test_the_life_of_the_code_runs_down_and_ends(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, watch):
        await stop(page)
        # Only the countdown itself asks the server.
        await page.route("**/status?*", lambda route: route.abort())
        await asks(ttl="600")(house, page)
        await expect(page.locator("#left")).to_have_text(re.compile(r"Valid for (10|[6-9])\smin"))
        left = await given(page, "#left")
        await page.clock.fast_forward((left - 65) * 1000)
        await expect(page.locator("#left")).to_have_text(reads("Valid for 2 min"))
        await page.clock.run_for(10_000)
        await expect(page.locator("#left")).to_have_text(reads("Valid for 5[56] s"))
        await expect(page.locator("#live")).to_have_text(reads("Valid for (59 s|1 min)"))
        before = await seconds_of(page, "#left")
        await page.clock.run_for(10_000)
        await expect(page.locator("#left")).to_have_text(reads(f"Valid for {before - 10} s"))
        await page.clock.run_for(31_000)
        await expect(page.locator("#live")).to_have_text(reads("Valid for (20|19) s"))

        # The server, whose clock did not move, knows better.
        await page.clock.run_for(20_000)
        await expect(page.locator("#left")).to_have_text(re.compile(r"Valid for (10|[2-9])\smin"))
        await house.put(to="ben@home.example")
        await page.clock.fast_forward(await given(page, "#left") * 1000)
        await page.clock.run_for(2000)
        await expect(page.locator("h1")).to_have_text("Too late")
        await expect(page.locator("h1")).to_be_focused()
        await expect(page.locator("form")).to_have_count(0)
        assert await page.title() == "Too late – Shop"
        assert watch.posts == 0


async def test_a_locked_page_counts_down_too(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        await stop(page)
        await asks(max_attempts="1", ttl="600")(house, page)
        await page.locator("#otp").fill(wrong(house.code()))
        await expect(page.locator("h1")).to_have_text("Too many attempts")
        await page.clock.fast_forward((await given(page, ".help") - 50) * 1000)
        await expect(page.locator(".help")).to_contain_text(reads("50 s"))
        before = await seconds_of(page, ".help")
        await page.clock.run_for(10_000)
        await expect(page.locator(".help")).to_contain_text(reads(f"{before - 10} s"))


async def test_the_wait_before_another_message_runs_down(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    house.tenants["late"] = shop(name="late", limits=Limits(waits=(600,)))
    async with visitor(browser) as (page, watch):
        await stop(page)
        await asks("late", ttl="3600")(house, page)
        again = page.locator("#resend button")
        await expect(again).to_have_text(re.compile(r"Send again in (10|[6-9])\smin"))
        await expect(again).to_have_attribute("aria-disabled", "true")
        await again.click(force=True)
        await expect(page.locator("#live")).to_have_text(reads("Send again in"))
        assert watch.posts == 0

        await page.clock.fast_forward((await given(page, "#resend button") - 35) * 1000)
        await expect(again).to_have_text(reads("Send again in 3[56] s"))
        before = await seconds_of(page, "#resend button")
        await page.clock.run_for(10_000)
        await expect(again).to_have_text(reads(f"Send again in {before - 10} s"))
        await page.clock.run_for(27_000)
        await expect(again).to_have_text("Send again")
        await expect(page.locator("#live")).to_have_text("Send again")
        await expect(again).not_to_have_attribute("aria-disabled", "true")
        # The server's clock did not move.
        await again.click()
        await expect(page.locator("#error")).to_contain_text("You can ask again in")
        await expect(again).to_have_text(reads("Send again in"))
        assert watch.posts == 1


async def test_after_the_wait_the_message_is_sent_again(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    house.tenants["soon"] = shop(name="soon", limits=Limits(waits=(1,)))
    async with visitor(browser) as (page, _):
        await hush(page)
        await asks("soon")(house, page)
        again = page.locator("#resend button")
        await expect(again).to_have_text("Send again")
        await again.click()
        await expect(page.locator("#message")).to_have_text("A message was sent.")
        await house.settled("soon")

    codes = [message.code for message in house.outlets["mail"].taken]
    assert len(codes) > 1
    assert len(set(codes)) == 1


@pytest.mark.parametrize("off", [DAY, -DAY], ids=["fast", "slow"])
async def test_a_clock_that_is_wrong_by_a_day_changes_nothing(
    browser: Browser, new_place: NewPlace, off: dt.timedelta
) -> None:
    house = await House.build(new_place)
    now = dt.datetime.now(dt.UTC)
    async with visitor(browser) as (page, _):
        await stop(page, now + off)
        await asks(ttl="600")(house, page)
        left = await given(page, "#left")
        assert left in range(500, 601)
        await page.clock.fast_forward((left - 50) * 1000)
        await expect(page.locator("#left")).to_contain_text(reads(" 50 s"))
        before = await seconds_of(page, "#left")
        # It is set right while the page is open.
        await page.clock.set_system_time(now)
        await page.clock.run_for(3000)
        await expect(page.locator("#left")).to_contain_text(reads(f" {before - 3} s"))
        await expect(page.locator("#message")).to_have_text(SENT)
        await page.locator("#otp").fill(house.code())
        await expect(page.locator("h1")).to_have_text("Verified")


# News.


async def keeps_what_was_typed(page: Page) -> None:
    held = await page.evaluate(
        """() => { const box = document.activeElement;
          return [box.id, box.value, box.selectionStart, box.selectionEnd]; }"""
    )
    assert held == ["otp", "1234", 1, 3]


async def news(page: Page, text: re.Pattern[str]) -> None:
    """Lets time pass until the page has asked and says this."""

    async def said() -> bool:
        await page.clock.run_for(2100)
        return bool(text.search(await page.locator("#message").inner_text()))

    await until(said)
    await expect(page.locator("#live")).to_have_text(text)


async def test_news_of_the_message_come_without_a_reload(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    gate = house.outlets["mail"].hangs()
    async with visitor(browser) as (page, watch):
        await stop(page)
        # Far longer than what is let pass: at the end of a life it would ask anyway.
        await asks(settle=False, ttl="86400")(house, page)
        message = page.locator("#message")
        await expect(message).to_have_text("The message is on its way.")
        await typed(page.locator("#otp"), "1234")
        await page.evaluate("document.querySelector('#otp').setSelectionRange(1, 3)")
        await page.clock.run_for(2100)
        await expect(message).to_have_text("The message is on its way.")
        gate.set()
        await house.settled()
        await news(page, SENT)
        await keeps_what_was_typed(page)

        house.outlets["mail"].hangs()
        await page.get_by_role("button", name="Send again").click()
        await expect(message).to_have_text("A message was sent.")
        await expect(page.locator("#otp")).to_have_value("1234")
        await page.locator("#otp").focus()
        await page.evaluate("document.querySelector('#otp').setSelectionRange(1, 3)")
        house.outlets["mail"].refuses()
        assert house.outlets["mail"].gate
        house.outlets["mail"].gate.set()
        await house.settled()
        await news(page, re.compile("The message could not be delivered."))
        await keeps_what_was_typed(page)
        assert [request.is_navigation_request() for request in watch.requests].count(True) == 1


async def test_another_way_is_news_too(browser: Browser, new_place: NewPlace) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (page, _):
        await hush(page)
        await asks("many", provider="sms", to=NUMBER)(house, page)
        await page.get_by_role("button", name="Send by: Phone call").click()
        await expect(page.locator("#message")).to_have_text("A message was sent.")
        await expect(page.locator("#live")).to_have_text("A message was sent.")
        await expect(page.get_by_role("button", name="Send by: Text message")).to_be_visible()
        await house.settled("many")
        await page.locator("#otp").fill(house.code("voice"))
        await expect(page.locator("h1")).to_have_text("Verified")


async def test_the_first_window_notices_what_the_mailed_link_confirmed(
    browser: Browser, new_place: NewPlace
) -> None:
    house = await House.build(new_place)
    async with visitor(browser) as (first, _), visitor(browser) as (second, _):
        await first.clock.install()
        await asks()(house, first)
        await second.goto(house.link())
        await first.clock.run_for(5100)
        await expect(first.locator("#otp")).to_be_visible()
        await second.get_by_role("button", name="Confirm").click()
        await expect(second.locator("h1")).to_have_text("Verified")
        await first.clock.run_for(5100)
        await expect(first.locator("h1")).to_have_text("Verified")
        await expect(first.locator("h1")).to_be_focused()

    assert await house.place.status() == 200


async def test_a_page_that_was_kept_aside_looks_at_once(
    browser: Browser, new_place: NewPlace, need: Callable[[str], str]
) -> None:
    house = await House.build(new_place)
    # As people have it: Playwright switches the cache for going back off.
    keeping = await launch(
        browser.browser_type,
        need("chromium"),
        ["--no-sandbox", "--disable-gpu"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    async with keeping, visitor(keeping) as (page, _):
        await page.add_init_script(_NO_POLLS)
        # A browser that has no time or no room for it keeps none aside: then once more.
        await until(lambda: kept_aside(house, page))
        await expect(page.locator("h1")).to_have_text("Verified")


#: A page with a question on its way might not be kept; and none of them shall bring the news.
_NO_POLLS = """
const later = setTimeout;
window.setTimeout = (work, wait = 0, ...more) => wait < 2000 ? later(work, wait, ...more) : 0;
addEventListener("pageshow", ({ persisted }) => {
  console.info(location.pathname, String(performance.timeOrigin), persisted);
});
"""


async def kept_aside(house: House, page: Page) -> bool:
    """Whether the browser kept a page that was left, and whose code was checked then."""
    await asks(max_generate="99")(house, page)
    # Said when it was loaded, and once more when the browser takes it out again.
    before = f"/otp/shop/user-123 {await page.evaluate('String(performance.timeOrigin)')} false"
    await page.goto(f"{house.place.url}/otp/nobody/user-999")
    await house.check(house.code())

    def is_new(message: ConsoleMessage) -> bool:
        return message.text.startswith("/otp/shop/user-123 ") and message.text != before

    async with page.expect_console_message(is_new) as came:
        await page.evaluate("setTimeout(() => history.back())")
    return (await came.value).text.endswith(" true")
