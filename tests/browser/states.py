"""Every state a page can be in, and how a visitor gets there: by what the service really does.

`delivered` is missing: no part of the service reports it yet.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from playwright.async_api import Page, expect

from otpsvc.address import ANY, EMAIL, phone
from otpsvc.language import words
from otpsvc.stores.redis import RedisStore
from otpsvc.tenant import Limits, PageLook, Rate, Tenant, Texts
from tests.browser.conftest import NewPlace
from tests.browser.place import Place
from tests.flows.rig import Outlet, with_codes, wrong
from tests.http.conftest import shop
from tests.http.door import basic
from tests.waiting import PATIENCE, until

NUMBER = "+4915112345678"
_LOGO = (
    "data:image/svg+xml;base64,"
    + b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 40">'
        b'<rect width="120" height="40" rx="8" fill="#b3261e"/></svg>'
    ).decode()
)
_LINK = re.compile(r"http://\S+#otp=\S+")


def _tenants() -> dict[str, Tenant]:
    linking = Texts(text="{{ code }} {{ url }}", sms="{{ code }} {{ url }}")
    look = PageLook(logo=_LOGO, accent="#ffc400", help="Questions? Call us: 030 1234 (9 to 17 h).")
    every = (
        shop(title="Shop", templates=linking),
        shop(name="waits", title="Shop", limits=Limits(waits=(59,), wrong_checks_client=Rate(1, 86_400))),
        shop(name="many", title="Shop", channels=("sms", "voice", "mail")),
        with_codes(shop(name="letters", title="Shop"), alphabet="letters", length=8),
        shop(name="open", title="Shop", open_view=True),
        shop(name="look", title="Nordwind Verlag und Buchhandel GmbH & Co. KG", page=look),
    )
    return {owner.name: owner for owner in every}


class House:
    """A service with the tenants and outlets that states need.

    `lang`: what its pages are asked in. `tenants`: whom it knows when they first ask.
    """

    def __init__(self, place: Place, lang: str = "") -> None:
        self.place = place
        self.outlets = place.outlets
        self.lang = lang
        self.tenants = _tenants()

    @classmethod
    async def build(cls, new_place: NewPlace, lang: str = "", **parts: Any) -> House:
        outlets = {
            # It may hang: that it is cut off is no part of these states.
            "mail": Outlet(EMAIL, timeout=PATIENCE),
            "sms": Outlet(phone()),
            "voice": Outlet(phone()),
            "any": Outlet(ANY),
            "doubtful": Outlet(EMAIL, on_uncertain="never_resend"),
        }
        chosen: dict[str, Any] = {"titles": {"voice": "Phone call"}, "trusted_proxies": ("127.0.0.1",)}
        return cls(await new_place(_tenants()["shop"], outlets=outlets, **(chosen | parts)), lang)

    async def put(self, of: str = "shop", *, settle: bool = True, **fields: str) -> str:
        """Ask for a verification as this tenant; the URL of its page. `settle`: its message is out."""
        id = fields.pop("id", "user-123")
        asked = {"provider": "mail", "to": "anna@home.example"} | fields
        # Only now: the courier looks after all that there are.
        self.place.node.tenants.setdefault(of, self.tenants[of])
        answer = await self.place.door.ask("PUT", f"/api/otp/{id}", asked, auth=basic(of))
        assert answer.status == 200, answer
        if settle:
            await self.settled(of, id)
        return str(answer.json["data"]["url"])

    async def settled(self, of: str = "shop", id: str = "user-123") -> None:
        async def is_settled() -> bool:
            state = (await self.place.node.read(of, id)).message.state
            return state not in ("queued", "sending")

        await until(is_settled)

    async def check(self, code: str, of: str = "shop", **fields: str) -> None:
        await self.place.door.ask("POST", "/api/otp/user-123", {"otp": code} | fields, auth=basic(of))

    async def attempts(self) -> int:
        """Codes that were checked for the tenant `shop`."""
        return int((await self.place.state())["attempts"])

    async def open(self, page: Page, url: str) -> None:
        """In the language of this house."""
        place, mark, fragment = url.partition("#")
        asked = f"{place}&lang={self.lang}" if self.lang else place
        await page.goto(asked + mark + fragment)

    async def loses_store(self) -> None:
        """What it holds cannot be reached any more."""
        self.place.node.verifier.store = RedisStore("unix:///nowhere/at/all", fenced=False)

    def code(self, outlet: str = "mail") -> str:
        return self.place.code(outlet)

    def link(self, outlet: str = "mail") -> str:
        """In the last message."""
        found = _LINK.search(self.outlets[outlet].taken[-1].text)
        assert found
        return found[0]


Reach = Callable[[House, Page], Awaitable[None]]


class State(NamedTuple):
    """`kind` is the page's; `says`: the key of a text that is read on it."""

    name: str
    kind: str
    says: str
    reach: Reach

    def words(self, locale: str) -> re.Pattern[str]:
        """What is read there."""
        return pattern(locale, self.says)


def pattern(locale: str, key: str) -> re.Pattern[str]:
    """Matches a text of the catalogue, whatever its placeholders hold."""
    parts = re.split(r"\{\w+\}", words(locale).texts[key])
    return re.compile(".+".join(map(re.escape, parts)))


