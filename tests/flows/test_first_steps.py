"""What README and first steps tell people to do, done."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest

from otpsvc.loading import Source
from tests.far_ends.valkey import free_port
from tests.flows.demo_visit import Demo, running
from tests.waiting import PATIENCE

_ROOT = Path(__file__).parents[2]
_STEPS = (_ROOT / "docs/first-steps.md").read_text("utf-8")
_README = (_ROOT / "README.md").read_text("utf-8")


def blocks(text: str, kind: str) -> list[str]:
    """All blocks of one kind, in their order."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo")) as one:
        yield one


@pytest.fixture(scope="module")
def surroundings(demo: Demo) -> dict[str, str]:
    """The environment of a terminal in which section 1 was followed."""
    return {**os.environ, "OTP": f"http://127.0.0.1:{demo.port}", "LOGIN": f"demo:{demo.secret}"}


def test_walk_by_curl_answers_what_the_page_says(
    surroundings: dict[str, str], need: Callable[[str], str]
) -> None:
    need("curl")
    script = "\n".join(line for block in blocks(_STEPS, "sh") for line in block.splitlines())
    said = subprocess.run(
        ["sh", "-euc", script.replace("curl -sS", "curl -sS -w '\\n'")],
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    )

    answers = [json.loads(line) for line in said.stdout.splitlines()]
    assert said.stderr == ""
    assert [answer.get("code") or answer["data"]["state"] for answer in answers] == [
        "pending",
        "pending",
        "wrong_code",
        "verified",
        "closed",
        "verified",
        "pending",
        "verified",
        "pending",
        "resend_too_soon",
        "cancelled",
        "pending",
    ]


def test_shop_of_the_first_steps_verifies_an_address(
    demo: Demo, surroundings: dict[str, str], tmp_path: Path
) -> None:
    with shop(surroundings, tmp_path) as visit:
        sent = visit(to="eve@example.com")
        code = demo.code_for("eve@example.com")
        wrong = visit(otp="ABCDEF")
        right = visit(otp=code)
        again = visit(otp=code)

    assert "A code is on its way" in sent
    assert "Incorrect OTP" in wrong
    assert "The address is yours: eve@example.com" in right
    assert "E-mail:" in again


@contextmanager
def shop(surroundings: dict[str, str], folder: Path) -> Iterator[Callable[..., str]]:
    """Runs `shop.py`; gives a visitor's browser, which posts fields and reads the page."""
    (file,) = blocks(_STEPS, "python")
    (folder / "shop.py").write_text(file, "utf-8")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "shop.py"],
        cwd=folder,
        env={**surroundings, "PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    url = f"http://127.0.0.1:{port}/"

    def visit(**fields: str) -> str:
        with browser.open(url, urlencode(fields).encode()) as page:
            return str(page.read().decode())

    try:
        wait_for(browser, url)
        yield visit
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_for(browser: OpenerDirector, url: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            browser.open(url).close()
        except URLError:
            assert time.monotonic() < end, "the shop did not start"
            time.sleep(0.05)
        else:
            return


def test_config_of_the_readme_is_good(tmp_path: Path) -> None:
    (text,) = blocks(_README, "toml")
    (tmp_path / "config.toml").write_text(text, "utf-8")
    (tmp_path / "smtp-password").write_text("hunter2hunter2", "utf-8")
    (tmp_path / "smtp-password").chmod(0o600)

    assert [str(one) for one in Source(path=tmp_path / "config.toml").problems({})] == []


def test_channel_of_the_first_steps_is_good(tmp_path: Path) -> None:
    (text,) = blocks(_STEPS, "toml")
    (tmp_path / "config.toml").write_text(text, "utf-8")
    made = subprocess.run(
        [sys.executable, "-m", "otpsvc", "secret", "--webhook"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    secret = tmp_path / "sms-webhook-secret"
    secret.touch(0o600)
    secret.write_text(made.stdout.split('"')[1], "utf-8")

    assert [str(one) for one in Source(path=tmp_path / "config.toml").problems({})] == []


@pytest.mark.parametrize("page", ["README.md", "docs/first-steps.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (_ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    missing = [one for one in links if "://" not in one and not (_ROOT / page).parent.joinpath(one).exists()]
    assert missing == []
