"""Planted codes, texts, addresses and ids: found nowhere after many flows and forced exceptions."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import pytest

from otpsvc.challenge import unpack
from tests.drills.api import Answer, Api
from tests.drills.brute import Kept, Target, falls, swept
from tests.drills.conftest import Store
from tests.drills.ends import SIGNING, AimedProxy, Hook, eventually
from tests.drills.place import Place, Service, smtp, table, tenant, webhook
from tests.drills.planted import Planted
from tests.far_ends.smtp_server import SmtpServer

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
#: Refusals of a check carry the caller's own record.
WITH_RECORD: Final = frozenset({"wrong_code", "locked", "closed", "not_found", "check_limit"})

#: A channel of somebody else, whose exceptions quote what it was given, in every way that Python has.
QUOTING: Final = """
import asyncio, logging, threading
from otpsvc.address import ANY
from otpsvc.channel import Channel, ChannelConfig

class Quoting(Channel):
    Config = ChannelConfig
    address = ANY

    async def send(self, message):
        said = f"{message.to} {message.text} {message.code} {message.record}"
        logging.getLogger("quoting").error("cannot send: %s", said)
        asyncio.ensure_future(self._fail(said))
        threading.Thread(target=self._raise, args=(said,)).start()
        try:
            self._raise(said)
        except ValueError as error:
            logging.getLogger("quoting").exception("cannot send")
            raise ExceptionGroup(said, [error, KeyError(message)]) from error

    async def ping(self):
        raise RuntimeError(self.last)

    async def _fail(self, said):
        self._raise(said)

    def _raise(self, said):
        Quoting.last = said
        raise ValueError(said)
