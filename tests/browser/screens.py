"""What is looked at on a page: how it fits its screen, what it asked for, what axe says, how it looks."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    ViewportSize,
    expect,
)

from tests.waiting import PATIENCE

PHONE: ViewportSize = {"width": 390, "height": 844}
SMALL: ViewportSize = {"width": 320, "height": 568}
DESK: ViewportSize = {"width": 1280, "height": 800}
#: A4 at 96 dots an inch, without margins.
PAPER: ViewportSize = {"width": 794, "height": 1123}
FOLDER = Path(__file__).parents[2] / "build" / "screens"

EVERY_RULE = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
#: Runs before the page's own script.
_EARS = """
window.seen = { violations: [], shift: 0 };
const refused = ({ violatedDirective, blockedURI }) => seen.violations.push([violatedDirective, blockedURI]);
addEventListener("securitypolicyviolation", refused, true);
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) seen.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
#: What sticks out at the sides, or has more text than it shows.
_CUT = """() => {
  const cut = (node) => {
    const box = node.getBoundingClientRect();
    if (!box.width || node.closest(".unseen")) return false;
    const hides = node.localName === "input" || getComputedStyle(node).overflow !== "visible";
    return box.left < -0.5 || box.right > innerWidth + 0.5
      || (hides && (node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1));
  };
  const every = [...document.querySelectorAll("body *")];
  const found = every.filter(cut).map((node) => node.outerHTML.slice(0, 120));
  const width = document.documentElement.scrollWidth;
  return width > innerWidth ? [...found, `wide: ${width}`] : found;
}"""
_STORED = """async () => [document.cookie, localStorage.length, sessionStorage.length,
  (await indexedDB.databases()).length, (await caches.keys()).length]"""
_AXE = """async (tags) => {
  const { violations } = await axe.run({ runOnly: tags, resultTypes: ["violations"] });
  const told = (id) => ({ html, failureSummary }) => [id, html, failureSummary];
  return violations.flatMap(({ id, nodes }) => nodes.map(told(id)));
}"""


class Watch:
    """What a page did since it was opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        # That is the answer's status, which the state is about.
        if message.type == "error" and "the server responded with a status of" not in message.text:
            self.errors.append(message.text)

    def forget(self) -> None:
        """As if it had just been opened."""
        self.requests.clear()
        self.errors.clear()

    @property
    def posts(self) -> int:
        """Forms that were sent."""
        return sum(request.method == "POST" for request in self.requests)

    @property
    def hosts(self) -> set[str]:
        """Whom it asked for anything."""
        return {urlsplit(request.url).netloc for request in self.requests}

    async def seen(self, what: str) -> Any:
        """`violations` of the policy, `shift` of the layout."""
        return await self.page.evaluate(f"window.seen.{what}")

    async def stored(self) -> list[Any]:
        """Cookies of the script, and how much is in each kind of store."""
        found: list[Any] = await self.page.evaluate(_STORED)
        return found


@asynccontextmanager
async def visitor(browser: Browser, **options: Any) -> AsyncIterator[tuple[Page, Watch]]:
    """A person with a fresh profile, on a phone."""
    context = await browser.new_context(**({"viewport": PHONE, "locale": "en-GB"} | options))
    context.set_default_timeout(PATIENCE * 1000)
    await context.add_init_script(_EARS)
    try:
        page = await context.new_page()
        yield page, Watch(page)
    finally:
        await context.close()


async def typed(box: Locator, text: str) -> None:
    """By keyboard, into a box that must have the focus by then: what came before that is lost."""
    await expect(box).to_be_focused()
    await box.page.keyboard.type(text)


async def stop(whose: Page | BrowserContext, now: dt.datetime | None = None) -> None:
    """Time goes on only where the test moves it, however long its steps take."""
    now = now or dt.datetime.now(dt.UTC)
    await whose.clock.install(time=now)
    # Later than it can be by now: it does not go back.
    await whose.clock.pause_at(now + dt.timedelta(seconds=PATIENCE))


async def hush(whose: Page | BrowserContext) -> None:
    """Pages hear no news by themselves: what the answer to a form says stays, until somebody has read it."""
    await whose.route("**/status?*", lambda route: route.fulfill(status=204))


async def cut_off(page: Page, size: ViewportSize, *, zoom: int = 100) -> list[str]:
    """What does not fit, with text of this size in per cent."""
    await page.set_viewport_size(size)
    await page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", f"{zoom}%")
    found: list[str] = await page.evaluate(_CUT)
    await page.evaluate("() => { document.documentElement.style.fontSize = ''; }")
    return found


async def cut_off_paper(page: Page) -> list[str]:
    """What does not fit on one sheet of A4."""
    await page.emulate_media(media="print", color_scheme="dark")
    found = await cut_off(page, PAPER)
    height = await page.evaluate("document.documentElement.scrollHeight")
    ink = await page.evaluate("getComputedStyle(document.querySelector('.card')).color")
    await page.emulate_media(media="screen", color_scheme="light")
    if height > PAPER["height"]:
        found.append(f"tall: {height}")
    if ink != "rgb(0, 0, 0)":
        found.append(f"ink: {ink}")
    return found


async def violations(page: Page, *tags: str) -> list[str]:
    """Of axe's rules with these tags."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found: list[str] = await page.evaluate(_AXE, tags)
    return found


async def shoot(page: Page, name: str) -> None:
    """For people to look at."""
    await page.screenshot(path=FOLDER / f"{name}.png", full_page=True, caret="initial")
