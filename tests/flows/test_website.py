"""What docs/website.md tells people to do, done: both of its shops, on the config that it prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.flows.website_rig import (
    EXAMPLES,
    MANUAL,
    PLAY,
    REACT,
    Shop,
    Site,
    blocks,
    command,
    pinned,
    running,
)
from tests.flows.website_visitor import Browser, Form
from tests.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and uses 127.0.0.2 and so on")
LANGUAGES = ("python", "node")


@pytest.fixture(scope="module", params=LANGUAGES)
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], str]
) -> AsyncIterator[Site]:
    async with running(tmp_path_factory.mktemp("site"), *command(request.param, need)) as one:
        yield one


@pytest.fixture
async def anna(site: Site) -> AsyncIterator[Browser]:
    async with Browser(site.shop.origin) as browser:
        yield browser


@pytest.fixture
async def mallory(site: Site) -> AsyncIterator[Browser]:
    async with Browser(site.shop.origin) as browser:
        yield browser


async def verifies(site: Site, browser: Browser, to: str) -> tuple[Form, str]:
    """All up to the receipt: the form that takes it, and the receipt."""
    form = (await browser.asks(to)).form(to="/finish")
    receipt = await browser.types(form, await site.mailbox.code_for(to))
    assert receipt
    return form, receipt


async def test_a_visitor_signs_in_and_out(site: Site, anna: Browser) -> None:
    page = await anna.asks("Anna@Home.example")
    code = await site.mailbox.code_for(page.words.partition("a code to ")[2].partition(" ")[0].rstrip("."))
    receipt = await anna.types(page.form(to="/finish"), code)
    inside = await anna.post(page.form(to="/finish"), receipt=receipt)
    later = await anna.get()
    out = await anna.post(later.form(to="/leave"))

    assert "Hello, Anna@home.example!" in inside.words
    assert later.words == inside.words
    assert "Hello" not in out.words
    assert "E-mail:" in out.words


async def test_the_frame_opens_in_this_shop_and_nowhere_else(site: Site, anna: Browser) -> None:
    page = await anna.asks("bert@home.example")
    frame = await anna.get(page.form(to="/finish").data["url"])

    assert frame.policy["frame-ancestors"] == site.shop.origin
    assert page.policy["frame-src"] == site.otpsvc.url
    assert page.policy["frame-ancestors"] == "'none'"
    nonce = page.policy["script-src"].removeprefix("'nonce-").rstrip("'")
    assert len(re.findall(rf'<script nonce="{nonce}"', page.html)) == page.html.count("<script") == 2
    assert f'id="otpgateway-script" src="{site.otpsvc.url}/static/otp.js"' in page.html
    assert nonce not in (await anna.get()).html


async def test_what_the_widget_needs_is_there(site: Site, anna: Browser) -> None:
    script = await anna.get(f"{site.otpsvc.url}/static/otp.js")
    named = re.findall(r"/static/otp\.\w+\.js", pinned(MANUAL.read_text("utf-8")))
    same = await anna.get(site.otpsvc.url + named[0])

    assert script.status == same.status == 200
    assert script.html == same.html
    assert "OTPGateway" in script.html


async def test_without_a_receipt_nobody_is_signed_in(site: Site, anna: Browser) -> None:
    page = await anna.asks("carl@home.example")
    early = await anna.post(page.form(to="/finish"))
    await anna.types(page.form(to="/finish"), await site.mailbox.code_for("carl@home.example"))
    none = await anna.post(page.form(to="/finish"), receipt="")
    invented = await anna.post(page.form(to="/finish"), receipt="A" * 64)

    for refused in (early, none, invented):
        assert refused.status == 400
        assert "could not make sure that it is you" in refused.words
    assert "Hello" not in (await anna.get()).words


async def test_a_receipt_of_another_verification_is_worth_nothing(
    site: Site, anna: Browser, mallory: Browser
) -> None:
    form, receipt = await verifies(site, mallory, "mallory@home.example")
    await anna.asks("dora@home.example")

    refused = await anna.post(form, receipt=receipt)

    assert refused.status == 400
    assert "Hello" not in (await anna.get()).words


async def test_a_receipt_signs_in_once(site: Site, anna: Browser, mallory: Browser) -> None:
    form, receipt = await verifies(site, anna, "emil@home.example")
    mallory.take_cookies_of(anna)
    inside = await anna.post(form, receipt=receipt)
    again = await anna.post(form, receipt=receipt)
    stolen = await mallory.post(form, receipt=receipt)
    async with site.otpsvc.client() as http:
        path = f"/api/otp/{form.data['id']}/status"
        async with http.post(path, data={"receipt": receipt}) as answer:
            told = await answer.json()

    assert "Hello, emil@home.example!" in inside.words
    assert (again.status, stolen.status) == (400, 400)
    assert "Hello" not in (await mallory.get()).words
    assert told["code"] == "not_verified"


async def test_the_page_may_ask_for_the_address(site: Site, anna: Browser) -> None:
    async with site.otpsvc.client() as http:
        wish = {"provider": "smtp", "purpose": "authentication"}
        async with http.put("/api/otp/sign-up-0001", data=wish) as answer:
            made = (await answer.json())["data"]
        first = await anna.get(made["url"])
        await anna.post(first.form(has="to"), to="ida@home.example")
        form = Form("", data=made)
        receipt = await anna.types(form, await site.mailbox.code_for("ida@home.example"))
        proof = {"receipt": receipt, "gen": made["gen"]}
        async with http.post("/api/otp/sign-up-0001/status", data=proof) as answer:
            told = await answer.json()

    assert told["data"]["to"] == "ida@home.example"


async def test_forms_of_other_sites_are_refused(site: Site, anna: Browser) -> None:
    form = (await anna.get()).form(to="/start")
    for origin in ("https://evil.example", site.shop.origin + ".evil.example", "null", ""):
        refused = await anna.post(form, origin=origin, to="fred@home.example")
        assert refused.status == 403
        assert "a code to" not in (await anna.get()).words


async def test_what_a_visitor_typed_comes_back_escaped(site: Site, anna: Browser) -> None:
    page = await anna.asks("o'hara&{nonce}@home.example")

    assert "o'hara&{nonce}@home.example" in page.words
    assert "o&#" in page.html
    assert "&{" not in page.html


@pytest.mark.parametrize("to", ["", "nobody", "a@b c", "<script>alert(1)</script>", "{nonce}", "x" * 5000])
async def test_an_address_that_cannot_be_is_explained(site: Site, anna: Browser, to: str) -> None:
    page = await anna.asks(to)

    assert page.status == 400
    assert "This address cannot be used." in page.words
    assert "alert(1)" not in page.html


async def test_too_many_are_asked_to_wait(site: Site, anna: Browser) -> None:
    for _ in range(5):
        page = await anna.asks("gina@home.example")
        assert page.status == 200
        await anna.post(page.form(to="/leave"))
    refused = await anna.asks("gina@home.example")

    assert refused.status == 429
    wait = re.search(r"Please wait (\d+) seconds", refused.words)
    assert wait
    assert 0 < int(wait[1]) <= 600


async def test_paths_and_bodies_that_nobody_wrote(site: Site, anna: Browser) -> None:
    assert (await anna.get("/nothing?x=1")).status == 200
    assert (await anna.post(Form(f"{site.shop.origin}/nothing"))).status == 404
    assert (await anna.post(Form(f"{site.shop.origin}/finish"), receipt="x")).status == 400


async def test_no_code_secret_or_receipt_in_the_shops_log(site: Site, anna: Browser) -> None:
    form, receipt = await verifies(site, anna, "hugo@home.example")
    await anna.post(form, receipt=("B" if receipt[0] == "A" else "A") + receipt[1:])
    await anna.post(form, receipt=receipt)
    code = await site.mailbox.code_for("hugo@home.example")

    log = site.shop.log()
    assert "400 not_verified" in log
    assert "Traceback" not in log
    for secret in (code, receipt, form.data["id"], "hugo", urlsplit(form.data["url"]).query):
        assert secret not in log


@pytest.mark.parametrize("language", LANGUAGES)
async def test_without_otpsvc_there_is_a_clear_page(
    language: str, tmp_path: Path, need: Callable[[str], str]
) -> None:
    async with running(tmp_path, *command(language, need)) as site, Browser(site.shop.origin) as browser:
        form, receipt = await verifies(site, browser, "anna@home.example")
        await site.otpsvc.stop()
        down = await browser.post(form, receipt=receipt)
        waiting = await browser.get()
        await browser.post(waiting.form(to="/leave"))
        first = await browser.asks("bert@home.example")

    for page in (down, first):
        assert page.status == 503
        assert "We cannot send or check codes right now." in page.words
    assert "Hello" not in waiting.words
    assert "Traceback" not in site.shop.log()


async def test_a_wrong_secret_is_the_operators_matter(site: Site, tmp_path: Path) -> None:
    shop = Shop(*site.shop.command, folder=tmp_path)
    try:
        await shop.start(site.otpsvc.url, secret="a-wrong-one")
        async with Browser(shop.origin) as browser:
            page = await browser.asks("anna@home.example")
        await until(lambda: "401 unauthorized" in shop.log(), shop.log)
    finally:
        shop.stop()

    assert page.status == 503
    assert "a-wrong-one" not in shop.log()


# The page itself


def test_the_script_line_is_that_of_this_widget() -> None:
    text = MANUAL.read_text("utf-8")

    assert 'integrity="sha384-' in text
    assert text == pinned(text), "js/otp.js was changed. Run: python -m tests.flows.website_rig"


def test_what_the_page_shows_of_the_examples_is_in_them() -> None:
    shop = (EXAMPLES / "shop.py").read_text("utf-8")
    shown = blocks("python")

    assert shown
    for block in shown:
        assert block in shop or textwrap.indent(block, "    ") in shop, block


def test_the_react_hook_opens_one_widget(need: Callable[[str], str], tmp_path: Path) -> None:
    (hook,) = [block for block in blocks("js") if 'from "react"' in block]
    package = tmp_path / "node_modules" / "react"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (package / "index.js").write_text(REACT)
    (tmp_path / "hook.mjs").write_text(hook)
    (tmp_path / "play.mjs").write_text(PLAY)

    said = subprocess.run(
        [need("node"), "play.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    calls, receipts = json.loads(said.stdout)
    assert calls == [["opened", "user-0001"], "cancelled", ["opened", "user-0001"], "cancelled"]
    assert receipts == ["r1"]


def test_every_script_on_the_page_can_be_read(need: Callable[[str], str], tmp_path: Path) -> None:
    scripts: list[Any] = [*blocks("js"), (EXAMPLES / "shop.mjs").read_text("utf-8")]
    scripts += re.findall(r"<script[^>]*>([^<]+)</script>", (EXAMPLES / "shop.html").read_text("utf-8"))
    for at, script in enumerate(scripts):
        file = tmp_path / f"{at}.mjs"
        file.write_text(script)
        subprocess.run([need("node"), "--check", str(file)], check=True)
