"""`config.sample.toml` is the manual of the config: it loads, and it holds every key, with its default."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, Struct, inspect

from otpsvc.channel import ChannelConfig
from otpsvc.channels import OWN, channel_type
from otpsvc.config import Config, ConfigTables, load
from otpsvc.config.reading import Reader
from otpsvc.config.types import fields_of, item_of, without_none, written
from otpsvc.feeder import FeederConfig
from otpsvc.feeders import OWN as FEEDERS
from otpsvc.feeders import feeder_type
from otpsvc.message import Delivery

SAMPLE = Path(__file__).parent.parent / "config.sample.toml"
TABLE = re.compile(r"(# )?\[([a-z.]+)\]")
KEY = re.compile(r"(# )?([a-z_]+) = (.+)")
#: Tables of examples, and the type that each is of.
EXAMPLES = {
    "smtp": "smtp",
    "hook": "webhook",
    "log": "file",
    "box": "rabbitmq",
    "pico": "mqtt",
    "sms": "gsm",
}
FEEDER_EXAMPLES = {"rabbit": "rabbitmq", "ws": "wsbroker", "mqtt": "mqtt"}


def channel_types(name: str) -> type[ChannelConfig]:
    return channel_type(name).Config


def feeder_types(name: str) -> type[FeederConfig]:
    return feeder_type(name).Config


def lines() -> Iterator[tuple[int, str, str, str]]:
    """Number, dotted table, key and value of every line that sets a key, behind a # or not."""
    table = ""
    for number, line in enumerate(SAMPLE.read_text().splitlines()):
        if found := TABLE.fullmatch(line):
            table = found[2]
        elif found := KEY.fullmatch(line):
            yield number, table, found[2], found[3]


def written_keys() -> set[str]:
    return {f"{table}.{key}" for _, table, key, _ in lines()}


def fields(cls: type[Struct], prefix: str) -> Iterator[tuple[str, inspect.Field]]:
    """All keys below a table, with tables of names entered by the names that the sample uses."""
    for name, field in fields_of(cls).items():
        kind = without_none(field.type)
        if isinstance(kind, inspect.StructType) and not written(kind):
            yield from fields(kind.cls, f"{prefix}{name}.")
        elif prefix == "" and name == "tenants":
            assert isinstance(kind, inspect.DictType)
            assert isinstance(kind.value_type, inspect.StructType)
            yield from fields(kind.value_type.cls, "tenants.shop.")
        elif prefix == "" and name == "channels":
            for example, type_name in EXAMPLES.items():
                yield from fields(channel_types(type_name), f"channels.{example}.")
        elif prefix == "" and name == "feeders":
            for example, type_name in FEEDER_EXAMPLES.items():
                yield from fields(feeder_types(type_name), f"feeders.{example}.")
        elif prefix == "channels.sms." and name == "modems":
            assert isinstance(kind, inspect.DictType)
            assert isinstance(kind.value_type, inspect.StructType)
            yield from fields(kind.value_type.cls, "channels.sms.modems.office.")
        elif prefix + name != "routes":
            yield prefix + name, field


def is_repeated(key: str) -> bool:
    """True for keys that the sample explains once for many tables."""
    table, _, name = key.rpartition(".")
    if table in {"tenants.shop.codes", "tenants.shop.limits"}:
        return True
    section, _, example = table.partition(".")
    if section == "feeders":
        # Whose commands they are stands in every table: nobody should have to guess it.
        return example != "rabbit" and name in fields_of(FeederConfig) and name not in {"type", "tenant"}
    return (
        table in {"channels.hook", "channels.log", "channels.box", "channels.pico", "channels.sms"}
        and name in fields_of(ChannelConfig)
        and name != "type"
    )


def uncommented() -> dict[str, Any]:
    text = SAMPLE.read_text()
    return tomllib.loads(re.sub(rf"(?m)^# (?=(?:{TABLE.pattern}|{KEY.pattern})$)", "", text))


