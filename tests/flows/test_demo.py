"""The demo as a person meets it: its process, the lines it prints, its page without script."""

from __future__ import annotations

import json
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flows.demo_visit import Demo, Page, command, running


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as one:
        yield one


@pytest.fixture
def address() -> str:
    """Of this test alone, so that no guard of another counts."""
    return f"ann{secrets.token_hex(4)}@example.com"


@pytest.fixture
def started(demo: Demo, address: str) -> Page:
    """The page of a verification whose mail has arrived."""
    page = demo.fill(demo.get("/demo"), "/create", to=address)
    for _ in range(50):
        if "The mail, HTML part" in page.html:
            return page
        time.sleep(0.1)
        page = demo.get(page.path)
    raise AssertionError(page.words)


def code_in(page: Page) -> str:
    """What a person reads in the mail."""
    found = re.search(r"([0-9]{6}) is your", page.words)
    assert found, page.words
    return found[1]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_page_leads_from_an_address_to_a_checked_code(demo: Demo, started: Page, address: str) -> None:
    done = demo.fill(started, "/check", otp=code_in(started))

    assert f"The owner of {address} typed the right code" in done.words
    assert "State verified" in done.words


def test_printed_lines_work_word_for_word(demo: Demo, need: Callable[[str], str]) -> None:
    need("curl")

    created, checked = (
        json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout)
        for line in demo.curls
    )

    assert created["data"]["state"] == "pending"
    assert checked["data"]["state"] == "verified"
    assert checked["data"]["receipt"]


def test_says_where_the_page_is_and_how_it_ends(demo: Demo) -> None:
    assert f"http://127.0.0.1:{demo.port}/demo\n" in demo.said
    assert "Ctrl-C stops everything" in demo.said
    assert len(demo.said.splitlines()) < 15


def test_wrong_code_says_how_many_attempts_are_left(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/check", otp=wrong(code_in(started)))

    assert "That is not the code. 4 attempts are left." in page.words
    assert "Attempts left 4 of 5" in page.words


def test_five_wrong_codes_lock_and_the_right_one_is_refused(demo: Demo, started: Page) -> None:
    code = code_in(started)
    path, token = started.form("/check")
    for _ in range(5):
        page = demo.fill(started, "/check", otp=wrong(code))

    assert "State locked" in page.words
    assert "State locked" in demo.send(path, {"otp": code, "token": token}).words


def test_code_may_be_typed_with_blanks_and_dashes(demo: Demo, started: Page) -> None:
    code = code_in(started)

    assert "State verified" in demo.fill(started, "/check", otp=f" {code[:3]}-{code[3:]} ").words


def test_code_is_refused_when_it_was_used(demo: Demo, started: Page) -> None:
    code = code_in(started)
    path, token = started.form("/check")
    demo.fill(started, "/check", otp=code)

    again = demo.send(path, {"otp": code, "token": token})

    assert "This code was used already" in again.words


def test_resend_too_soon_names_the_wait(demo: Demo, started: Page) -> None:
    page = demo.fill(started, "/resend")

    assert re.search(r"Retry after [0-9]+ seconds", page.words)
    assert "Sent 1 of 4" in page.words


def test_cancelled_verification_takes_no_code(demo: Demo, started: Page) -> None:
    code = code_in(started)
    path, token = started.form("/check")

    assert "State cancelled" in demo.fill(started, "/cancel").words
    assert "State cancelled" in demo.send(path, {"otp": code, "token": token}).words


@pytest.mark.parametrize("bad", ["", "ann", "ann@", "<b>ann</b>@example.com"])
def test_bad_address_is_explained_and_kept_in_the_form(demo: Demo, bad: str) -> None:
    page = demo.fill(demo.get("/demo"), "/create", to=bad)

    assert page.status == 400
    assert 'aria-invalid="true"' in page.html
    assert "<b>ann" not in page.html


def test_page_tells_its_version_and_changes_it(demo: Demo, started: Page) -> None:
    found = re.search(r'data-version="([^"]+)"', started.html)
    look = re.search(r'data-look="([^"]+)"', started.html)
    assert found
    assert look
    before = demo.api(look[1])["version"]

    demo.fill(started, "/check", otp=wrong(code_in(started)))

    assert before == found[1]
    assert demo.api(look[1])["version"] != before


def test_mail_is_shown_in_a_frame_without_rights(demo: Demo, started: Page) -> None:
    frame = re.search(r'<iframe src="([^"]+)" sandbox ', started.html)
    assert frame

    mail = demo.get(frame[1])

    assert code_in(started) in mail.html
    assert "sandbox" in mail.headers["content-security-policy"]
    assert "script-src" not in mail.headers["content-security-policy"]
    assert "default-src 'none'" in mail.headers["content-security-policy"]


def test_inbox_holds_the_mail_as_json(demo: Demo, started: Page, address: str) -> None:
    mail = next(mail for mail in demo.api("/demo/inbox") if mail["to"] == address)

    assert code_in(started) in mail["text"]
    assert "Message-ID:" in mail["raw"]


@pytest.mark.parametrize("path", ["/demo", "/demo/inbox", "/demo/static/demo.css", "/demo/v/nothere"])
def test_answers_carry_the_headers_that_keep_others_out(demo: Demo, path: str) -> None:
    page = demo.get(path)

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-content-type-options"] == "nosniff"


def test_pages_hold_no_inline_code_and_nothing_foreign(demo: Demo, started: Page) -> None:
    for page in (demo.get("/demo"), started, demo.get("/demo/v/nothere")):
        # The mail's source and the API's answers are shown as text, and may name anything.
        html = re.sub(r"<pre.*?</pre>", "", page.html, flags=re.DOTALL)

        assert not re.search(r'<script(?! src="/demo)|<style|\sstyle=|\son[a-z]+=|https?://', html)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "localhost@evil.example", ""])
