"""The demo's modem: what the visitor chooses, what its network was handed, and what becomes of a fault."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator

import pytest

from tests.flows.demo_visit import Demo, Page, running
from tests.flows.test_demo import code_in, receipt_of

#: Those that nobody has. (NANP: 555-0100 to 555-0199)
_numbers = itertools.count(100)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as one:
        yield one


@pytest.fixture
def demo(process: Demo) -> Demo:
    """A browser without cookies."""
    return process.another()


@pytest.fixture
def number() -> str:
    """Of this test alone: its phone shows no message of another one."""
    return f"+1617555{next(_numbers):04d}"


@pytest.fixture
def broken(demo: Demo) -> Iterator[Demo]:
    """For tests that turn the switch: afterwards it works again."""
    yield demo
    demo.turn("modem", "works")


def by_modem(demo: Demo, number: str) -> Page:
    """The page of a sign-in whose code the modem is to send."""
    return demo.fill(demo.get("/demo"), "/sign-in", to=number, by="modem")


def test_sign_in_by_modem_brings_what_the_network_was_handed(demo: Demo, number: str) -> None:
    """Without script: a radio button, a form, a link."""
    page = demo.fill(demo.get("/demo"), "/sign-in", to=number, by="modem")
    page = demo.until(page, lambda page: 'class="text"' in page.html)

    phone = page.part("inbox")
    assert page.html.count('class="text"') == 1
    assert "by modem" in phone
    assert "As the network got it from +62811" in phone
    assert f"to {number} parts 1 alphabet GSM 7-bit" in phone
    assert "validity 5 minutes class none" in phone
    assert "report asked for" in phone
    assert "you are signed in" in demo.fill(page, "/done", receipt=receipt_of(demo, page)).words


def test_page_of_the_code_offers_the_other_way_to_the_phone(demo: Demo, number: str) -> None:
    for by, other in (("modem", "Text message (provider)"), ("sms", "Text message (modem)")):
        page = demo.fill(demo.get("/demo"), "/sign-in", to=number, by=by)
        assert other in demo.get(demo.path_of(page.data("url"))).words


def test_way_of_a_text_message_is_a_labelled_choice(demo: Demo) -> None:
    html = demo.get("/demo").html

    choices = re.search(r"<fieldset.*?<legend>Text message by</legend>(.*?)</fieldset>", html, re.DOTALL)
    assert choices
    labels = re.findall(r"<label><input type=\"radio\" name=\"by\" value=\"(\w+)\"( checked)?>", choices[1])
    assert labels == [("sms", " checked"), ("modem", "")]


def test_chosen_way_is_kept_beside_a_bad_number(demo: Demo) -> None:
    page = demo.fill(demo.get("/demo"), "/sign-in", to="12", by="modem")

    assert page.status == 400
    assert 'value="modem" checked' in page.html


@pytest.mark.parametrize("by", ["", "pigeon", "mail"])
def test_way_that_the_form_does_not_offer_is_refused(demo: Demo, by: str) -> None:
    """A sign-in by mail would be one that the shop did not mean."""
    page = demo.fill(demo.get("/demo"), "/sign-in", to="ann@example.com", by=by)

    assert page.status == 400
    assert "That was no form of ours" in page.words


def test_phone_of_a_sign_in_shows_its_own_messages_alone(demo: Demo) -> None:
    """A network names no verification: what counts is the number, and that it came later."""
    numbers = [f"+1206555{last:04d}" for last in secrets.SystemRandom().sample(range(100, 200), 2)]
    pages = []
    for number in (*numbers, numbers[0]):
        page = demo.fill(demo.get("/demo"), "/sign-in", to=number, by="modem")
        pages.append(demo.until(page, lambda page: 'class="text"' in page.html))

    assert [page.html.count('class="text"') for page in pages] == [1, 1, 1]
    assert len({code_in(page) for page in pages}) == 3
    assert demo.get(pages[1].path).html.count('class="text"') == 1


def test_code_that_the_modem_sent_is_found_by_id(demo: Demo, number: str) -> None:
    id = f"modem-{secrets.token_hex(4)}"
    demo.call("PUT", f"/{id}", provider="modem", to=number)

    code = demo.get(f"/demo/code/{id}").html.strip()

    assert demo.call("POST", f"/{id}", otp=code)["data"]["state"] == "verified"
    text = next(one for one in demo.api("/demo/inbox") if one["to"] == number)
    assert (text["kind"], text["by"], text["code"]) == ("text", "modem", code)


def test_report_of_the_network_makes_it_delivered(demo: Demo, number: str) -> None:
    page = by_modem(demo, number)
    page = demo.until(page, lambda page: "The network reports that it arrived" in page.part("story"))

    assert "message delivered" in page.part("store")
    assert f"{number} not there" in page.part("store")


def test_message_waits_for_an_unplugged_modem(broken: Demo, number: str) -> None:
    said = broken.turn("modem", "unplugged").part("trouble")
    page = by_modem(broken, number)
    page = broken.until(page, lambda page: "ended with “no modem is ready”" in page.part("story"))
    before = page.part("inbox")
    broken.turn("modem", "works")
    page = broken.until(page, lambda page: 'class="text"' in page.html)

    assert "Its port is gone, so the message waits" in said
    assert "Modem: Unplugged" in before
    assert "on its way" in before
    assert page.html.count('class="text"') == 1


def test_report_proves_a_text_whose_answer_was_lost(broken: Demo, number: str) -> None:
    broken.turn("modem", "lost")
    page = by_modem(broken, number)
    page = broken.until(page, lambda page: 'class="text"' in page.html)
    before = page.part("story")
    page = broken.until(page, lambda page: "The network reports that it arrived" in page.part("story"))

    # The report may be quicker than a look at the page.
    assert "the modem has not answered yet" in before or "The network reports that it arrived" in before
    assert "Perhaps" not in page.part("story")
    assert page.html.count('class="text"') == 1


def test_silent_modem_leaves_a_doubt(broken: Demo, number: str) -> None:
    broken.turn("modem", "silent")
    page = by_modem(broken, number)
    page = broken.until(page, lambda page: "Perhaps" in page.part("story"))

    assert "no answer after the text, twice. Nobody knows" in page.part("story")
    assert 'class="text"' not in page.html
    assert "message sent" in page.part("store")


def test_number_that_the_network_refuses_ends_the_message(broken: Demo, number: str) -> None:
    broken.turn("modem", "refuses")
    page = by_modem(broken, number)
    page = broken.until(page, lambda page: "Failed: AT+CMGS: +CMS ERROR 1." in page.part("story"))

    assert "The message could not be delivered (AT+CMGS: +CMS ERROR 1)" in page.words
