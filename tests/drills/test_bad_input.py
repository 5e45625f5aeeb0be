"""Bad input through the real door: refused by name, and nothing is stored, sent or counted."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import pytest

from otpsvc.credential import hash_chosen
from tests.drills.conftest import Store
from tests.drills.ends import Hook
from tests.drills.place import Place, Service, smtp, tenant, webhook
from tests.far_ends.smtp_server import SmtpServer
from tests.far_ends.valkey import free_port
from tests.waiting import until

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
GOOD = b"provider=mail&to=anna@home.example&otp=135790"
#: How messages call a field, where not by its name.
WORDS = {"to": "", "id": "ID"}


class Bad(NamedTuple):
    """`field` is what the refusal names; `body` goes to a PUT of `id`."""

    name: str
    code: str
    body: bytes
    field: str = ""
    id: str = "user-123"
    kind: str = FORM


def mail(to: str) -> bytes:
    return b"provider=mail&to=" + to.encode()


def good(more: str) -> bytes:
    return b"provider=mail&to=anna@home.example&" + more.encode()


BAD = (
    Bad("unknown provider", "unknown_provider", b"provider=pigeon&to=anna@home.example", "provider"),
    Bad("provider of another tenant", "unknown_provider", b"provider=hook&to=+4915112345678", "provider"),
    Bad("no provider", "unknown_provider", b"to=anna@home.example", "provider"),
    Bad("address without @", "invalid_address", mail("anna"), "to"),
    Bad("address with CR LF", "invalid_address", mail("anna@home.example%0D%0ARCPT TO:<x@y.example>"), "to"),
    Bad("address with NUL", "invalid_character", mail("anna%00@home.example"), "to"),
    Bad("address over-long", "invalid_address", mail("a" * 250 + "@home.example"), "to"),
    Bad("local part over-long", "invalid_address", mail("a" * 65 + "@home.example"), "to"),
    Bad("address not ASCII", "invalid_address", mail("änna@home.example"), "to"),
    Bad("address of blanks", "invalid_address", mail("+++"), "to"),
    Bad("two addresses", "invalid_address", mail("anna@home.example,bob@home.example"), "to"),
    Bad("ttl of 0", "invalid_ttl", good("ttl=0"), "ttl"),
    Bad("ttl over the cap", "invalid_ttl", good("ttl=86401"), "ttl"),
    Bad("ttl over its purpose's cap", "invalid_ttl", good("ttl=601&purpose=authentication"), "ttl"),
    Bad("ttl negative", "invalid_ttl", good("ttl=-5"), "ttl"),
    Bad("ttl in words", "invalid_ttl", good("ttl=5m"), "ttl"),
    Bad("ttl in other digits", "invalid_ttl", good("ttl=٣٠٠"), "ttl"),
    Bad("ttl of 1000 digits", "invalid_ttl", good("ttl=" + "9" * 1000), "ttl"),
    Bad("max_attempts in words", "invalid_max_attempts", good("max_attempts=many"), "max_attempts"),
    Bad("max_attempts of 0", "invalid_max_attempts", good("max_attempts=0"), "max_attempts"),
    Bad("max_generate in words", "invalid_max_generate", good("max_generate=1.5"), "max_generate"),
    Bad("extra no JSON", "invalid_extra", good("extra={"), "extra"),
    Bad("extra over 4 kB", "invalid_extra", good('extra="' + "x" * 4095 + '"'), "extra"),
    Bad("unknown purpose", "invalid_purpose", good("purpose=fun"), "purpose"),
    Bad("malformed locale", "invalid_locale", good("locale=en;q=1"), "locale"),
    Bad("malformed client_ip", "invalid_client_ip", good("client_ip=1.2.3"), "client_ip"),
    Bad("malformed trusted", "invalid_trusted", good("trusted=perhaps"), "trusted"),
    Bad("code of other characters", "invalid_otp", good("otp=12345x"), "otp"),
    Bad("code too short", "invalid_otp", good("otp=123"), "otp"),
    Bad("code too long", "invalid_otp", good("otp=12345678901"), "otp"),
    Bad("id of 5", "invalid_id", GOOD, "id", "abcde"),
    Bad("id of 129", "invalid_id", GOOD, "id", "a" * 129),
    Bad("id of other characters", "invalid_id", GOOD, "id", "user%20123"),
    Bad("id with NUL", "invalid_id", GOOD, "id", "user%00123"),
    Bad("id with braces", "invalid_id", GOOD, "id", "user%7B123%7D"),
    Bad("id with broken percent", "bad_encoding", GOOD, "", "user-12%3"),
    Bad("body over 64 kB", "body_too_large", good("extra=" + "x" * 65_536)),
    Bad("broken JSON", "broken_json", b'{"provider": "mail", ', "", kind=JSON),
    Bad("JSON that is no object", "broken_json", b'["provider", "mail"]', "", kind=JSON),
    Bad("JSON too deep", "broken_json", b'{"extra": ' + b"[" * 30_000, "", kind=JSON),
    Bad("JSON with half a character", "broken_json", b'{"provider": "mail", "to": "\\ud800"}', kind=JSON),
    Bad("JSON with a list for a text", "invalid_parameter", b'{"provider": ["mail"]}', "provider", kind=JSON),
    Bad("wrong content type", "content_type", GOOD, kind="text/plain"),
    Bad("no content type", "content_type", GOOD, kind="x"),
    Bad("multipart without end", "broken_multipart", b"--b\r\nwhat", kind="multipart/form-data; boundary=b"),
    Bad("broken percent", "bad_encoding", good("locale=%zz")),
    Bad("no UTF-8", "bad_encoding", good("locale=%ff")),
    Bad("parameter twice", "duplicate_parameter", good("provider=mail"), "provider"),
    Bad("JSON member twice", "duplicate_parameter", b'{"to": "a", "to": "b"}', "to", kind=JSON),
    Bad("too many parameters", "too_many_parameters", "&".join(f"p{n}=1" for n in range(101)).encode()),
)


class Rig(NamedTuple):
    service: Service
    store: Store
    mailer: SmtpServer
    hook: Hook

    def kept(self) -> Mapping[bytes, Any]:
        """Everything in the store but the clocks, which go on by themselves; none of it ends by itself."""
        keys = [key for key in self.store.ask("KEYS", "*") if not key.startswith(b"clock:")]
        return {key: self.store.ask("DUMP", key) for key in keys}


@pytest.fixture(scope="module")
async def rig(store: Store) -> AsyncIterator[Rig]:
    async with SmtpServer() as mailer, Hook() as hook:
        config = (
            tenant("shop", guards=True, channels=["mail"]),
            tenant("bank", guards=True),
            tenant("desk", scopes=["sms"]),
            smtp("mail", mailer.port) + webhook("hook", hook.url, address="phone"),
        )
        async with Place(*config, store=store.url) as place:
            service = await place.serve(listen=f"127.0.0.1:{free_port()}")
            made = await service.api.put(
                "user-123", to="anna@home.example", otp="135790", client_ip="192.0.2.1"
            )
            assert made.status == 200
            await until(lambda: mailer.mails)
            await service.api.settled("user-123")
            for key in store.ask("KEYS", "*"):
                store.ask("PERSIST", key)
            yield Rig(service, store, mailer, hook)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_refused_by_name_and_nothing_is_stored_sent_or_counted(rig: Rig, bad: Bad) -> None:
    before, api = rig.kept(), rig.service.api
    for id in {bad.id, bad.id.replace("user-123", "user-456")}:
        answer = await api.ask("PUT", f"/api/otp/{id}", data=bad.body, headers={"Content-Type": bad.kind})

        assert (answer.status, answer.code) == (400, bad.code)
        assert answer.body["status"] == "error"
        assert answer.body.get("field", "") == bad.field
        assert WORDS.get(bad.field, bad.field) in answer.body["message"]
    assert rig.kept() == before
    assert (len(rig.mailer.mails), len(rig.hook.posts)) == (1, 0)


@pytest.mark.parametrize("otp", ["", "1" * 65, "%00", "%zz"])
async def test_a_bad_check_counts_nothing(rig: Rig, otp: str) -> None:
    before = rig.kept()
    answer = await rig.service.api.ask(
        "POST", "/api/otp/user-123", data=b"otp=" + otp.encode(), headers={"Content-Type": FORM}
    )

    assert answer.status == 400
    assert answer.code in ("empty_otp", "invalid_otp", "invalid_character", "bad_encoding")
    assert rig.kept() == before


async def test_who_is_not_known_gets_one_401(rig: Rig) -> None:
    before, api = rig.kept(), rig.service.api
    pairs = {
        "unknown tenant": b"mallory:shop-secret",
        "wrong secret": b"shop:wrong-secret",
        "no secret": b"shop:",
        "another's secret": b"shop:bank-secret",
        "not one colon": b"shop",
        "not UTF-8": b"sh\xff\xfep:x",
    }
    sent = {name: "Basic " + base64.b64encode(pair).decode() for name, pair in pairs.items()}
    sent |= {"none": "", "bad base64": "Basic %%%", "another scheme": "Bearer shop-secret"}
    bodies = set()
    for authorization in sent.values():
        headers = {"Authorization": authorization} if authorization else {}
        answer = await api.ask("PUT", "/api/otp/user-789", data=GOOD, headers=headers, tenant="")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        bodies.add(answer.raw)
    assert len(bodies) == 1
    assert (await api.put("user-789", tenant="desk")).code == "scope"
    assert rig.kept() == before


async def test_a_stranger_learns_no_tenant_from_the_time() -> None:
    """Where any secret is slow, every wrong one takes that long, and an unknown name too.

    It is the time of the processor, as the clock's depends on what else the machine does.
    """
    config = (tenant("slow", secret=[], secret_hash=hash_chosen("slow-secret")), tenant("fast"))
    async with Place(*config, smtp("mail", 9)) as place:
        service = await place.serve()
        seconds: dict[str, list[float]] = {"slow": [], "fast": [], "mallory": []}
        for _ in range(7):
            for name, taken in seconds.items():
                before = sum(service.worked().values())
                answer = await service.api.ask("GET", "/api/otp/user-123", tenant=name, secret="wrong-secret")
                assert (answer.status, answer.code) == (401, "unauthorized")
                taken.append(sum(service.worked().values()) - before)
    # The least of each: what the process does beside it only adds.
    least = [min(taken) for taken in seconds.values()]
    assert max(least) < 2 * min(least), seconds
