"""Pages of tenants' sites, and people on them: what a site says about its widget is kept in `seen`."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from html import escape
from typing import Any, Self

from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    FrameLocator,
    Locator,
    Page,
    WebError,
    expect,
)

from tests.browser.conftest import NewPlace, NewSite
from tests.browser.place import Place, Site
from tests.http.conftest import shop
from tests.waiting import PATIENCE, until

#: What an axe run looks for; frames are asked by themselves.
_AXE = {"resultTypes": ["violations"], "iframes": False}

#: Of the widget for an id.
_FRAME_IN = 'iframe[src*="/{}?"]'
_FRAME = f"[data-otpsvc] {_FRAME_IN}"

#: True in a frame that is as high as its page.
FITS = "() => innerHeight === Math.ceil(document.documentElement.getBoundingClientRect().height)"

#: Keeps every message that a page hears.
HEARING = """
window.heard = [];
addEventListener("message", (event) => heard.push([event.origin, event.data]));
"""

#: A tenant's own script. `start` is what a careful site would write; `seen` what it was told.
SCRIPT = (
    HEARING
    + """
window.seen = { finished: [], cancelled: [], answers: [], errors: [] };
window.start = (wish, name = "one") => {
  const widget = OTPGateway(Object.assign({}, wish, {
    onFinish: (...told) => seen.finished.push([name, ...told]),
    onCancel: (...told) => seen.cancelled.push([name, ...told]),
  }));
  const frame = [...document.querySelectorAll("[data-otpsvc]")].pop().shadowRoot.querySelector("iframe");
  window.loaded = false;
  frame.addEventListener("load", () => { window.loaded = true; });
  widget.then((answer) => seen.answers.push([name, answer]), (error) => seen.errors.push(String(error)));
  return widget;
};
document.addEventListener("click", ({ target }) => { if (target.id === "go") start(window.wish); });
"""
)

#: For `add_init_script`: `listening()` lists what the widget still hears on the window and the document.
COUNTING = """
window.listening = (() => {
  const kept = [], { addEventListener: add, removeEventListener: remove } = EventTarget.prototype;
  for (const target of [window, document]) {
    target.addEventListener = function (type, heard, ...rest) {
      if (new Error().stack.includes("/static/otp.")) kept.push([type, heard]);
      return add.call(target, type, heard, ...rest);
    };
    target.removeEventListener = function (type, heard, ...rest) {
      const at = kept.findIndex(([one, other]) => one === type && other === heard);
      if (at >= 0) kept.splice(at, 1);
      return remove.call(target, type, heard, ...rest);
    };
  }
  return () => kept.map(([type]) => type);
})();
"""

#: What never ends a widget, whoever says it.
JUNK = """[
  null, undefined, "", "finished", 7, true, [], {}, [["namespace", "shop"], ["id", "user-123"]],
  new Map([["namespace", "shop"], ["id", "user-123"]]), { namespace: "shop" }, { id: "user-123" },
  { namespace: "shop", id: "user-124" }, { namespace: "bank", id: "user-123" },
  { namespace: ["shop"], id: ["user-123"] }, { otpsvc: "cancel" }, { otpsvc: "cancel", of: "bank/user-123" },
  { otpsvc: "cancel", of: null }, { otpsvc: {}, of: "shop/user-123", height: "1px" },
]"""
#: That, and what ends or changes one when its own page says it.
ALL = f"""[...{JUNK},
  {{ namespace: "shop", id: "user-123" }}, {{ namespace: "shop", id: "user-123", receipt: "forged" }},
  {{ otpsvc: "cancel", of: "shop/user-123" }}, {{ otpsvc: "resize", of: "shop/user-123", height: 1999 }},
]"""


def saying(what: str, *targets: str) -> str:
    """A function that posts all of that to each of these windows, with a last word."""
    windows, post = ", ".join(targets), 'target.postMessage(one, "*")'
    return f'() => {{ for (const target of [{windows}]) for (const one of [...{what}, "said"]) {post}; }}'


# Pages.


def script(place: Place, name: str = "otp.js", **more: str) -> str:
    """The widget's script element; `more` are attributes."""
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<script id="otpgateway-script" src="{place.url}/static/{name}"{attributes}></script>'


