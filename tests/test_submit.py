"""Raw messages: who may send what by which way, repeats, and what is kept of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from otpsvc.address import ANY, EMAIL, phone
from otpsvc.blocking import BlockList
from otpsvc.challenge import EVENT, MessageRecord
from otpsvc.config.reading import Reader
from otpsvc.config.relay import RelayPaths, read_relay
from otpsvc.errors import BadAddress, BadRequest, Forbidden, KeyReused, Limited, NotFound, RequestError
from otpsvc.http.calls import CALLS
from otpsvc.keyring import KeyEntry, Keyring
from otpsvc.letter import Letters, Way
from otpsvc.lines import Line, named
from otpsvc.message import Message, MessageState
from otpsvc.store import Claimed
from otpsvc.stores.memory import MemoryStore
from otpsvc.submit import Defaults, Submission, Submitter, check_text, fingerprint
from otpsvc.tenant import Limits, Rate, Texts
from tests.flows.rig import new_key, tenant

INDEX = b"i" * 32
TO = "+6281234567890"
NOW = 1_800_000_000.0
SHOP = tenant(country="ID", scopes=frozenset({"sms", "mail"}))
KINDS = {"sms": phone("ID"), "mail": EMAIL, "hook": ANY, "spare": phone("ID")}


class Rig:
    def __init__(self, keyring: Keyring | None = None) -> None:
        self.time = NOW
        self.store = MemoryStore(lambda: self.time)
        self.key = new_key()
        self.keyring = keyring or Keyring(INDEX, [self.key])
        self.woken: list[tuple[str, str, str]] = []
        self.defaults = Defaults()
        self.submitter = Submitter(
            self.store,
            self.keyring,
            KINDS,
            wake=lambda *where: self.woken.append(where),
            defaults=lambda: self.defaults,
        )

    async def claim(self, route: str = "sms") -> list[Claimed]:
        return (await self.store.claim("shop", route, "message", limit=9, lease=5000)).taken


@pytest.fixture
def rig() -> Rig:
    return Rig()


def asked(**more: Any) -> Submission:
    return Submission(**({"to": TO, "text": "planted words"} | more))


def letters(keyring: Keyring) -> Letters:
    return Letters(keyring, dict, {"sms": Way("phone", Texts())}, root_url="")


async def test_one_is_queued_and_told(rig: Rig) -> None:
    sent = await rig.submitter.submit(SHOP, asked())

    assert (sent.state, sent.route, sent.repeated) == (MessageState.QUEUED, "sms", False)
    assert sent.deadline == "2027-01-15T09:00:00.000+00:00"
    assert rig.woken == [("shop", "sms", "message")]
    assert await rig.submitter.read(SHOP, sent.id) == sent
    assert "planted" not in repr(asked())
    assert "81234" not in repr(asked())


async def test_it_is_composed_as_it_was_asked_for(rig: Rig) -> None:
    await rig.submitter.submit(SHOP, asked(to="0812-3456-7890", modem="sms.m1", route="sms", subject="S"))
    [claimed] = await rig.claim()
    message = letters(rig.keyring).compose(claimed)

    assert (message.to, message.text, message.modem, message.subject) == (TO, "planted words", "sms.m1", "S")
    assert message.code == ""
    raw = claimed.message
    assert raw
    assert b"planted" not in raw.body + raw.meta


@pytest.mark.parametrize("skew", [-600.0, 600.0, 86_400.0])
async def test_the_life_of_a_message_is_the_store_s_whatever_our_clock_says(rig: Rig, skew: float) -> None:
    rig.time = time.time() + skew
    await rig.submitter.submit(SHOP, asked(life=120))
    [claimed] = await rig.claim()
    message = letters(rig.keyring).compose(claimed)

    assert 0 < message.seconds_left() <= 120
    assert message.seconds_left() > 60
    assert abs(message.expires - (rig.time + 120)) < 60


def test_a_message_of_no_store_lives_by_our_clock() -> None:
    message = Message(id="x", to="", text="", expires=time.time() + 100)

    assert 90 < message.seconds_left() <= 100


@pytest.mark.parametrize(("life", "told"), [(0, 3600), (5, 5), (10**9, 259_200)])
async def test_its_life(rig: Rig, life: float, told: int) -> None:
    await rig.submitter.submit(SHOP, asked(life=life))
    [claimed] = await rig.claim()

    assert claimed.left == told


async def test_an_old_accepted_key_still_opens_it_and_a_retired_one_does_not(rig: Rig) -> None:
    await rig.submitter.submit(SHOP, asked())
    [claimed] = await rig.claim()
    newer = new_key()
    accepted = KeyEntry(id=rig.key.id, state="accept", secret=rig.key.secret)

    assert letters(Keyring(INDEX, [accepted, newer])).compose(claimed).to == TO
    with pytest.raises(Exception, match=r"^$") as gone:
        letters(Keyring(INDEX, [newer])).compose(claimed)
    assert type(gone.value).__name__ == "KeyNotOffered"


Ask = Callable[[Rig], Any]


@pytest.mark.parametrize(
    ("owner", "more", "code"),
    [
        ({"scopes": frozenset({"mail"})}, {}, "scope"),
        ({"scopes": frozenset({"sms"})}, {"to": "a@b.example"}, "scope"),
        ({"scopes": frozenset({"otp"})}, {"route": "sms"}, "scope"),
        # What takes anything is a way of texts, unless it is asked as mail.
        ({"scopes": frozenset({"sms"})}, {"route": "mail", "to": "a@b.example"}, "scope"),
        ({"scopes": frozenset({"mail"})}, {"route": "hook"}, "scope"),
        ({}, {"route": "nothing"}, "unknown_provider"),
        ({"channels": ("mail",)}, {"route": "sms"}, "unknown_provider"),
        ({"channels": ("mail",)}, {}, "no_way_out"),
        ({}, {"to": "12"}, "invalid_address"),
        ({}, {"to": "+62 81234567890\n"}, "invalid_address"),
        ({}, {"to": "a@"}, "invalid_address"),
        ({}, {"route": "sms", "to": "a@b.example"}, "invalid_address"),
        ({}, {"text": ""}, "empty_text"),
        ({}, {"text": "x" * 10_001}, "text_too_long"),
        ({}, {"text": "x\x1a"}, "invalid_text"),
        ({}, {"text": "\ud800"}, "invalid_text"),
        ({}, {"subject": "a\nb"}, "invalid_subject"),
    ],
)
async def test_refusals(rig: Rig, owner: dict[str, Any], more: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestError) as refused:
        await rig.submitter.submit(structs.replace(SHOP, **owner), asked(**more))

    assert refused.value.code == code
    assert "planted" not in str(refused.value)
    assert rig.woken == []


async def test_a_way_for_any_address_is_taken_where_none_is_for_these_alone(rig: Rig) -> None:
    shop = structs.replace(SHOP, channels=("hook",))
    sent = [await rig.submitter.submit(shop, asked(to=to)) for to in (TO, "ann@shop.example")]

    assert [one.route for one in sent] == ["hook", "hook"]


async def test_a_short_code_is_sent_to_and_a_configured_way_goes_first(rig: Rig) -> None:
    rig.defaults = Defaults(sms="spare", life=7)
    sent = await rig.submitter.submit(SHOP, asked(to="4949"))
    [claimed] = await rig.claim("spare")

    assert sent.route == "spare"
    assert letters(rig.keyring).compose(claimed).to == "4949"
    assert claimed.left == 7
    rig.defaults = Defaults(sms="nowhere")
    with pytest.raises(BadRequest, match="no way out"):
        await rig.submitter.submit(SHOP, asked())


async def test_a_blocked_number_is_refused_by_whoever_s_list(rig: Rig) -> None:
    blocks = BlockList(rig.store, rig.keyring)
    for everywhere in (True, False):
        await blocks.block(SHOP, TO, now=NOW, everywhere=everywhere)
        with pytest.raises(BadRequest) as refused:
            await rig.submitter.submit(SHOP, asked())
        assert refused.value.code == "blocked"
        await blocks.unblock(SHOP, TO, everywhere=everywhere)
    assert (await rig.submitter.submit(SHOP, asked())).state == MessageState.QUEUED


async def test_the_budget_of_sends(rig: Rig) -> None:
    limits = Limits(sends=Rate(1, 60))
    owner = structs.replace(SHOP, limits=limits)
    await rig.submitter.submit(owner, asked())

    with pytest.raises(Limited) as refused:
        await rig.submitter.submit(owner, asked())
    assert (refused.value.code, refused.value.retry_after) == ("send_budget", 60)


async def test_a_repeat_is_the_same_message_and_another_text_is_none(rig: Rig) -> None:
    mark = fingerprint(rig.keyring, SHOP, "a")
    first = await rig.submitter.submit(SHOP, asked(once="k", fingerprint=mark))
    again = await rig.submitter.submit(SHOP, asked(once="k", fingerprint=mark))

    assert (again.id, first.repeated, again.repeated) == (first.id, False, True)
    assert len(await rig.claim()) == 1
    with pytest.raises(KeyReused):
        await rig.submitter.submit(SHOP, asked(once="k", fingerprint=fingerprint(rig.keyring, SHOP, "b")))


def test_fingerprints_tell_requests_apart() -> None:
    ring, other = Keyring(INDEX, [new_key()]), tenant("bank")
    marks = {
        fingerprint(ring, *of) for of in ((SHOP, "a", "b"), (SHOP, "ab"), (SHOP, "a"), (other, "a", "b"))
    }

    assert len(marks) == 4
    assert fingerprint(Keyring(INDEX, [new_key()]), SHOP, "a") == fingerprint(ring, SHOP, "a")


@pytest.mark.parametrize("id", ["", "nothing", "x" * 65])
async def test_what_is_not_there(rig: Rig, id: str) -> None:
    with pytest.raises(NotFound):
        await rig.submitter.read(SHOP, id)


async def test_an_event_is_no_message(rig: Rig) -> None:
    class Events(MemoryStore):
        async def message(self, tenant: str, n: str) -> MessageRecord | None:
            found = await super().message(tenant, n)
            return found and found._replace(kind=EVENT)

    rig.store = Events(lambda: rig.time)
    submitter = Submitter(rig.store, rig.keyring, KINDS, wake=lambda *_: None, defaults=Defaults)
    sent = await submitter.submit(SHOP, asked())
    with pytest.raises(NotFound):
        await submitter.read(SHOP, sent.id)


@pytest.mark.parametrize(
    "path", sorted({call.route.replace("{id}", "x").replace("{number}", "1") for call in CALLS})
)
def test_no_door_of_relay_clients_hides_one_of_our_own_calls(path: str) -> None:
    reader = Reader("config.toml", Path(), {})
    read_relay(reader, {"paths": {"sms": path}}, ways=())

    assert [problem.key for problem in reader.problems] == ["relay.paths.sms"]


def test_the_old_doors_are_free() -> None:
    reader = Reader("config.toml", Path(), {})
    assert read_relay(reader, {}, ways=()).paths == RelayPaths()
    read_relay(reader, {"paths": {"sms": "/api/otp2"}}, ways=())
    assert reader.problems == []


async def test_another_tenant_s_message_is_not_there(rig: Rig) -> None:
    sent = await rig.submitter.submit(SHOP, asked())
    with pytest.raises(NotFound):
        await rig.submitter.read(tenant("bank"), sent.id)


def test_texts_that_may_be_sent() -> None:
    check_text("Grüße ☃ 🎉\nline two\tx\x1b", "Hé")
    with pytest.raises(BadRequest):
        check_text("x\0", "")


LINES = [
    Line(name="m1", channel="sms", state="ready", imei="356938035643809"),
    Line(name="m2", channel="sms", state="absent", number="+62811"),
    Line(name="m2", channel="spare", state="ready"),
]


class Told:
    async def lines(self) -> list[Line]:
        return LINES


@pytest.mark.parametrize(
    ("name", "whole"),
    [("m1", "sms.m1"), ("356938035643809", "sms.m1"), ("+62811", "sms.m2"), ("spare.m2", "spare.m2")],
)
async def test_a_modem_by_any_of_its_names(rig: Rig, name: str, whole: str) -> None:
    found = await rig.submitter.at_modem(SHOP, Told(), asked(modem=name))  # type: ignore[arg-type]

    assert (found.modem, found.route) == (whole, whole.partition(".")[0])
    with pytest.raises(Forbidden):
        await rig.submitter.at_modem(tenant(), Told(), asked(modem=name))  # type: ignore[arg-type]


async def test_a_modem_of_another_way(rig: Rig) -> None:
    assert await rig.submitter.at_modem(SHOP, Told(), asked()) == asked()  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        await rig.submitter.at_modem(SHOP, Told(), asked(modem="m1", route="spare"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["m2", "m9", "", "sms."])
def test_names_of_none_or_of_several(name: str) -> None:
    with pytest.raises(NotFound) as missing:
        named([*LINES, Line(name="m3", channel="sms", state="ready")], name)
    assert missing.value.code == "unknown_modem"


def test_bad_addresses_are_not_repeated() -> None:
    with pytest.raises(BadAddress) as refused:
        EMAIL.parse("planted@")
    assert "planted" not in str(refused.value)