def asks(of: str = "shop", *, settle: bool = True, **fields: str) -> Reach:
    """The page of a new create."""

    async def reach(house: House, page: Page) -> None:
        await house.open(page, await house.put(of, settle=settle, **fields))

    return reach


def then(first: Reach, *codes: str, press: str = "") -> Reach:
    """Type these after that (`right`, `wrong` or as it is); press the button that this selects."""

    async def reach(house: House, page: Page) -> None:
        await first(house, page)
        for code in codes:
            known = {"right": house.code, "wrong": lambda: wrong(house.code())}
            text = known[code]() if code in known else code
            box = page.locator("#check input:not([type=hidden])")
            await box.fill(text)
            if code not in known:
                await box.press("Enter")
            await expect(page.locator("#error, .mark")).to_be_visible()
        if press:
            await page.locator(press).click()
            await expect(page.locator("#message.good")).to_be_visible()

    return reach


def behind(misdeed: Callable[[Outlet], object], first: Reach, outlet: str = "mail") -> Reach:
    """That, with an outlet that misbehaves."""

    async def reach(house: House, page: Page) -> None:
        misdeed(house.outlets[outlet])
        await first(house, page)

    return reach


async def _refused_twice(house: House, page: Page) -> None:
    await then(asks("waits"), "wrong")(house, page)
    other = next(code for code in ("222222", "333333") if code != house.code())
    await page.locator("#otp").fill(other)
    await expect(page.locator("#error")).to_have_text(pattern(house.lang or "en", "error_check_limit"))


async def _link(house: House, page: Page) -> None:
    await house.put()
    await house.open(page, house.link())


async def _show(house: House, page: Page) -> None:
    await house.put(purpose="authentication")
    await house.open(page, house.link())
    await expect(page.locator(".code")).to_be_visible()


async def _show_bare(house: House, page: Page) -> None:
    await house.put(purpose="authentication")
    await house.open(page, house.link().partition("#")[0])


async def _change_address(house: House, page: Page) -> None:
    await address_given(house, page)
    await page.locator("#trouble a").click()
    await expect(page.locator("#to")).to_be_visible()


async def address_given(house: House, page: Page, to: str = "anna@home.example") -> None:
    """By its person."""
    await asks(to="")(house, page)
    await page.locator("#to").fill(to)
    await page.locator("#to").press("Enter")
    await expect(page.locator("#otp")).to_be_visible()


async def _done_again(house: House, page: Page) -> None:
    url = await house.put()
    await house.check(house.code())
    await house.open(page, url)


async def _replaced(house: House, page: Page) -> None:
    url = await house.put()
    await house.put(to="ben@home.example")
    await house.open(page, url)


async def _locked(house: House, page: Page) -> None:
    url = await house.put(max_attempts="1", ttl="120")
    await house.check(wrong(house.code()))
    await house.open(page, url)


async def _cancelled(house: House, page: Page) -> None:
    url = await house.put()
    await house.place.door.ask("DELETE", "/api/otp/user-123")
    await house.open(page, url)


async def _gone(house: House, page: Page) -> None:
    await house.open(page, (await house.put())[:-2] + "xx")


async def _busy(house: House, page: Page) -> None:
    url = await house.put()
    await house.loses_store()
    await house.open(page, url)


EVERY = (
    State("code", "code", "message_sent", asks()),
    State("code-wrong", "code", "error_wrong_code", then(asks(), "wrong")),
    State("code-malformed", "code", "error_code_form_digits", then(asks(), "12")),
    State("code-empty", "code", "error_empty_code", then(asks(), "")),
    State("code-refused", "code", "error_check_limit", _refused_twice),
    State("message-queued", "code", "message_queued", behind(Outlet.hangs, asks(settle=False))),
    State("message-failed", "code", "message_failed", behind(Outlet.refuses, asks())),
    State(
        "message-uncertain",
        "code",
        "message_uncertain",
        behind(Outlet.loses_reply, asks(provider="doubtful"), "doubtful"),
    ),
    State("resent", "code", "notice_sent", then(asks(), press="#resend button")),
    State("resend-waits", "code", "resend_wait", asks("waits")),
    State("resend-none", "code", "resend_none", asks(max_generate="1")),
    State("ways", "code", "resend_by", asks("many", provider="sms", to=NUMBER)),
    State("letters", "code", "code_hint_letters", asks("letters")),
    State("look", "code", "code_hint_digits", asks("look")),
    State("collected", "code", "change_address", address_given),
    State("address-email", "address", "address_help_email", asks(to="")),
    State("address-phone", "address", "address_help_phone", asks(to="", provider="sms")),
    State("address-any", "address", "address_help_any", asks(to="", provider="any")),
    State("address-choice", "address", "address_ways", asks("many", to="")),
    State("address-error", "address", "error_email", then(asks(to=""), "anna")),
    State("address-change", "address", "address_back", _change_address),
    State("link", "link", "link_submit", _link),
    State("show", "show", "show_not_you", _show),
    State("show-bare", "show", "show_no_script", _show_bare),
    State("done", "done", "done_help", then(asks(), "right")),
    State("done-again", "done", "done_again_help", _done_again),
    State("expired", "expired", "expired_help", _replaced),
    State("locked", "locked", "locked_help", _locked),
    State("cancelled", "cancelled", "cancelled_help", _cancelled),
    State("gone", "gone", "gone_help", _gone),
    State("busy", "busy", "busy_help", _busy),
)
