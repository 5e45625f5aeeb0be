"""The config of modems: files beside the config, secrets, tenants that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from otpsvc.channels.gsm_config import GsmConfig
from otpsvc.errors import ConfigError
from otpsvc.loading import Source

HEAD = """
[tenants.shop]
secret_hash = "otpsvc1$x"
[channels.sms]
type = "gsm"
{shared}
[channels.sms.modems.office]
device = "/dev/ttyUSB0"
{own}
"""


def source(folder: Path, *, shared: str = "", own: str = "") -> Source:
    path = folder / "config.toml"
    path.write_text(HEAD.format(shared=shared, own=own))
    return Source(path=path)


def test_a_pin_file_stands_beside_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "office.pin").write_text("4711\n")
    monkeypatch.chdir("/")
    config = source(tmp_path, own='pin_file = "office.pin"').config({})
    sms = config.channels["sms"]
    assert isinstance(sms, GsmConfig)

    assert sms.modems["office"].pin_file == str(tmp_path / "office.pin")
    assert [modem.pin for modem in sms.modem_settings()] == ["4711"]


def test_a_pin_file_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    [wrong] = source(tmp_path, own='pin_file = "office.pin"').problems({})

    assert (wrong.key, wrong.expected) == ("channels.sms.modems.office.pin_file", "an existing file")


def test_a_pin_in_the_file_is_warned_of_and_not_shown(tmp_path: Path) -> None:
    warnings = source(tmp_path, own='pin = "4711"').config({}).warnings

    assert any("channels.sms.modems.office.pin: stands in the file in clear text" in one for one in warnings)
    assert "4711" not in str(warnings)


def test_a_pin_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "office.pin").write_text("4711")
    (tmp_path / "office.pin").chmod(0o644)
    warnings = source(tmp_path, own='pin_file = "office.pin"').config({}).warnings

    assert any("channels.sms.modems.office.pin_file: others" in one for one in warnings)


@pytest.mark.parametrize(
    ("shared", "own", "key"),
    [
        ('inbox = "shpo"', "", "channels.sms.inbox"),
        ("", 'inbox = "shpo"', "channels.sms.modems.office.inbox"),
        ("", 'tenants = ["shop", "shpo"]', "channels.sms.modems.office.tenants"),
    ],
)
def test_tenants_that_are_not_there(tmp_path: Path, shared: str, own: str, key: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        source(tmp_path, shared=shared, own=own).config({})

    assert (wrong.value.key, wrong.value.expected, wrong.value.got) == (key, "a tenant (shop)", '"shpo"')


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ('pin = "12a4"', "channels.sms.modems.office.pin"),
        ('prefixes = ["abc"]', "channels.sms.modems.office.prefixes"),
        ('smsc = "12"', "channels.sms.modems.office.smsc"),
        ('init = ["AT\\r\\nATD112;"]', "channels.sms.modems.office.init"),
        ('quota = ["many/day"]', "channels.sms.modems.office.quota"),
        ("baud = 1", "channels.sms.modems.office.baud"),
        ("colour = 1", "channels.sms.modems.office.colour"),
    ],
)
def test_values_that_are_refused(tmp_path: Path, own: str, key: str) -> None:
    wrong = source(tmp_path, own=own).problems({})

    assert [one.key for one in wrong] == [key]
    assert "12a4" not in str(wrong)
