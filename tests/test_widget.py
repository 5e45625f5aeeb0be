"""js/: what browsers are given is small, old enough in its syntax, asks nobody else; its own tests pass."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

JS = Path(__file__).parent.parent / "js"
WIDGET = JS / "otp.js"
TESTS = sorted((JS / "test").glob("*.test.mjs"))

# Texts and comments go: what is newer than 2019 is looked for in the code alone.
_STRING = r'"(?:[^"\\\n]|\\.)*"' + r"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`"
_REGEX = r"(?<=[(,=!&|:?])\s*/(?![*/])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/"
_ASIDE = re.compile(rf"(?P<string>{_STRING})|//[^\n]*|/\*.*?\*/|{_REGEX}", re.DOTALL)
_NEWER = {
    "optional chaining": r"\?\.(?!\d)",
    "nullish": r"\?\?",
    "logical assignment": r"(\|\||&&|\?\?)=",
    "private names": r"#[a-z]",
    "class fields": r"\bstatic\b",
    "big integers": r"\b\d+n\b",
    "numeric separators": r"\d_\d",
    "globalThis": r"\bglobalThis\b",
    "import": r"\bimport\b",
    "export": r"\bexport\b",
    "await": r"\bawait\b",
}


def code_of(source: str) -> str:
    return _ASIDE.sub(lambda found: '""' if found["string"] else " ", source)


def run(node: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [node, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_its_own_tests_pass(need: Callable[[str], str]) -> None:
    """Named one by one: what `--test` makes of a folder differs between versions of node."""
    done = run(need("node"), "--test", "--test-reporter=tap", *TESTS)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^# (?:skipped|todo|cancelled) [1-9]", done.stdout, re.MULTILINE) == []


def test_there_are_tests() -> None:
    names = {file.name.partition(".")[0] for file in TESTS}

    assert {"opening", "messages", "leaving", "module"} <= names


def test_it_is_small() -> None:
    assert len(gzip.compress(WIDGET.read_bytes(), mtime=0)) < 6000


def test_it_is_a_classic_script(need: Callable[[str], str]) -> None:
    program = "new (require('vm').Script)(require('fs').readFileSync(process.argv[1], 'utf8'))"

    done = run(need("node"), "-e", program, WIDGET)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("newer", _NEWER)
def test_old_phones_can_read_it(newer: str) -> None:
    assert re.findall(f".*{_NEWER[newer]}.*", code_of(WIDGET.read_text())) == []


def test_something_newer_would_be_seen() -> None:
    code = code_of('a?.b; c ?? "?."; d ||= 1; // ?.\nx = y.match(/a??/) /* ?? */;')

    assert len(re.findall(_NEWER["optional chaining"], code)) == 1
    assert len(re.findall(_NEWER["nullish"], code)) == 1
    assert len(re.findall(_NEWER["logical assignment"], code)) == 1


@pytest.mark.parametrize("name", ["otp.js", "otp.mjs", "otp.d.ts"])
def test_it_names_no_other_host(name: str) -> None:
    """Addresses in it are examples, of the one host that a reader replaces by their own."""
    hosts = set(re.findall(r"""(?:https?:|wss?:)?//([a-z0-9-]+(?:\.[a-z0-9-]+)+)""", (JS / name).read_text()))

    assert hosts <= {"otp.example"}


def test_it_fetches_and_keeps_nothing() -> None:
    asks = r"\b(fetch|XMLHttpRequest|sendBeacon|EventSource|WebSocket|\w+Storage|indexedDB|cookie|eval)\b"

    assert re.findall(asks, code_of(WIDGET.read_text())) == []
    assert re.findall(r"@import|url\(", WIDGET.read_text()) == []


def test_the_module_holds_no_second_copy() -> None:
    module = (JS / "otp.mjs").read_text()

    assert re.findall(r'^import .*"(.*)";$', module, re.MULTILINE) == ["./otp.js"]
    assert len(module.splitlines()) < 10


def test_the_types_name_every_option() -> None:
    types = (JS / "otp.d.ts").read_text()
    said = re.findall(r"^//   OTPGateway\(\{(.*)\}\)$", WIDGET.read_text(), re.MULTILINE)

    options = types.partition("interface OTPGatewayOptions {")[2].partition("\n}")[0]
    assert [said[0].split(", ")] == [re.findall(r"^  (\w+)\??:", options, re.MULTILINE)]
