"""Behind the demo's shop: faults, the life of a code, what the store holds, whose forms count."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from otpsvc.demo.handset import Handset
from otpsvc.demo.provider import Provider
from otpsvc.demo.shelf import Shelf
from otpsvc.keyring_file import create
from otpsvc.stores.batcher import Batcher
from otpsvc.stores.connection import Connector
from otpsvc.stores.embedded import EmbeddedStore
from tests.flows.demo_visit import Demo, Page, running
from tests.flows.test_demo import code_in, receipt_of

#: Those that nobody has. (NANP: 555-0100 to 555-0199)
_numbers = itertools.count(100)
#: The page shows the last try alone, which may be a later one when it is looked at.
AGAIN = re.compile(r"try ([2-9]|\d\d+) ended with “HTTP 500”")
#: What a verification's page can change.
FORMS = ("/done", "/again", "/guess", "/cancel", "/faults")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as one:
        yield one


@pytest.fixture
def demo(process: Demo) -> Demo:
    """A browser without cookies."""
    return process.another()


@pytest.fixture
def address() -> str:
    return f"ann{secrets.token_hex(4)}@example.com"


@pytest.fixture
def number() -> str:
    """Of this test alone, as the address."""
    return f"+1212555{next(_numbers):04d}"


@pytest.fixture
def started(demo: Demo, address: str) -> Page:
    page = demo.fill(demo.get("/demo"), "/sign-up", to=address)
    return demo.until(page, lambda page: "/demo/mail/" in page.html)


@pytest.fixture
def broken(demo: Demo) -> Iterator[Demo]:
    """For tests that turn switches: afterwards everything works again."""
    yield demo
    for switch in ("mail", "provider"):
        demo.turn(switch, "works")


def test_mail_waits_while_its_server_is_down_and_then_arrives(
    broken: Demo, started: Page, address: str
) -> None:
    """Also where a line to the server was kept open from the mail before."""
    assert "took it" in broken.get(started.path).part("story")
    said = broken.turn("mail", "down").part("trouble")
    page = broken.fill(broken.get("/demo"), "/sign-up", to=address)
    page = broken.until(page, lambda page: "ended with" in page.part("story"))
    broken.turn("mail", "works")
    page = broken.until(page, lambda page: "The mail server took it at try" in page.part("story"))

    assert "It refuses connections" in said
    assert "/demo/mail/" in page.html


def test_mail_server_that_comes_back_keeps_its_port(broken: Demo, address: str) -> None:
    before = broken.listening()
    broken.turn("mail", "down")
    down = broken.listening()
    broken.turn("mail", "works")

    assert len(down) == len(before) - 1
    assert broken.listening() == before


def test_slow_far_ends_delay_messages_and_not_the_shop(broken: Demo, address: str, number: str) -> None:
    for switch in ("mail", "provider"):
        broken.turn(switch, "slow")
    for form, to in (("/sign-up", address), ("/sign-in", number)):
        page = broken.fill(broken.get("/demo"), form, to=to)
        page = broken.until(page, lambda page: "has not answered yet" in page.part("story"))

        assert "on its way" in page.part("inbox")
        broken.until(page, lambda page: "took it" in page.part("story"))


def test_provider_that_answers_500_is_tried_again(broken: Demo, number: str) -> None:
    broken.turn("provider", "error")
    page = broken.fill(broken.get("/demo"), "/sign-in", to=number)
    page = broken.until(page, lambda page: AGAIN.search(page.part("story")) is not None)
    broken.turn("provider", "works")

    page = broken.until(page, lambda page: 'class="text"' in page.html)
    assert page.html.count('class="text"') == 1


def test_provider_that_says_no_ends_the_message(broken: Demo, number: str) -> None:
    broken.turn("provider", "refuses")
    page = broken.fill(broken.get("/demo"), "/sign-in", to=number)
    page = broken.until(page, lambda page: "Failed: HTTP 422" in page.part("story"))

    assert "The message could not be delivered (HTTP 422)" in page.words
    assert "message failed" in page.part("store")


def test_guesses_lock_and_the_right_code_is_refused(demo: Demo, started: Page) -> None:
    code, page = code_in(started), started
    for _ in range(4):
        page = demo.fill(page, "/guess")
    assert "Wrong code. 1 attempt is left." in page.part("aside")
    page = demo.fill(page, "/guess")

    assert "Wrong code, and the last one: locked." in page.part("aside")
    assert "5 wrong codes: locked" in page.part("story")
    assert "state locked" in page.part("store")
    assert demo.call("POST", f"/{started.data('id')}", otp=code)["code"] == "locked"
    assert "Locked" in demo.fill(page, "/guess").part("aside")


def test_hint_shows_a_wrong_code(started: Page) -> None:
    shown = started.data("copy")

    assert len(shown) == 6
    assert shown != code_in(started)


def test_asking_again_at_once_names_the_wait(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/again")

    assert "Too fast. The next message may leave in 0:" in page.part("aside")
    assert "sends 1 of 4" in page.part("store")


def test_cancelled_verification_takes_no_code(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/cancel")

    assert "Never: the shop cancelled it" in page.part("story")
    answer = demo.call("POST", f"/{started.data('id')}", otp=code_in(started))
    assert answer["status"] == "error"


def test_store_holds_hashes_and_neither_code_nor_address_nor_id(
    demo: Demo, started: Page, address: str
) -> None:
    store = started.part("store")
    gen = demo.call("GET", f"/{started.data('id')}")["data"]["gen"]

    assert f"gen {gen}" in store
    assert "blob sealed," in store
    assert "attempts 0 of 5" in store
    for secret in (code_in(started), address, started.data("id")):
        assert f"{secret} not there" in store


def test_forgotten_verification_is_gone_from_the_store(demo: Demo, started: Page) -> None:
    done = demo.fill(started, "/done", receipt=receipt_of(demo, started))
    page = demo.fill(done, "/forget")
    page = demo.until(page, lambda page: "gone" in page.part("store"))

    assert "state verified" in done.part("store")
    assert "The store holds nothing of it any more." in page.part("story")
    assert "you have an account" in page.words


def test_calls_are_shown_without_the_secret(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/done", receipt=receipt_of(demo, started))

    calls = page.part("calls")
    assert f"PUT /api/otp/{started.data('id')} 200" in calls
    assert f"POST /api/otp/{started.data('id')}/status 200" in calls
    assert "gen=" in calls
    assert demo.secret not in page.html


def test_page_tells_its_version_and_changes_it(demo: Demo, started: Page) -> None:
    before = demo.api(started.data("look"))["version"]

    demo.fill(started, "/guess")

    assert before == started.data("version")
    assert demo.api(started.data("look"))["version"] != before


def test_first_page_hears_of_messages_that_curl_asked_for(demo: Demo, address: str) -> None:
    before = demo.get("/demo")

    demo.call("PUT", f"/curl-{secrets.token_hex(4)}", provider="mail", to=address)
    demo.code_for(address)

    assert demo.api(before.data("look"))["version"] != before.data("version")
    assert address in demo.get("/demo").part("inbox")


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
)
def test_forms_of_other_sites_are_refused(demo: Demo, address: str, headers: dict[str, str]) -> None:
    path, token = demo.get("/demo").form("/sign-up")

    page = demo.send(path, {"to": address, "token": token}, **headers)

    assert page.status == 403
    assert not [mail for mail in demo.api("/demo/inbox") if mail["to"] == address]


@pytest.mark.parametrize("token", ["", "guess", "ä"])
def test_forms_without_their_token_are_refused(demo: Demo, started: Page, token: str) -> None:
    for form in FORMS:
        path, _ = started.form(form)
        page = demo.send(path, {"switch": "mail", "mood": "down", "token": token})
        assert page.status == 403

    assert "state open" in demo.get(started.path).part("store")
    assert "Every mail is taken at once" in demo.get("/demo").words


def test_get_changes_nothing(demo: Demo, started: Page) -> None:
    for form in FORMS:
        path, token = started.form(form)
        assert demo.get(f"{path}?token={token}&switch=mail&mood=down").status == 405

    assert "state open" in demo.get(started.path).part("store")
    assert "Every mail is taken at once" in demo.get("/demo").words


@pytest.mark.parametrize(("switch", "mood"), [("mail", "error"), ("pigeon", "works"), ("", "")])
def test_switch_that_does_not_exist_is_refused(demo: Demo, switch: str, mood: str) -> None:
    assert demo.turn(switch, mood).status == 400


async def test_search_finds_what_stands_in_a_key_or_a_value(tmp_path: Path) -> None:
    """Else "not there" would say nothing."""
    keyring = create(tmp_path / "keyring.toml").keyring()
    with EmbeddedStore(tmp_path) as store:
        batcher = Batcher(Connector(store.url))
        shelf = Shelf(store.url, keyring, tenant="demo")
        await batcher.call("SET", "plain", "code 123456.")
        await batcher.call("HSET", "ann@example.com", "field", "654321")
        await batcher.call("ZADD", "due", "1", "of ben@example.com")
        view = await shelf.view(secrets=("123456", "ann@example.com", "654321", "ben@example.com", "absent"))
        await shelf.close()
        await batcher.close()

    assert list(view.hits.values()) == [1, 1, 1, 1, 0]


async def test_provider_takes_signed_messages_alone() -> None:
    body = '{"type":"otp.send","data":{"id":"1","to":"+12125550100","text":"123456"}}'
    headers = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    handset = Handset()
    async with Provider("whsec_" + "A" * 32, handset) as provider, ClientSession() as session:
        for own in ({}, headers):
            async with session.post(provider.url, data=body, headers=own) as answer:
                assert answer.status == 401

    assert handset.texts() == []