"""


def install(folder: Path) -> None:
    """A package that brings the channel type `quoting`."""
    (folder / "drill_quoting.py").write_text(QUOTING)
    info = folder / "drill_quoting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: drill-quoting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[otpsvc.channels]\nquoting = drill_quoting:Quoting\n")


class Flows:
    """Everything that a tenant's server does, with planted values, against both services."""

    def __init__(self, planted: Planted, mailer: SmtpServer, hook: Hook, receiver: Hook) -> None:
        self.planted = planted
        self.mailer = mailer
        self.hook = hook
        self.receiver = receiver
        self.targets: list[Target] = []
        self._random = random.Random(7)

    def digits(self, count: int) -> str:
        return "".join(self._random.choices("123456789", k=count))

    def person(self, *, phone: bool = False) -> tuple[str, dict[str, str]]:
        """A new id and the fields of its create."""
        plant = self.planted.plant
        id, to = "+49" + plant(self.digits(11)), plant(f"planted{self.digits(7)}") + "@home.example"
        if phone:
            to = "+" + plant("49151" + self.digits(8))
        fields = {
            "to": to,
            "otp": plant(self.digits(10)),
            "extra": '{"note":"' + plant(f"okapi{self.digits(9)}") + '"}',
            "channel_description": plant(f"quagga{self.digits(9)}"),
            "address_description": plant(f"ibis{self.digits(9)}"),
        }
        return id, fields

    async def create(self, api: Api, provider: str, **more: str) -> tuple[str, dict[str, str]]:
        id, fields = self.person(phone=provider == "sms")
        fields |= {"provider": provider} | more
        fields = {name: value for name, value in fields.items() if value}
        key = self.planted.plant("key-" + self.digits(9))
        await api.put(id, key=key, **fields)
        body = msgspec.json.encode([id, sorted(fields.items())])
        bodies = (body, urlencode(fields).encode(), key.encode())
        self.targets.append(Target("shop", id, fields["to"], fields.get("otp", ""), bodies))
        return id, fields

    async def usual(self, api: Api) -> None:
        """What goes well, or wrong in a way that the API answers."""
        for provider in ("mail", "hook"):
            id, fields = await self.create(api, provider)
            await api.settled(id)
            await api.put(id, **{**fields, "to": fields["to"].replace("planted", "other")})
            await api.check(id, self.digits(10))
            await api.check(id, fields["otp"])
            await api.check(id, fields["otp"])
            await api.status(id)
            await self._derived(api, provider)
        id, fields = await self.create(api, "hook", max_attempts="1")
        await api.check(id, self.digits(10))
        await api.check(id, fields["otp"])
        await api.put(id, **fields)

    async def _derived(self, api: Api, provider: str) -> None:
        """Codes of our own making; the far end tells them."""
        id, fields = await self.create(api, provider, otp="")
        await api.settled(id)
        await api.resend(id)
        await api.settled(id)
        code = self._code_at(provider, fields["to"])
        self.targets.append(Target("shop", id, fields["to"], self.planted.plant(code)))
        await api.check(id, code)

    def _code_at(self, provider: str, to: str) -> str:
        if provider == "hook":
            return str(self.hook.of(to)[-1].json["data"]["code"])
        mail = next(mail for mail in self.mailer.mails if mail.to == [to])
        part = mail.parsed.get_body(("plain",))
        assert part is not None
        return str(part.get_content().split()[1])

    async def stray(self, api: Api, service: Service) -> None:
        """Values in places where they do not belong."""
        id, fields = self.person()
        otp, to = fields["otp"], quote(fields["to"])
        created = await api.put(id, provider="hook", **fields)
        page = urlsplit(created.record["url"])
        self.planted.plant(page.query.removeprefix("t="))
        await api.ask("GET", f"{page.path}?{page.query}&otp={otp}", tenant="")
        await api.ask("GET", f"/otp/shop/{id}?t=x&otp={otp}", tenant="")
        await api.ask("GET", f"/{id}/{to}?otp={otp}")
        await api.ask("PATCH", f"/api/otp/{id}?otp={otp}")
        await api.ask("PUT", f"/api/otp/{id}?to={to}%zz")
        await api.ask("PUT", f"/api/otp/{id}", data=f"to={to}&to={to}&otp={otp}".encode(), headers=FORM)
        await api.ask("PUT", f"/api/otp/{id}", data=f'{{"to": "{to}", "otp": {otp}'.encode())
        for name in fields:
            await api.put(id, **{**fields, name: fields[name] + "\r\n" + "x" * 5000})
        await api.ask("GET", f"/api/otp/{id}", secret=self.planted.plant("wrong-" + self.digits(9)))
        await api.ask("GET", f"/api/otp/{id}", tenant=self.planted.plant("mallory-" + self.digits(9)))
        await service.admin.ask("GET", f"/{id}?otp={otp}", tenant="")

    async def failing(self, api: Api) -> None:
        """Far ends that quote, channels that raise, texts that cannot be written."""
        for misdeed in ("answers_550", "answers_451", "answers_550_after_data", "gibberish_after_data"):
            self.mailer.misdeed = misdeed  # type: ignore[assignment]
            id, fields = await self.create(api, "mail", ttl="1")
            await api.settled(id, but=("sending",))
        self.mailer.misdeed = ""
        for answer in ("answers_404", "answers_500", "gibberish"):
            self.hook.plan = [answer]  # type: ignore[list-item]
            await self.create(api, "hook")
        for provider in ("quoting", "both"):
            id, fields = await self.create(api, provider, ttl="3")
            await api.settled(id, but=("sending",))
        id, fields = self.person(phone=True)
        await api.put("@" + id, provider="sms", **fields)
        assert (await api.settled("@" + id))["message"]["reason"] == "its text cannot be rendered"
        slow, fields = self.person()
        await api.put(slow, tenant="slow", provider="hook", **fields)
        await api.check(slow, fields["otp"], tenant="slow")

    async def store_errors(self, api: Api, store: Store) -> None:
        """Errors of the store, which quote arguments."""
        id, fields = await self.create(api, "hook")
        await api.settled(id)

        async def ask() -> None:
            await asyncio.gather(
                api.put(id, **fields), api.check(id, fields["otp"]), api.read(id), self.create(api, "mail")
            )

        store.ask("CONFIG", "SET", "maxmemory", 1)
        await ask()
        store.ask("CONFIG", "SET", "maxmemory", 0)
        clock = store.ask("GET", "clock:{shop}")
        store.ask("DEL", "clock:{shop}")
        store.ask("RPUSH", "clock:{shop}", "no clock")
        await ask()
        store.ask("SET", "clock:{shop}", clock)
        store.ask("SCRIPT", "FLUSH")
        await ask()
        names = store.ask("KEYS", "otp:{shop}:*")
        for broken in (b"\x01cut off", b"\x09another version", store.ask("GET", names[0])[:-3]):
            copies = {name: store.ask("DUMP", name) for name in names}
            for name in names:
                store.ask("SET", name, broken)
            await ask()
            for name, copy in copies.items():
                store.ask("RESTORE", name, 60_000, copy, "REPLACE")
        # A sealed blob that belongs to another record.
        store.ask("SET", names[0], store.ask("GET", names[1]))
        for target in self.targets:
            await api.read(target.id)


