"""The commands, as a person types them; `serve` and `demo` have tests of their own in flows/."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from otpsvc import __version__, keyring_file
from otpsvc.cli import main
from otpsvc.cli.commands import Commands
from otpsvc.credential import matches
from otpsvc.tenant import Secret
from tests.logging_rig import as_before

CONFIG = """
[app]
data_dir = "data"
[tenants.shop]
secret_hash = "otpsvc1$x"
[channels.log]
type = "file"
path = "codes.jsonl"
allow_plaintext = true
[channels.mail]
type = "smtp"
host = "127.0.0.1"
port = 1
tls = "none"
sender = "otp@shop.example"
"""


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    with as_before():
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a good config in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def run(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, words, input=given)


def fails(*words: str, given: str | None = None) -> str:
    """What is said on standard error: short, and no traceback."""
    result = run(*words, given=given)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.mark.parametrize(
    "words", [[], ["serve"], ["check"], ["secret"], ["keys"], ["keys", "add"], ["send"], ["demo"]]
)
def test_each_command_explains_itself(words: list[str]) -> None:
    result = run(*words, "--help")

    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_version() -> None:
    assert run("--version").output == f"otpsvc {__version__}\n"


def test_help_needs_no_heavy_package() -> None:
    heavy = "('litestar', 'redis', 'aiohttp', 'structlog')"
    code = f"import sys; import otpsvc.__main__; print([m for m in {heavy} if m in sys.modules])"

    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert said.stdout == "[]\n"


# check


def test_a_good_config(place: Path) -> None:
    result = run("check")

    assert result.exit_code == 0
    assert "config is good" in result.stdout
    assert "tenants: shop; channels: log, mail; the embedded store" in result.stdout
    assert "warning: channels.log: codes are written to a file" in result.stdout
    assert not (place / "data").exists()


def test_the_lines_for_those_who_come_from_otpgateway(place: Path) -> None:
    assert len([line for line in run("check").stdout.splitlines() if line.startswith("hint:")]) == 2

    more = '[tenants.shop]\nopen_view = true\norigins = ["https://shop.example"]\n'
    (place / "config.toml").write_text(CONFIG.replace("[tenants.shop]\n", more))

    assert "hint:" not in run("check").stdout


def test_the_line_for_those_who_come_from_otp_pi(place: Path) -> None:
    feeder = '[feeders.rabbit]\ntype = "rabbitmq"\ntenant = "shop"\nurl = "amqp://127.0.0.1"\n'
    (place / "config.toml").write_text(CONFIG + feeder)
    said = run("check").stdout
    (place / "config.toml").write_text(CONFIG + feeder + 'replies = ["answers"]\n')

    assert "hint: answers of the feeders rabbit go only where the broker itself leads them" in said
    assert "feeders: rabbit;" in said
    assert "hint: answers" not in run("check").stdout


def test_every_problem_is_named(place: Path) -> None:
    (place / "config.toml").write_text(
        CONFIG.replace("port = 1\n", "port = 0\n").replace("data_dir", "data_die")
        + 'passwort = "hunter2hunter2"\n'
    )

    said = fails("check")

    assert "channels.mail.port" in said
    assert 'app.data_die: expected a known key (did you mean "data_dir"?)' in said
    assert "channels.mail.passwort" in said
    assert "hunter2" not in said
    assert f"3 problems in {place / 'config.toml'}" in said


def test_problems_between_channels_and_routes(place: Path) -> None:
    phone = '[channels.hook]\ntype = "webhook"\nurl = "http://127.0.0.1/"\naddress = "phone"\n'
    routes = '[routes]\nboth = ["hook", "mail"]\ncallback = ["mail"]\n'
    (place / "config.toml").write_text(CONFIG + phone + routes)

    said = fails("check")

    assert "routes.both: expected channels that take the same kind of address, got email and phone" in said
    assert "routes.callback: expected another name" in said


def test_a_channel_that_would_not_start(place: Path) -> None:
    (place / "config.toml").write_text(CONFIG.replace("allow_plaintext = true", ""))

    assert "channels.log.allow_plaintext: expected true" in fails("check")


def test_a_missing_file() -> None:
    assert "/nowhere/config.toml: expected a readable file" in fails(
        "check", "--config", "/nowhere/config.toml"
    )


def test_no_file_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "tenants" in fails("check")

    monkeypatch.setenv("OTPSVC_TENANTS__SHOP__SECRET", "a long secret")
    assert run("check").exit_code == 0


def test_a_damaged_keyring_is_a_problem(place: Path) -> None:
    run("keys", "create")
    (place / "data" / "keyring.toml").chmod(0o644)

    assert "chmod 600" in fails("check")


def test_an_external_store_wants_a_keyring(place: Path) -> None:
    (place / "config.toml").write_text(CONFIG + '[redis]\nurl = "redis://127.0.0.1:1/"\n')

    assert "otpsvc keys create" in fails("check")


# secret


def test_a_new_secret_and_its_hash() -> None:
    said = run("secret").stdout

    token = re.search(r"^    ([\w-]{43})$", said, re.MULTILINE)
    kept = re.search(r'secret_hash = "(otpsvc1\$\S+)"', said)
    assert token
    assert kept
    assert matches(Secret(kept[1]), token[1])


def test_a_chosen_secret() -> None:
    result = run("secret", "--chosen", given="correct horse\n")

    kept = re.search(r'secret_hash = "(\$argon2id\$\S+)"', result.stdout)
    assert kept
    assert matches(Secret(kept[1]), "correct horse")
    assert "correct horse" not in result.output


def test_a_chosen_secret_that_is_too_short() -> None:
    assert "at least 8 characters, got 5" in fails("secret", "--chosen", given="short\n")


def test_a_webhook_secret_is_one_that_a_config_takes(place: Path) -> None:
    line = run("secret", "--webhook").stdout
    (place / "config.toml").write_text(
        CONFIG + f'[channels.hook]\ntype = "webhook"\nurl = "http://127.0.0.1/"\n{line}'
    )

    assert run("check").exit_code == 0


# keys


def test_a_rotation(place: Path) -> None:
    path = place / "data" / "keyring.toml"
    assert "made, with the key" in run("keys", "create").stdout
    [old] = keyring_file.read(path).keys

    added = re.search(r"the key (\w{8}) was added", run("keys", "add").stdout)
    assert added
    assert "is the active one now" in run("keys", "activate", added[1]).stdout
    assert "its secret is destroyed" in run("keys", "retire", old.id).stdout

    shown = run("keys", "show").stdout
    assert re.fullmatch(rf"{old.id}  retired +\S+\n{added[1]}  active +\S+\n", shown)
    assert not any(key.secret and key.secret in shown for key in keyring_file.read(path).keys)


def test_what_keys_refuses(place: Path) -> None:
    assert "otpsvc keys create" in fails("keys", "show")
    run("keys", "create")
    assert "already" in fails("keys", "create")
    active = run("keys", "show").stdout.split()[0]
    assert "activate another" in fails("keys", "retire", active)
    assert "there is no key 'zz'" in fails("keys", "activate", "zz")


# send


def test_a_test_message(place: Path) -> None:
    result = run("send", "log", "ann@shop.example")

    assert re.fullmatch(r"log: taken by the far end in \d+\.\d\d s\n", result.stdout)
    [line] = (place / "codes.jsonl").read_text().splitlines()
    assert json.loads(line)["to"] == "ann@shop.example"


@pytest.mark.parametrize(
    ("channel", "address", "says"),
    [
        ("mail", "ann@shop.example", "unavailable: "),
        ("mail", "no address", "Error: "),
        ("letter", "ann@shop.example", "there is no channel 'letter' in the config; there are: log, mail"),
    ],
)
def test_what_send_says_when_it_fails(place: Path, channel: str, address: str, says: str) -> None:
    said = fails("send", channel, address)

    assert says in said
    assert len(said.splitlines()) == 1
    assert "ann@" not in said


# Failing


def test_a_bug_is_told_in_one_line_without_its_words() -> None:
    @Commands(name="x").command("y")
    def bug() -> None:
        raise ValueError("code 482913")

    group = Commands(commands={"y": bug})
    said = CliRunner().invoke(group, ["y"])

    assert said.exit_code == 1
    assert re.fullmatch(r"Error: a bug in otpsvc: ValueError in test_cli\.py:\d+\n", said.stderr)


def test_a_folder_that_may_not_be_used(place: Path) -> None:
    (place / "data").write_text("a file")

    assert "Error: " in fails("keys", "create")


def test_serve_names_what_is_wrong_with_its_options(place: Path) -> None:
    assert "--listen: expected an address" in fails("serve", "--listen", "nonsense")
    assert run("serve", "--workers", "0").exit_code == 2