def document(head: str, body: str = "") -> str:
    """A page higher than every screen, with a button that opens the widget."""
    lines = "<p>We sell what you need.</p>" * 80
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}</head>'
        f'<body><main><h1>Shop</h1>{body}<div id="here"></div><div id="there"></div>{lines}'
        f'<button id="go">Sign in</button> <a href="#go">Help</a>{lines}</main></body></html>'
    )


def framing(url: str, **more: str) -> str:
    """A page that hears, with a frame and no widget. `more`: the frame's attributes."""
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    frame = f'<iframe width="500" height="700" src="{escape(url)}"{attributes}></iframe>'
    head = '<!doctype html><title>Frame</title><link rel="icon" href="data:,">'
    return f"{head}<script>{HEARING}</script><body>{frame}"


def strict(place: Place, *more: str) -> str:
    """A policy that allows the widget and nothing that is inline. `more`: sources of scripts."""
    sources = " ".join(("'self'", place.url, *more))
    return (
        f"default-src 'none'; script-src {sources}; frame-src {place.url}; base-uri 'none';"
        " form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def hashed(inline: str) -> str:
    """The source that allows this one inline script."""
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def furnish(site: Site, place: Place, head: str = "") -> Site:
    """Give a site its page and script. `head`: in place of the widget's script element."""
    site.pages["/"] = document((head or script(place)) + '<script src="/site.js"></script>')
    site.pages["/site.js"] = SCRIPT
    site.pages["/favicon.ico"] = " "
    site.policy = site.policy or strict(place)
    return site


def options(made: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a site hands to the widget of what its server was answered."""
    return {"namespace": made["namespace"], "id": made["id"], "url": made["url"]} | more


# People.


class Watch:
    """What went wrong in a context, by itself. `expected`: patterns of what the test provokes."""

    def __init__(self, context: BrowserContext, expected: Sequence[str]) -> None:
        self.wrong: list[str] = []
        self.expected = expected
        context.on("weberror", self._error)
        context.on("console", self._console)

    def _error(self, error: WebError) -> None:
        self.wrong.append(f"error: {error.error}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"{message.type}: {message.text}")

    def unexpected(self) -> list[str]:
        return [line for line in self.wrong if not any(re.search(one, line) for one in self.expected)]


@asynccontextmanager
async def watched(browser: Browser, *expected: str, **settings: Any) -> AsyncIterator[BrowserContext]:
    """A profile of its own, in which no script may throw or complain, but for what is expected."""
    context = await browser.new_context(**({"reduced_motion": "reduce"} | settings))
    context.set_default_timeout(PATIENCE * 1000)
    watch = Watch(context, expected)
    try:
        yield context
        assert not watch.unexpected(), watch.unexpected()
    finally:
        await context.close()


class Town:
    """A browser, and what there is to be visited with it."""

    def __init__(self, browser: Browser, new_place: NewPlace, new_site: NewSite) -> None:
        self.browser = browser
        self.new_place = new_place
        self.site = new_site

    async def shop(
        self, *, host: str = "shop.example", at: str = "localhost", **tenant: Any
    ) -> tuple[Place, Site]:
        """A service at the host `at`, and the furnished site of its tenant at `host`."""
        site = await self.site(host)
        outlets = tenant.pop("outlets", None)
        owner = shop(**({"origins": (site.url,)} | tenant))
        place = await self.new_place(owner, host=at, outlets=outlets)
        return place, furnish(site, place)

    def visitor(self, *expected: str, **settings: Any) -> AbstractAsyncContextManager[BrowserContext]:
        return watched(self.browser, *expected, **settings)


class Guest:
    """A person on a tenant's site, in a page of theirs."""

    def __init__(self, page: Page, place: Place, site: Site) -> None:
        self.page = page
        self.place = place
        self.site = site

    @classmethod
    async def at(cls, context: BrowserContext, place: Place, site: Site, path: str = "/") -> Self:
        """On a furnished site."""
        page = await context.new_page()
        await page.goto(site.url + path)
        return cls(page, place, site)

    async def begin(self, made: dict[str, Any], *, name: str = "one", **more: Any) -> FrameLocator:
        """The site opens a widget; what stands in its frame."""
        # Not the promise itself: that ends with the widget.
        await self.page.evaluate("([wish, name]) => { start(wish, name); }", [options(made, **more), name])
        return self.frame(made["id"])

    async def press(self, made: dict[str, Any], **more: Any) -> FrameLocator:
        """The person presses the site's button."""
        await self.page.evaluate("(wish) => { window.wish = wish; }", options(made, **more))
        await self.page.click("#go")
        return self.frame(made["id"])

    def frame(self, id: str = "user-123") -> FrameLocator:
        return self.page.frame_locator(_FRAME.format(id))

    async def ready(self, id: str = "user-123") -> FrameLocator:
        """What stands in the frame, once the widget has heard from its script."""
        await expect(self.page.locator(".stage.ready").locator(_FRAME_IN.format(id))).to_be_visible()
        return self.frame(id)

    async def type(self, text: str, box: str = "#otp", *, id: str = "user-123") -> None:
        """By keyboard, where the focus must come by itself."""
        await type_at(self.frame(id).locator(box), text)

    async def fill(self, text: str, *, id: str = "user-123") -> None:
        """By keyboard, once the person has put the focus there."""
        await fill_at((await self.ready(id)).locator("#otp"), text)

    async def inside(self, id: str = "user-123") -> Frame:
        """The frame itself, to run scripts in."""
        element = await self.page.locator(_FRAME.format(id)).element_handle()
        frame = await element.content_frame()
        assert frame
        return frame

    async def loaded(self) -> None:
        """Until the frame of the last widget has loaded something, its page or the browser's error."""
        await comes_true(self.page, "() => window.loaded")

    async def seen(self) -> dict[str, Any]:
        """What the site was told so far: lists `finished`, `cancelled`, `answers` and `errors`."""
        found: dict[str, Any] = await self.page.evaluate("seen")
        return found

    async def told(self, what: str = "answers", count: int = 1) -> dict[str, Any]:
        """`seen`, once there are as many of these."""
        await comes_true(self.page, "([what, count]) => seen[what].length >= count", [what, count])
        return await self.seen()


async def comes_true(where: Page | Frame, condition: str, arg: Any = None) -> None:
    """Asked from here: the page's own clock may stand still."""
    await until(lambda: where.evaluate(condition, arg), lambda: condition)


async def heard(where: Page | Frame) -> list[Any]:
    """What a page with HEARING was sent: `[origin, data]` each."""
    found: list[Any] = await where.evaluate("heard")
    return found


async def flaws(where: Page | Frame) -> list[str]:
    """What axe finds wrong here, without the frames inside."""
    found = await Axe().run(where, options=_AXE)
    return [f"{one['id']}: {node['target']}" for one in found.response["violations"] for node in one["nodes"]]


async def focused(page: Page) -> str:
    """What has the focus, looked for in the widget too."""
    found: str = await page.evaluate(
        """() => {
          const outer = document.activeElement, held = (outer.shadowRoot || document).activeElement;
          return held.id || held.className || held.tagName;
        }"""
    )
    return found


async def holds(page: Page, name: str) -> None:
    """Until this has the focus: the page hears of it after the frame, from another process."""

    async def there() -> bool:
        return await focused(page) == name

    await until(there, lambda: name)


async def type_at(box: Locator, text: str) -> None:
    """By keyboard, into a box in a frame that must have the focus by then."""
    await expect(box).to_be_focused()
    await holds(box.page, "IFRAME")
    await box.page.keyboard.type(text)


async def fill_at(box: Locator, text: str) -> None:
    """The same, with the focus put there."""
    await box.focus()
    await type_at(box, text)