@pytest.mark.parametrize("path", ["/demo", "/api/health", "/"])
def test_foreign_host_is_refused_everywhere(demo: Demo, host: str, path: str) -> None:
    assert demo.get(path, Host=host).status == 403


def test_both_names_of_this_machine_are_let_in(demo: Demo) -> None:
    assert demo.get("/demo", Host=f"localhost:{demo.port}").status == 200
    assert demo.get("/api/health", Host="127.0.0.1").status == 200


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
    path, token = demo.get("/demo").form("/create")

    page = demo.send(path, {"to": address, "token": token}, **headers)

    assert page.status == 403
    assert not [mail for mail in demo.api("/demo/inbox") if mail["to"] == address]


@pytest.mark.parametrize("token", ["", "guess", "ä"])
def test_form_without_its_token_is_refused(demo: Demo, started: Page, token: str) -> None:
    path, _ = started.form("/check")

    page = demo.send(path, {"otp": code_in(started), "token": token})

    assert page.status == 403
    assert "State pending" in demo.get(started.path).words


def test_get_changes_nothing(demo: Demo, started: Page) -> None:
    path, _ = started.form("/check")

    assert demo.get(f"{path}?otp={code_in(started)}").status == 405
    assert "State pending" in demo.get(started.path).words


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
    said, complaint = second.communicate(timeout=20)

    assert second.returncode == 1
    assert said == ""
    assert re.fullmatch(rf".*port {demo.port} is taken.*make run PORT=[0-9]+.*\n", complaint)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_everything_it_started(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as demo:
        children = demo.children()
        demo.process.send_signal(number)
        _, complaint = demo.process.communicate(timeout=20)

    assert children
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert demo.process.returncode in (0, 130)
    assert complaint == ""


def test_secret_is_new_and_in_no_file_nor_is_a_code(demo: Demo, tmp_path: Path) -> None:
    with running(tmp_path) as own:
        page = own.fill(own.get("/demo"), "/create", to="ann@example.com")
        planted = [code_in(page), "ann@example.com", own.secret]

    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert kept
    assert own.secret != demo.secret
    assert not [one for one in planted if one.encode() in kept]
