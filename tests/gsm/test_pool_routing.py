from __future__ import annotations

from msgspec import Struct

from otpsvc.gsm.routing import by_rule, reach
from otpsvc.gsm.settings import ModemSettings
from tests.gsm.scripted import job


class Routed(Struct, frozen=True):
    settings: ModemSettings


def modem(
    name: str, *, prefixes: tuple[str, ...] = (), groups: tuple[str, ...] = (), paused: bool = False
) -> Routed:
    return Routed(ModemSettings(name=name, path="", prefixes=prefixes, groups=groups, paused=paused))


def names(*modems: Routed, to: str = "+62812345678", group: str = "", name: str = "") -> str:
    return "".join(m.settings.name for m in by_rule(job(to=to, group=group, modem=name), modems))


def test_a_modem_without_rules_takes_everything() -> None:
    assert names(modem("a"), modem("b")) == "ab"


def test_the_longest_prefix_of_all_modems_wins() -> None:
    modems = modem("a", prefixes=("+62",)), modem("b", prefixes=("+1", "+62812")), modem("c")

    assert names(*modems) == "b"
    assert names(*modems, to="+62855123456") == "a"
    assert names(*modems, to="+4915112345678") == "c"


def test_all_modems_with_the_longest_prefix_share_it() -> None:
    assert names(modem("a", prefixes=("+62",)), modem("b", prefixes=("+62",)), modem("c")) == "ab"


def test_nobody_is_left_when_every_modem_has_other_prefixes() -> None:
    assert names(modem("a", prefixes=("+1",)), modem("b", prefixes=("+44",))) == ""


def test_a_group_is_served_by_its_modems_and_by_those_for_everybody() -> None:
    modems = modem("a", groups=("shop",)), modem("b", groups=("bank", "shop")), modem("c")

    assert names(*modems, group="shop") == "abc"
    assert names(*modems, group="bank") == "bc"
    assert names(*modems) == "c"


def test_a_prefix_of_another_groups_modem_does_not_count() -> None:
    assert names(modem("a", prefixes=("+62",), groups=("bank",)), modem("b"), group="shop") == "b"


def test_a_named_modem_takes_numbers_of_other_prefixes_but_never_of_other_groups() -> None:
    modems = modem("a", prefixes=("+1",)), modem("b", groups=("bank",)), modem("c")

    assert names(*modems, name="a") == "a"
    assert names(*modems, name="b", group="shop") == ""


def test_a_paused_modem_keeps_its_prefix() -> None:
    assert names(modem("a", prefixes=("+62",), paused=True), modem("b")) == "a"


def test_reach_counts_the_longest_of_a_modems_prefixes() -> None:
    settings = ModemSettings(name="a", path="", prefixes=("+6", "+62812", "+62"))

    assert [reach(settings, n) for n in ("+628123", "+62855", "+655", "+1")] == [6, 3, 2, -1]
