"""Channels are found by their type: our own lazily, others through entry points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from otpsvc.channel import Channel
from otpsvc.channels import OWN, channel_type, channel_types, is_loopback
from otpsvc.errors import ConfigError
from tests.channels import ignore, message

PIGEON = """
from otpsvc.address import ANY
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.message import Message, Receipt


class PigeonConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loft: str


class Pigeon(Channel):
    Config = PigeonConfig
    address = ANY

    async def send(self, message: Message) -> Receipt:
        return Receipt(f"{self.config.loft}-{message.id}")


NOT_A_CHANNEL = 7
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that brings `pigeon`, and others that are broken in one way each."""
    (tmp_path / "otpsvc_pigeon.py").write_text(PIGEON)
    install(
        tmp_path,
        "otpsvc-pigeon",
        "pigeon = otpsvc_pigeon:Pigeon",
        "smtp = otpsvc_pigeon:Pigeon",
        "missing = otpsvc_nowhere:Channel",
        "gone = otpsvc_pigeon:Gone",
        "number = otpsvc_pigeon:NOT_A_CHANNEL",
        "stranger = pathlib:Path",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "otpsvc_pigeon", raising=False)
    return tmp_path


def install(folder: Path, name: str, *points: str) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(["[otpsvc.channels]", *points, ""]))


@pytest.mark.parametrize("name", sorted(OWN))
def test_our_own_are_found(name: str) -> None:
    found = channel_type(name)

    assert issubclass(found, Channel)
    assert "type" in found.Config.__struct_fields__


async def test_another_packages_channel_is_found_and_works(foreign: Path) -> None:
    kind = channel_type("pigeon")
    config = msgspec.convert({"type": "pigeon", "loft": "north"}, kind.Config)

    async with kind(config, ignore) as pigeon:
        assert (await pigeon.send(message(id="7"))).id == "north-7"
    assert "pigeon" in channel_types()


def test_our_own_names_cannot_be_taken_over(foreign: Path) -> None:
    assert channel_type("smtp").__module__ == "otpsvc.channels.smtp"


def test_an_unknown_type_names_the_choices() -> None:
    with pytest.raises(ConfigError) as unknown:
        channel_type("telegram")

    choices = ", ".join(channel_types())
    assert str(unknown.value) == f"no channel type 'telegram'; there are {choices}"
    assert {"file", "smtp", "webhook"} <= set(channel_types())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("missing", "otpsvc_nowhere:Channel to be importable"),
        ("gone", "otpsvc_pigeon:Gone to be importable"),
        ("number", r"a subclass of otpsvc\.channel\.Channel"),
        ("stranger", r"a subclass of otpsvc\.channel\.Channel"),
    ],
)
def test_a_broken_package_is_named(foreign: Path, name: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        channel_type(name)


def test_two_packages_with_one_name_are_refused(foreign: Path) -> None:
    install(foreign, "otpsvc-dove", "pigeon = otpsvc_dove:Dove")

    with pytest.raises(ConfigError, match="one package that brings it"):
        channel_type("pigeon")


def test_libraries_are_imported_on_first_use() -> None:
    """Nobody pays for, or needs, the library of a channel that is not configured."""
    code = (
        "import sys, otpsvc.channels as c; c.channel_type('file');"
        "assert not {'aiosmtplib', 'aiohttp', 'phonenumbers'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_network(host: str, here: bool) -> None:
    assert is_loopback(host) is here
