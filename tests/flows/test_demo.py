"""The demo as a person meets it: its process, the lines it prints, its pages without script."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.demo_visit import Demo, Page, command, running
from tests.flows.serving_rig import is_alive
from tests.waiting import PATIENCE


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
    """Of this test alone, so that no guard of another counts."""
    return f"ann{secrets.token_hex(4)}@example.com"


@pytest.fixture
def started(demo: Demo, address: str) -> Page:
    """The page of a sign-up whose mail has arrived."""
    page = demo.fill(demo.get("/demo"), "/sign-up", to=address)
    return demo.until(page, lambda page: "/demo/mail/" in page.html)


def code_in(page: Page) -> str:
    """What a person reads in the mail."""
    found = re.search(r"([0-9]{6}) is your", page.words)
    assert found, page.words
    return found[1]


def receipt_of(demo: Demo, page: Page) -> str:
    """What the widget hands over after the right code."""
    answer = demo.call("POST", f"/{page.data('id')}", otp=code_in(page))
    return str(answer["data"]["receipt"])


def test_receipt_signs_up(demo: Demo, started: Page, address: str) -> None:
    done = demo.fill(started, "/done", receipt=receipt_of(demo, started))

    assert f"{address} is yours: you have an account." in done.words
    assert "The shop asked otpsvc and heard yes." in done.part("story")
    assert address in demo.get("/demo").part("shop")


def test_sign_in_by_phone_needs_the_receipt(demo: Demo) -> None:
    page = demo.fill(demo.get("/demo"), "/sign-in", to=f"+1 212 555 01{secrets.randbelow(100):02d}")
    page = demo.until(page, lambda page: 'class="text"' in page.html)
    receipt = receipt_of(demo, page)

    without = demo.fill(page, "/done")
    signed = demo.fill(without, "/done", receipt=receipt)

    assert "otpsvc says: not verified." in without.part("note")
    assert "not signed in" in without.words
    assert "you are signed in" in signed.words


def test_shop_without_address_hands_on_a_page_that_asks_for_it(demo: Demo) -> None:
    page = demo.fill(demo.get("/demo"), "/sign-up", ask="otpsvc")

    assert page.data("url").startswith(f"http://127.0.0.1:{demo.port}/otp/demo/{page.data('id')}?t=")
    assert "The shop gave no address" in page.part("story")
    assert "destination none yet" in page.part("store")
    assert "Say your address" in page.words


def test_nobody_is_signed_up_before_the_service_says_so(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/done", receipt="made-up")

    assert "otpsvc says: not verified yet." in page.part("note")
    assert "not signed in" in page.words


def test_shop_works_without_script(demo: Demo, started: Page) -> None:
    """By the link to the page of otpsvc, and a button that asks whether it is verified."""
    page = demo.get(demo.path_of(started.data("url")))

    fields = {**page.hidden, "action": "check", "otp": code_in(started)}
    typed = demo.post(page.path.partition("?")[0], fields)
    loaded_anew = demo.get(started.path)

    assert "Verified" in typed.words
    assert "the shop has not asked yet" in loaded_anew.part("story")
    assert "you have an account" in demo.fill(loaded_anew, "/done").words


def test_page_of_the_code_may_be_framed_by_the_shop_alone(demo: Demo, started: Page) -> None:
    policy = demo.get(demo.path_of(started.data("url"))).headers["content-security-policy"]

    assert f"frame-ancestors http://127.0.0.1:{demo.port} http://localhost:{demo.port}" in policy


def test_widget_comes_from_the_service(demo: Demo, started: Page) -> None:
    source = re.search(r'<script id="otpgateway-script" src="([^"]+)"', started.html)
    assert source

    assert "OTPGateway" in demo.get(demo.path_of(source[1])).html


def test_another_browser_cannot_finish_what_this_one_began(demo: Demo, started: Page) -> None:
    receipt = receipt_of(demo, started)
    mallory = demo.another()
    mallory.fill(mallory.get("/demo"), "/sign-up", ask="otpsvc")

    page = mallory.fill(mallory.get(started.path), "/done", receipt=receipt)

    assert page.status == 403
    assert "Begun in another browser" in page.words
    assert "not signed in" in mallory.get("/demo").words
    assert "you have an account" in demo.fill(started, "/done", receipt=receipt).words


def test_signing_up_changes_the_cookie_and_signing_out_ends_it(demo: Demo, started: Page) -> None:
    before = demo.cookie
    demo.fill(started, "/done", receipt=receipt_of(demo, started))
    after = demo.cookie

    demo.fill(demo.get("/demo"), "/sign-out")

    assert before.startswith("demo_shop=")
    assert after.startswith("demo_shop=")
    assert before != after
    for old in (before, after):
        assert "not signed in" in demo.get("/demo", Cookie=old).words


def test_cookie_is_for_the_shop_alone(demo: Demo, address: str) -> None:
    path, token = demo.get("/demo").form("/sign-up")
    cookie = demo.post(path, {"to": address, "token": token}).headers["set-cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/demo" in cookie


def test_printed_lines_work_word_for_word(demo: Demo, need: Callable[[str], str]) -> None:
    need("curl")

    created, checked = (
        json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout)
        for line in demo.curls
    )

    assert created["data"]["state"] == "pending"
    assert checked["data"]["state"] == "verified"
    assert checked["data"]["receipt"]


def test_code_of_a_text_message_is_found_by_id(demo: Demo) -> None:
    id, number = f"text-{secrets.token_hex(4)}", f"+1415555010{secrets.randbelow(10)}"
    demo.call("PUT", f"/{id}", provider="sms", to=number)

    code = demo.get(f"/demo/code/{id}").html.strip()

    assert demo.call("POST", f"/{id}", otp=code)["data"]["state"] == "verified"
    text = next(one for one in demo.api("/demo/inbox") if one["kind"] == "text" and one["challenge"] == id)
    assert text["to"] == number
    assert "webhook-signature" in text["raw"]


def test_says_where_the_page_is_and_how_it_ends(demo: Demo) -> None:
    assert f"http://127.0.0.1:{demo.port}/demo\n" in demo.said
    assert "Ctrl-C stops everything" in demo.said
    assert len(demo.said.splitlines()) < 15


@pytest.mark.parametrize("bad", ["", "ann", "ann@", "<b>ann</b>@example.com"])
def test_bad_address_is_explained_and_kept_in_the_form(demo: Demo, bad: str) -> None:
    page = demo.fill(demo.get("/demo"), "/sign-up", to=bad)

    assert page.status == 400
    assert 'aria-invalid="true"' in page.html
    assert "<b>ann" not in page.html


def test_mail_is_shown_in_a_frame_that_runs_nothing(demo: Demo, started: Page) -> None:
    frame = re.search(r'<iframe src="([^"]+)"[^>]* sandbox="([^"]*)"', started.html)
    assert frame

    mail = demo.get(frame[1])
    policy = mail.headers["content-security-policy"]

    assert code_in(started) in mail.html
    assert '<base target="_blank">' in mail.html
    for rights in (frame[2], policy.partition("sandbox ")[2]):
        assert rights == "allow-popups allow-popups-to-escape-sandbox"
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


def test_inbox_holds_the_mail_as_json(demo: Demo, started: Page, address: str) -> None:
    mail = next(mail for mail in demo.api("/demo/inbox") if mail["to"] == address)

    assert mail["kind"] == "mail"
    assert code_in(started) in mail["text"]
    assert "Message-ID:" in mail["raw"]


@pytest.mark.parametrize("path", ["/demo", "/demo/inbox", "/demo/static/demo.css", "/demo/v/nothere"])
def test_answers_carry_the_headers_that_keep_others_out(demo: Demo, path: str) -> None:
    page = demo.get(path)

    policy = page.headers["content-security-policy"]
    root = f"http://127.0.0.1:{demo.port}"
    assert "default-src 'none'" in policy
    assert f"script-src 'self' {root};" in policy
    assert f"frame-src 'self' {root};" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"


def test_pages_hold_no_inline_code_and_nothing_foreign(demo: Demo, started: Page) -> None:
    for page in (demo.get("/demo"), started, demo.get("/demo/v/nothere")):
        # Messages and the API's answers are shown as text, and may name anything.
        html = re.sub(r"<pre.*?</pre>", "", page.html, flags=re.DOTALL)
        html = html.replace(f"http://127.0.0.1:{demo.port}/", "/")

        assert not re.search(r"<script(?! [^>]*src=\"/)|<style|\sstyle=|\son[a-z]+=|https?://", html)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", ""])
@pytest.mark.parametrize("path", ["/demo", "/api/health", "/"])
def test_foreign_host_is_refused_everywhere(demo: Demo, host: str, path: str) -> None:
    assert demo.get(path, Host=host).status == 403


def test_both_names_of_this_machine_are_let_in(demo: Demo) -> None:
    assert demo.get("/demo", Host=f"localhost:{demo.port}").status == 200
    assert demo.get("/api/health", Host="127.0.0.1").status == 200


def test_unknown_verification_is_a_clear_page(demo: Demo) -> None:
    page = demo.get("/demo/v/nobody-knows-it")

    assert page.status == 404
    assert "There is nothing here" in page.words


def test_listens_on_loopback_alone(demo: Demo) -> None:
    places = demo.listening()

    assert f"0100007F:{demo.port:04X}" in places
    assert all(place.startswith("0100007F:") for place in places)


def test_taken_port_is_one_line_that_names_the_setting(demo: Demo, tmp_path: Path) -> None:
    second = command(tmp_path, demo.port)
    said, complaint = second.communicate(timeout=PATIENCE)

    assert second.returncode == 1
    assert said == ""
    assert re.fullmatch(rf".*port {demo.port} is taken.*make run PORT=[0-9]+.*\n", complaint)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_everything_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as demo:
        children = demo.children()
        (port,) = tmp_path.glob("tmp/gsm-*/modem")
        folder = port.parent.stat().st_mode & 0o777
        demo.process.send_signal(number)
        _, complaint = demo.process.communicate(timeout=PATIENCE)

    assert children
    assert folder == 0o700
    # The number of a pseudoterminal is at once another's: that the processes ended, ends it.
    assert list(tmp_path.glob("tmp/*")) == []
    assert not [pid for pid in children if is_alive(pid)]
    assert demo.process.returncode in (0, 130)
    assert complaint == ""


def test_secret_is_new_and_in_no_file_nor_is_a_code(demo: Demo, tmp_path: Path) -> None:
    with running(tmp_path) as own:
        page = own.fill(own.get("/demo"), "/sign-up", to="ann@example.com")
        page = own.until(page, lambda page: "/demo/mail/" in page.html)
        planted = [code_in(page), "ann@example.com", page.data("id"), own.secret]

    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert kept
    assert own.secret != demo.secret
    # Not as a part of a longer number, such as a time.
    assert not [one for one in planted if re.search(rb"(?<!\d)" + one.encode() + rb"(?!\d)", kept)]