def ignore(_: Delivery) -> None:
    pass


def construct(config: ChannelConfig) -> None:
    channel_type(config.type)(config, ignore)


def loaded() -> Config:
    return load(SAMPLE, channel_types=channel_types, environ={}, check_channel=construct)


def test_the_sample_loads_as_it_stands() -> None:
    config = loaded()

    assert list(config.channels) == ["smtp"]
    assert config.app.data_dir == SAMPLE.parent / "data"


def test_the_sample_is_safe() -> None:
    """No tenant with a known secret, nothing that is reached from outside, nothing to be warned of."""
    config = loaded()

    assert config.tenants == {}
    assert all(listen.is_local() for listen in config.app.listen)
    assert config.app.admin_listen
    assert config.app.admin_listen.is_local()
    assert config.warnings == ("tenants: there is none: nobody can ask for a code",)


def test_every_type_of_channel_has_an_example() -> None:
    assert sorted(EXAMPLES.values()) == sorted(OWN)
    assert sorted(FEEDER_EXAMPLES.values()) == sorted(FEEDERS)


def test_every_key_stands_in_the_sample() -> None:
    known = {key for key, _ in fields(ConfigTables, "")}

    assert {key for key in known - written_keys() if not is_repeated(key)} == set()


def test_every_key_of_the_sample_is_known() -> None:
    known = {key for key, _ in fields(ConfigTables, "")}

    assert written_keys() - known == {"routes.mail"}


def test_every_key_has_one_line_that_explains_it() -> None:
    text = SAMPLE.read_text().splitlines()
    explained = ""
    for number, table, key, _ in lines():
        above = text[number - 1]
        # A table of its own keys and the four template files share one line.
        if table in {"tenants.shop.codes", "tenants.shop.limits", "routes"} or key.endswith("_file"):
            continue
        assert above.startswith("# "), key
        assert not TABLE.fullmatch(above), key
        assert not KEY.fullmatch(above), key
        assert above != explained, key
        explained = above


def default_of(field: inspect.Field) -> object:
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return field.default


@pytest.mark.parametrize(
    ("key", "field"),
    [one for one in fields(ConfigTables, "") if not is_repeated(one[0]) and not one[1].required],
)
def test_a_key_shows_its_default(key: str, field: inspect.Field) -> None:
    """An example may stand in its place only where the default is empty."""
    value: Any = uncommented()
    for part in key.split("."):
        value = value[part]
    reader = Reader("sample", SAMPLE.parent, {})
    read = reader.value(field.type, value, (key,))

    default = default_of(field)
    assert reader.problems == []
    assert read == default or default in ((), Path())
    if item_of(field.type) and default == ():
        assert isinstance(value, list)


def test_every_example_loads_when_its_sign_is_taken_away(tmp_path: Path) -> None:
    """With what an operator must bring: secrets, files, and a decision between two places of one text."""
    text = SAMPLE.read_text()
    text = re.sub(rf"(?m)^# (?=(?:{TABLE.pattern}|{KEY.pattern})$)", "", text)
    text = re.sub(r"(?m)^\[app.tls\]$(\n.*){4}", "", text)
    text = text.replace("allow_plaintext = false", "allow_plaintext = true")
    path = tmp_path / "otpsvc.toml"
    path.write_text(text.replace('payload = "sealed"', 'payload = "plain"'))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/shop").write_text("otpsvc1$y")

    config = load(
        path,
        channel_types=channel_types,
        environ={},
        check_channel=construct,
        feeder_types=feeder_types,
        check_feeder=lambda table: feeder_type(table.type).check(table),
    )

    assert list(config.channels) == list(EXAMPLES)
    assert list(config.feeders) == list(FEEDER_EXAMPLES)
    assert len(config.tenants["shop"].secrets) == 3
    assert config.routes == {"mail": ("smtp", "hook")}