class Left:
    """What all of it left behind."""

    def __init__(self, place: Place, store: Store, proxy: AimedProxy, flows: Flows) -> None:
        self.planted = flows.planted
        self.flows = flows
        self.place = place
        self.store = store
        self.proxy = proxy
        self.answers: list[Answer] = []
        self.operator: list[bytes] = []
        self.commands: list[bytes] = []
        self.kept: list[bytes] = []

    async def collect(self) -> None:
        for service in self.place.services:
            for path in ("/metrics", "/api/health"):
                self.operator.append((await service.admin.ask("GET", path, tenant="")).raw)
            self.answers += service.api.answers + service.admin.answers
            self.commands += [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in service.pids()]
        self.store.ask("SAVE")
        self.keep()

    def keep(self) -> None:
        """All that is in the store now, name and value."""
        for key in self.store.ask("KEYS", "*"):
            self.kept.append(key)
            kind = self.store.ask("TYPE", key)
            reads: dict[bytes, tuple[Any, ...]] = {
                b"string": ("GET", key),
                b"hash": ("HGETALL", key),
                b"zset": ("ZRANGE", key, 0, -1),
            }
            got = self.store.ask(*reads[kind])
            self.kept += [got] if isinstance(got, bytes) else _flat(got)

    def told(self) -> Iterator[Any]:
        """Every record that an answer held."""
        for answer in self.answers:
            data = answer.body.get("data") if answer.raw.startswith(b"{") else None
            if isinstance(data, dict) and "gen" in data:
                yield data

    def records(self) -> Iterator[Any]:
        for key in self.store.ask("KEYS", "otp:*"):
            raw = self.store.ask("GET", key)
            if raw[:1] == b"\x01":
                try:
                    yield unpack(raw)
                except Exception:  # noqa: S112 - one of those that were broken on purpose
                    continue


def _flat(got: Any) -> list[bytes]:
    if isinstance(got, dict):
        return [part for pair in got.items() for part in pair]
    return list(got)


@pytest.fixture(scope="module")
async def left(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Left]:
    """Two services at one store, which log for people and in JSON; then all that they left."""
    packages = tmp_path_factory.mktemp("packages")
    install(packages)
    settings = ("rdbcompression no", "slowlog-log-slower-than 0", "slowlog-max-len 10000")
    planted = Planted()
    marker = planted.plant("ZebraMarker")
    with Store("always", *settings) as store:
        async with (
            SmtpServer() as mailer,
            Hook() as hook,
            Hook() as receiver,
            AimedProxy(store.path) as proxy,
        ):
            config = (
                tenant("shop", callback_url=receiver.url, callback_secret=SIGNING),
                table("tenants.shop.codes", length=10, max_sends=20),
                table(
                    "tenants.shop.templates",
                    text=f"{marker} {{{{ code }}}} for {{{{ to }}}}",
                    subject=f"{marker} {{{{ code }}}}",
                    sms=f"{marker} {{{{ code }}}}\n{{{{ id }}}}#{{{{ code }}}}",
                ),
                tenant("slow") + table("tenants.slow.codes", hash="argon2id", length=10),
                tenant("plain"),
                smtp("mail", mailer.port, timeout=2.0),
                webhook("hook", hook.url, secret=SIGNING, timeout=2.0),
                webhook("sms", hook.url, secret=SIGNING, address="phone"),
                table("channels.quoting", type="quoting") + table("routes", both=["quoting", "hook"]),
            )
            for name in ("shop", "slow"):
                planted.plant(f"{name}-secret")
            async with Place(*config, store=proxy.url) as place:
                flows = Flows(planted, mailer, hook, receiver)
                services = [await place.serve(path=str(packages), log=log) for log in ("console", "json")]
                left = Left(place, store, proxy, flows)
                for service in services:
                    await flows.usual(service.api)
                    await flows.stray(service.api, service)
                    await flows.failing(service.api)
                left.keep()
                await services[0].api.put("six-digits", tenant="plain", provider="hook", otp="482913")
                for service in services:
                    await flows.store_errors(service.api, store)
                await eventually(lambda: receiver.posts)
                await left.collect()
                # What is said while it ends counts too.
                mailer.misdeed = "slow"
                await flows.create(services[0].api, "mail")
                for service in services:
                    await service.stop()
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
    marker.plant("ZebraMarker")
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
