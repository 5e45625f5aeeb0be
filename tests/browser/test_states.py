"""Every state of the pages: fits every screen, is read by everybody, and asks for nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from otpsvc.http.pages import door as pages_door
from otpsvc.language import words
from tests.browser import screens
from tests.browser.conftest import NewPlace
from tests.browser.screens import Watch, hush, visitor
from tests.browser.states import EVERY, House, State, asks, pattern
from tests.http.door import Door

ELSEWHERE = "198.51.100.9"
states = pytest.mark.parametrize("state", EVERY, ids=lambda state: state.name)


async def says_what_it_is(page: Page, state: State, locale: str) -> None:
    title = words(locale).texts[f"{state.kind}_title"]
    await expect(page.locator("main")).to_have_attribute("data-kind", state.kind)
    await expect(page.locator("main")).to_contain_text(state.words(locale))
    await expect(page.locator("h1")).to_have_text([title])
    await expect(page.locator("html")).to_have_attribute("lang", locale)
    await expect(page.locator("html")).to_have_attribute("dir", words(locale).direction)
    assert title in await page.title()
    wrong = await page.locator("#error").is_visible()
    assert (await page.title()).startswith(words(locale).texts["error_title"]) == wrong


async def fits(page: Page) -> None:
    """Every screen, a text of double size, and paper."""
    for size in (screens.SMALL, screens.PHONE, screens.DESK):
        assert await screens.cut_off(page, size) == []
    assert await screens.cut_off(page, screens.PHONE, zoom=200) == []
    assert await screens.cut_off_paper(page) == []


async def keeps_to_itself(watch: Watch, house: House) -> None:
    assert watch.hosts == {urlsplit(house.place.url).netloc}
    assert await watch.seen("violations") == []
    assert watch.errors == []
    assert await watch.stored() == ["", 0, 0, 0, 0]
    assert await watch.page.context.cookies() == []


@pytest.fixture(scope="module")
async def window(browser: Browser) -> AsyncIterator[tuple[Page, Watch]]:
    """One for all states: a new one costs more than all that is looked at in it."""
    async with visitor(browser, locale=None) as (page, watch):
        await hush(page)
        yield page, watch


async def shown(window: tuple[Page, Watch], house: House, state: State) -> tuple[Page, Watch]:
    page, watch = window
    await page.goto("about:blank")
    await page.set_viewport_size(screens.PHONE)
    await page.emulate_media(media="screen", color_scheme="light")
    await page.set_extra_http_headers({"accept-language": house.lang or "en"})
    watch.forget()
    await state.reach(house, page)
    return page, watch


@states
async def test_in_english(window: tuple[Page, Watch], new_place: NewPlace, state: State) -> None:
    house = await House.build(new_place)
    page, watch = await shown(window, house, state)
    await says_what_it_is(page, state, "en")
    await screens.shoot(page, f"{state.name}-light")
    await keeps_to_itself(watch, house)
    assert await screens.violations(page, *screens.EVERY_RULE) == []
    await page.emulate_media(color_scheme="dark")
    await screens.shoot(page, f"{state.name}-dark")
    assert await screens.violations(page, "color-contrast", "link-in-text-block") == []
    await fits(page)


@states
async def test_in_arabic(window: tuple[Page, Watch], new_place: NewPlace, state: State) -> None:
    house = await House.build(new_place, lang="ar")
    page, watch = await shown(window, house, state)
    await says_what_it_is(page, state, "ar")
    await screens.shoot(page, f"{state.name}-arabic")
    for size in (screens.SMALL, screens.DESK):
        assert await screens.cut_off(page, size) == []
    assert watch.errors == []


# Languages.


@pytest.mark.parametrize(
    ("shown", "accept", "create", "widget"),
    [
        ("de", "de-AT,de;q=0.9,en;q=0.8", "", ""),
        ("es", "fr,es;q=0.5", "", ""),
        ("id", "id", "", ""),
        ("ar", "ar", "", ""),
        ("en", "tlh", "", ""),
        ("es", "de", "es", ""),
        ("id", "de", "es", "id"),
        ("de", "de", "", "tlh"),
    ],
)
async def test_the_language_is_the_widgets_else_the_creates_else_the_browsers(
    window: tuple[Page, Watch], new_place: NewPlace, shown: str, *, accept: str, create: str, widget: str
) -> None:
    page, house = window[0], await House.build(new_place, lang=widget)
    await page.set_extra_http_headers({"accept-language": accept})
    await asks(to="", locale=create)(house, page)
    await expect(page.locator("h1")).to_have_text(words(shown).texts["address_title"])
    await page.locator("#to").fill("anna@home.example")
    await page.locator("#to").press("Enter")
    await expect(page.locator("h1")).to_have_text(words(shown).texts["code_title"])
    await page.locator("#otp").fill("12")
    await page.locator("#otp").press("Enter")
    await expect(page.locator("#error")).to_contain_text(pattern(shown, "error_code_form_digits"))
    await page.reload()
    await expect(page.locator("h1")).to_have_text(words(shown).texts["code_title"])


#: Where the text of an element ends at the right.
_RIGHT = """(node) => {
  const range = document.createRange();
  range.selectNodeContents(node);
  return Math.max(...[...range.getClientRects()].map(({ right }) => right));
}"""
#: Whether the first digit in a text stands left of the second.
_IN_ORDER = r"""(node) => {
  const text = document.createTreeWalker(node, NodeFilter.SHOW_TEXT).nextNode();
  const range = document.createRange(), at = text.data.search(/\d\d/);
  const left = (at) => {
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return range.getBoundingClientRect().left;
  };
  return left(at) < left(at + 1);
}"""


async def test_arabic_runs_from_right_to_left_but_codes_and_numbers_do_not(
    window: tuple[Page, Watch], new_place: NewPlace
) -> None:
    page, house = window[0], await House.build(new_place, lang="ar")
    await page.set_viewport_size(screens.PHONE)
    await asks("waits")(house, page)
    edge = screens.PHONE["width"] - 20
    for text in ("header p", "h1", "label", "#hint", "#trouble-title"):
        right = await page.locator(text).evaluate(_RIGHT)
        assert abs(right - edge) <= 2, text
    await expect(page.locator("#otp")).to_have_css("direction", "ltr")
    await expect(page.locator("#resend button")).to_have_text(re.compile(r"\d\d"))
    assert await page.locator("#resend button").evaluate(_IN_ORDER)


# When the service will not.


async def pester(door: Door, path: str) -> None:
    """A client of that network asks until it is refused."""
    for _ in range(2 * pages_door.BURST):
        if (await door.ask("POST", path, {"t": "x"}, auth="", client=(ELSEWHERE, 1))).status == 429:
            return
    raise AssertionError("nobody is ever refused")


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
async def test_a_service_that_is_busy_keeps_what_was_typed_or_leads_back(
    browser: Browser, new_place: NewPlace, script: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is free again while this runs.
    monkeypatch.setattr(pages_door, "REFILL", 3600.0)
    house = await House.build(new_place)
    url = await house.put("open")
    async with visitor(
        browser, java_script_enabled=script, extra_http_headers={"x-forwarded-for": ELSEWHERE}
    ) as (page, _):
        await page.goto(f"{url}&lang=de")
        await pester(house.place.door, urlsplit(url).path)
        await page.locator("#otp").fill(house.code())
        if not script:
            await page.locator("#check button").click()
        await expect(page.locator("main")).to_contain_text("Das ist im Moment leider nicht möglich.")
        if script:
            await expect(page.locator("#otp")).to_have_value(house.code())
        else:
            await page.locator("a.button").click()
        await expect(page.locator("h1")).to_have_text("Code eingeben")
