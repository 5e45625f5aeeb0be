"""Everything that a tenant's server does, with planted values, and all that makes exceptions."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from tests.drills.api import Api
from tests.drills.brute import Target
from tests.drills.conftest import Store
from tests.drills.ends import Hook
from tests.drills.place import Service
from tests.drills.planted import Planted
from tests.far_ends.smtp_server import SmtpServer

FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}

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
    """Kept are the targets that a thief would have."""

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
        for to in (fields["to"].replace("@", " at "), fields["to"] + "@home.example", "ä" + fields["to"]):
            await api.put(id, provider="mail", **{**fields, "to": to})
        for name in fields:
            await api.put(id, **{**fields, name: fields[name] + "\r\n" + "x" * 5000})
        await api.ask("GET", f"/api/otp/{id}", secret=self.planted.plant("wrong-" + self.digits(9)))
        await api.ask("GET", f"/api/otp/{id}", tenant=self.planted.plant("mallory-" + self.digits(9)))
        await service.admin.ask("GET", f"/{id}?otp={otp}", tenant="")

    async def failing(self, api: Api) -> None:
        """Far ends that quote, channels that raise, texts that cannot be written."""
        for misdeed in ("answers_550", "answers_451", "answers_550_after_data", "gibberish_after_data"):
            self.mailer.misdeed = misdeed
            id, fields = await self.create(api, "mail", ttl="60")
            # Until it has been tried.
            await api.found(id, lambda record: record["message"]["reason"])
        self.mailer.misdeed = ""
        for answer in ("answers_404", "answers_500", "gibberish"):
            self.hook.plan = [answer]
            await self.create(api, "hook")
        for provider in ("quoting", "both"):
            id, fields = await self.create(api, provider, ttl="60")
            await api.found(id, lambda record: record["message"]["reason"])
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
        # In one step: a worker that polls would make it anew in between.
        spoil = "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'no clock')"
        store.ask("EVAL", spoil, 1, "clock:{shop}")
        await ask()
        store.ask("SET", "clock:{shop}", clock)
        store.ask("SCRIPT", "FLUSH")
        await ask()
        names = store.ask("KEYS", "otp:{shop}:*")
        # What ended meanwhile is left out.
        copies = {name: copy for name in names if (copy := store.ask("GET", name))}
        for broken in (b"\x01cut off", b"\x09another version", next(iter(copies.values()))[:-3]):
            for name in copies:
                store.ask("SET", name, broken)
            # Alone first: a create beside it may write the record anew.
            await api.read(id)
            await ask()
        # Sealed blobs that belong to other records: each gets the next one's, and stays.
        for name, copy in zip(copies, (*list(copies.values())[1:], next(iter(copies.values()))), strict=True):
            store.ask("SET", name, copy)
        for target in self.targets:
            await api.read(target.id)
