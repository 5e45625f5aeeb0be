"""The tables of feeders: whose they are, where they send, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from otpsvc.errors import ConfigError
from otpsvc.feeder import FeederConfig
from otpsvc.feeders import OWN, feeder_type, feeder_types
from otpsvc.loading import Source
from otpsvc.tenant import Scope
from tests.config_place import MAIL, PLANTED, SHOP, Place

BASE = SHOP + 'scopes = ["otp", "sms"]\n' + MAIL + '[routes]\nall = ["mail"]\n'
FEEDER = '[feeders.one]\ntype = "pipe"\ntenant = "shop"\n'


class PipeConfig(FeederConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    texts: str = ""
    password: str = ""
    password_file: str = ""
    insecure: bool = False
    end: str = ""

    def sources(self, name: str) -> tuple[str, ...]:
        return (self.end or name,)

    def wanted_scopes(self) -> dict[str, Scope]:
        return {"texts": "inbox"} if self.texts else {}


def types(name: str) -> type[FeederConfig]:
    return {"pipe": PipeConfig}[name]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def wrong(place: Place, text: str, **outside: Any) -> list[str]:
    return place.wrong(BASE + text, feeder_types=types, **outside)


def test_one_is_read(place: Place) -> None:
    config = place.load(BASE + FEEDER + 'channel = "all"\nreplies = ["a.*"]\n', feeder_types=types)

    assert config.feeders["one"] == PipeConfig(type="pipe", tenant="shop", channel="all", replies=("a.*",))
    assert not [one for one in config.warnings if one.startswith("feeders")]


OURS = 'type = "pipe"\ntenant = "shop"\n'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('type = "pipe"', ".tenant: expected a string, got nothing"),
        ('type = "pipe"\ntenant = "other"', '.tenant: expected a tenant (shop), got "other"'),
        ('tenant = "shop"', '.type: expected a type of feeder such as "rabbitmq", got nothing'),
        ('type = "drum"\ntenant = "shop"', '.type: expected a known type of feeder, got "drum"'),
        (
            OURS + 'channel = "nothere"',
            '.channel: expected a channel or route of its tenant (all, mail), got "nothere"',
        ),
        (OURS + "at_once = 0", ".at_once: expected an integer from 1 to 10000, got 0"),
        (OURS + 'texts = "x"', '.texts: expected the scope "inbox" in tenants.shop.scopes'),
        (OURS + f'secret = "{PLANTED}"', ".secret: expected at least 32 characters"),
        (OURS + 'secret_file = "nothere"', ".secret_file: expected an existing file"),
        (OURS + "speed = 1", ".speed: expected one of at_once, "),
    ],
)
def test_refusals_name_the_key(place: Place, table: str, said: str) -> None:
    (found,) = wrong(place, f"[feeders.one]\n{table}\n")

    assert found.startswith(f"FILE: feeders.one{said}")
    assert PLANTED not in found


def test_both_secrets_are_one_too_many(place: Place) -> None:
    place.file("secret", "s" * 40)
    table = FEEDER + f'secret = "{"s" * 40}"\nsecret_file = "secret"\n'

    assert wrong(place, table) == ["FILE: feeders.one.secret: expected secret or secret_file, got both"]


def test_secrets_in_the_file_and_open_lines_are_told(place: Place) -> None:
    table = FEEDER + f'secret = "{"s" * 40}"\npassword = "x"\ninsecure = true\nreplies = ["*"]\n'
    config = place.load(BASE + table, feeder_types=types)

    told = [one.partition(":")[0] for one in config.warnings]
    assert {
        "feeders.one.secret",
        "feeders.one.password",
        "feeders.one.insecure",
        "feeders.one.replies",
    } <= set(told)


TWO = FEEDER + '[feeders.two]\ntype = "pipe"\ntenant = "shop"\nend = "b.in"\n'


@pytest.mark.parametrize(("place", "owner"), [("b.in", "two"), ("one", "one")])
def test_answers_to_where_a_feeder_takes_commands_are_refused(place: str, owner: str, tmp_path: Path) -> None:
    text = TWO.replace("[feeders.two]", f'replies = ["a.*", "{place}"]\n[feeders.two]')

    said = f'queues or topics that no feeder has, got "{place}", which feeders.{owner} has'
    assert wrong(Place(tmp_path), text) == [f"FILE: feeders.one.replies[1]: expected {said}"]


def test_answers_that_may_go_there_are_told(place: Place) -> None:
    text = TWO.replace("[feeders.two]", 'replies = ["b.*", "a.*"]\n[feeders.two]')
    config = place.load(BASE + text, feeder_types=types)

    assert [one for one in config.warnings if "replies" in one] == [
        'feeders.one.replies[0]: "b.*" fits what feeders.two has: no answer goes there'
    ]


def test_files_are_found_from_the_folder_of_the_config(place: Place) -> None:
    place.file("secret", "s" * 40)
    config = place.load(BASE + FEEDER + 'secret_file = "secret"\n', feeder_types=types)

    assert config.feeders["one"].secret_file == str(place.folder / "secret")


def test_the_environment_sets_what_its_type_knows(place: Place) -> None:
    environ = {"OTPSVC_FEEDERS__ONE__PASSWORD": "123456", "OTPSVC_FEEDERS__ONE__AT_ONCE": "7"}
    config = place.load(BASE + FEEDER, environ, feeder_types=types)

    found = config.feeders["one"]
    assert isinstance(found, PipeConfig)
    assert (found.password, found.at_once) == ("123456", 7)


def test_what_its_class_says_against_it_is_a_problem(place: Place) -> None:
    def check(_config: FeederConfig) -> None:
        raise ConfigError("", "password", "another", "x")

    assert wrong(place, FEEDER, check_feeder=check) == ["FILE: feeders.one.password: expected another"]


def test_tenants_that_are_wrong_are_told_once(place: Place) -> None:
    text = '[tenants.shop]\nscopes = ["nothere"]\n' + MAIL + FEEDER
    found = place.wrong(text, feeder_types=types)

    assert found
    assert not [one for one in found if "feeders" in one]


def test_a_short_secret_in_a_file_is_found_before_the_start(place: Place) -> None:
    place.file("secret", PLANTED)
    feeder = (
        '[feeders.one]\ntype = "wsbroker"\ntenant = "shop"\nurl = "ws://127.0.0.1/"\nsecret_file = "secret"\n'
    )
    place.file(
        "otpsvc.toml", SHOP + '[channels.hook]\ntype = "webhook"\nurl = "https://x.example"\n' + feeder
    )

    (found,) = Source(path=place.path).problems({})

    assert "feeders.one.secret_file: expected a file with at least 32 characters in it" in str(found)
    assert PLANTED not in str(found)


def test_our_own_types_are_there() -> None:
    assert set(OWN) <= set(feeder_types())
    for name in OWN:
        assert feeder_type(name).Config.__struct_fields__[0] == "type"
    with pytest.raises(ConfigError, match="one of mqtt, rabbitmq, wsbroker"):
        feeder_type("nothere")


@pytest.mark.parametrize(
    ("type", "table", "has", "has_not"),
    [
        ("rabbitmq", {"url": "amqp://127.0.0.1", "queue": "q"}, "q", "Q"),
        ("rabbitmq", {"url": "amqp://127.0.0.1", "queue": "q"}, "q.dead", "q.other"),
        ("mqtt", {"url": "mqtt://127.0.0.1"}, "smsoutnew/one", "smsoutnew/two"),
        ("mqtt", {"url": "mqtt://127.0.0.1", "topic": "in/+", "gateway": "g"}, "in/g", "in/g/x"),
        ("wsbroker", {"url": "ws://127.0.0.1/?topic=in"}, " IN ", "sms"),
        ("wsbroker", {"url": "ws://127.0.0.1/"}, "sms", "in"),
    ],
)
def test_what_each_type_has(type: str, table: dict[str, Any], has: str, has_not: str) -> None:
    config = msgspec.convert({"type": type, "tenant": "shop", **table}, feeder_type(type).Config)

    assert (config.has("one", has), config.has("one", has_not)) == (True, False)
    assert config.sources("one")
