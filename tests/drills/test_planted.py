"""Planted codes, texts, addresses and ids: found nowhere after many flows and forced exceptions."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgspec
import pytest

from tests.drills.brute import Kept, Target, falls, swept
from tests.drills.conftest import Store
from tests.drills.ends import SIGNING, AimedProxy, Hook
from tests.drills.place import Place, smtp, table, tenant, webhook
from tests.drills.planted import Planted
from tests.drills.planted_flows import Flows, install
from tests.drills.planted_left import Left
from tests.far_ends.smtp_server import SmtpServer
from tests.waiting import until

#: Of every text that is sent.
MARKER: Final = "ZebraMarker"
#: Refusals of a check carry the caller's own record.
WITH_RECORD: Final = frozenset({"wrong_code", "locked", "closed", "not_found", "check_limit"})


def _config(mailer: SmtpServer, hook: Hook, receiver: Hook) -> tuple[str, ...]:
    texts = {
        "text": f"{MARKER} {{{{ code }}}} for {{{{ to }}}}",
        "subject": f"{MARKER} {{{{ code }}}}",
        "sms": f"{MARKER} {{{{ code }}}}\n{{{{ id }}}}#{{{{ code }}}}",
    }
    return (
        tenant("shop", callback_url=receiver.url, callback_secret=SIGNING),
        table("tenants.shop.codes", length=10, max_sends=20) + table("tenants.shop.templates", **texts),
        tenant("slow") + table("tenants.slow.codes", hash="argon2id", length=10),
        tenant("plain"),
        smtp("mail", mailer.port, timeout=2.0),
        webhook("hook", hook.url, secret=SIGNING, timeout=2.0),
        webhook("sms", hook.url, secret=SIGNING, address="phone"),
        table("channels.quoting", type="quoting") + table("routes", both=["quoting", "hook"]),
    )


async def _flow(left: Left, mailer: SmtpServer, receiver: Hook) -> None:
    flows, services = left.flows, left.place.services
    for service in services:
        await flows.usual(service.api)
        await flows.stray(service.api, service)
        await flows.failing(service.api)
    left.keep()
    await services[0].api.put("six-digits", tenant="plain", provider="hook", otp="482913")
    for service in services:
        await flows.store_errors(service.api, left.store)
    await until(lambda: receiver.posts)
    await left.collect()
    # What is said while it ends counts too.
    mailer.misdeed = "slow"
    await flows.create(services[0].api, "mail")
    for service in services:
        await service.stop()


@pytest.fixture(scope="module")
async def left(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Left]:
    """Two services at one store, which log for people and in JSON; then all that they left."""
    packages = tmp_path_factory.mktemp("packages")
    install(packages)
    planted = Planted()
    for value in (MARKER, "shop-secret", "slow-secret"):
        planted.plant(value)
    with Store("always", "rdbcompression no", "slowlog-log-slower-than 0", "slowlog-max-len 10000") as store:
        async with (
            SmtpServer() as mailer,
            Hook() as hook,
            Hook() as receiver,
            AimedProxy(store.path) as proxy,
            Place(*_config(mailer, hook, receiver), store=proxy.url) as place,
        ):
            left = Left(place, store, proxy, Flows(planted, mailer, hook, receiver))
            for log in ("console", "json"):
                await place.serve(path=str(packages), log=log)
            await _flow(left, mailer, receiver)
            yield left


def test_the_flows_did_what_they_are_for(left: Left) -> None:
    codes = {answer.code for answer in left.answers if answer.raw.startswith(b"{")}
    assert codes >= {"", "wrong_code", "closed", "locked", "unauthorized", "store_unavailable", "internal"}
    assert {answer.status for answer in left.answers} >= {200, 400, 401, 404, 405, 429, 500, 503}
    assert len(left.flows.targets) >= 30
    for service in left.place.services:
        log = service.log
        for word in ("bug: ExceptionGroup", "cannot be rendered", "never retrieved", "ValueError", "550"):
            assert word in log, (service.name, word)


def test_nothing_planted_in_what_the_store_keeps(left: Left) -> None:
    folder = left.store.folder
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".rdb" for path in files)
    assert any(".aof" in path.name for path in files)
    assert left.planted.found_in(path.read_bytes() for path in files) == set()
    assert left.planted.found_in(left.kept) == set()


def test_nothing_planted_in_what_the_store_is_told(left: Left) -> None:
    """Who reads its socket, its slow log or MONITOR learns no more than who has its files."""
    assert b"EVALSHA" in b"".join(left.proxy.chunks[:50])
    assert left.planted.found(b"".join(left.proxy.chunks)) == set()
    slow = b" ".join(part for entry in left.store.ask("SLOWLOG", "GET", 10_000) for part in _parts(entry))
    assert left.planted.found(slow) == set()


def _parts(entry: Any) -> Iterator[bytes]:
    if isinstance(entry, bytes):
        yield entry
    elif isinstance(entry, dict | list | tuple):
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from _parts(part)


def test_nothing_planted_in_logs_metrics_health_and_command_lines(left: Left) -> None:
    for service in left.place.services:
        assert left.planted.found(service.log) == set(), service.name
    assert left.planted.found_in(left.operator) == set()
    assert left.planted.found_in(left.commands) == set()
    assert any(b"otpsvc_" in page for page in left.operator)


def test_nothing_planted_in_refusals(left: Left) -> None:
    for answer in left.answers:
        if answer.status < 400:
            continue
        if not answer.raw.startswith(b"{"):
            assert left.planted.found(answer.raw) == set()
            continue
        body = answer.body
        data = body.pop("data", None)
        assert left.planted.found(msgspec.json.encode(body)) == set()
        if answer.code in WITH_RECORD and data:
            data = {
                name: data[name] for name in data if name in ("otp", "url", "receipt", "message", "state")
            }
        assert left.planted.found(msgspec.json.encode(data)) == set()


def test_no_code_in_any_answer_but_its_own_create(left: Left) -> None:
    codes, marker = Planted(), Planted()
    marker.plant(MARKER)
    for target in left.flows.targets:
        if target.code:
            codes.plant(target.code)
    for answer in left.answers:
        assert not marker.found(answer.raw)
        body = answer.body if answer.raw.startswith(b"{") else {}
        if answer.status == 200 and isinstance(body.get("data"), dict):
            body["data"].pop("otp", None)
        assert not codes.found(msgspec.json.encode(body) if body else answer.raw)


def test_no_kept_value_falls_to_a_plain_hash(left: Left) -> None:
    kept = Kept(left.kept)
    records = {record.gen.hex(): record for record in left.records()}
    of = {record["id"]: records[record["gen"]] for record in left.told() if record["gen"] in records}
    assert len(of) >= 10
    for target in left.flows.targets:
        assert falls(target._replace(record=of.get(target.id)), kept) == set(), target.id
    assert swept(kept) == set()


def test_what_is_looked_for_is_found() -> None:
    planted = Planted()
    planted.plant("planted7731@home.example")
    for left in (
        "to=planted7731%40home.example&",
        "PLANTED7731@HOME.EXAMPLE",
        b"\0planted7731@home.example".hex(),
        "eyJ0byI6ICJwbGFudGVkNzczMUBob21lLmV4YW1wbGUifQ==",
    ):
        assert planted.found(left) == {"planted7731@home.example"}

    target = Target("shop", "user-123", "anna@home.example", "482913")
    digest = hashlib.sha256(b"user-123|482913").digest()
    assert falls(target, Kept([b"xx" + digest[:16] + b"yy"])) == {"sha256"}
    assert falls(target, Kept([hashlib.md5(b"482913").hexdigest().encode()])) == {"md5"}
    assert swept(Kept([hashlib.sha1(b"482913").digest()])) == {"sha1"}
    assert falls(target, Kept([bytes(64)])) == set()
