"""An intake on a real store, with channels that keep what they get."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any

from otpsvc.address import EMAIL, phone
from otpsvc.blocking import BlockList
from otpsvc.feeder import FeederConfig, Frame, Taken
from otpsvc.intake import Intake, Running
from otpsvc.keyring import Keyring
from otpsvc.lines import Answered
from otpsvc.oldcode import CodeDesk
from otpsvc.relay import Relay
from otpsvc.store import Store
from otpsvc.submit import Defaults, Submitter
from otpsvc.tenant import Tenant
from otpsvc.verification import Verifications
from tests.flows.rig import Node, Outlet, new_key, tenant
from tests.http.door import FakeLines
from tests.waiting import until

NUMBER, ADDRESS = "+6281234567890", "anna@home.example"
EVERY = frozenset({"otp", "sms", "mail", "ussd", "modems"})


def owner(**more: Any) -> Tenant:
    return tenant(**({"country": "ID", "scopes": EVERY} | more))


class Rig:
    """`counted` are the outcomes of `take`, in order; `now` is the sender's clock."""

    def __init__(self, store: Store, *, shop: Tenant | None = None, keyring: Keyring | None = None) -> None:
        self.store = store
        self.shop = shop or owner()
        self.keyring = keyring or Keyring(secrets.token_bytes(32), [new_key()])
        self.sms, self.mail, self.spare = Outlet(phone("ID")), Outlet(EMAIL), Outlet(phone("ID"))
        self.node = Node(
            store,
            self.keyring,
            {"sms": self.sms, "mail": self.mail, "spare": self.spare},
            {},
            {"shop": self.shop},
        )
        self.lines = FakeLines()
        self.lines.add("m1")
        self.lines.answers["*123#"] = Answered(text="balance 5")
        self.counted: list[str] = []
        self._sending = False
        submitter = Submitter(
            store,
            self.keyring,
            self.node.verifier._kinds,
            wake=self.node.courier.wake,
            defaults=lambda: Defaults(sms="sms"),
        )
        self.relay = Relay(
            submitter=submitter,
            blocks=BlockList(store, self.keyring),
            codes=CodeDesk(self.node.verifier, submitter),
            verifications=Verifications(self.node.verifier),
            lines=self.lines,
            channels=lambda route: (route,),
        )

    def intake(self, **config: Any) -> Intake:
        secret = config.pop("secret", "")
        return Intake(
            "rabbit",
            FeederConfig(**({"type": "rabbitmq", "tenant": "shop"} | config)),
            running=Running(self.relay, self.store, self.keyring),
            tenant=lambda: self.shop,
            secret=secret,
            counted=self.counted.append,
        )

    async def code(self, count: int = 1) -> str:
        """Of the last mail, once there are so many; from now on what is due is sent."""
        if not self._sending:
            self._sending = True
            self.node.courier.start()
        await until(lambda: len(self.mail.taken) >= count, lambda: "no mail")
        return self.mail.taken[-1].code

    async def close(self) -> None:
        await self.node.courier.stop(grace=0.1)
        self.node.pool.close()


def frame(command: str = "", data: object = None, *, body: Any = None, **more: Any) -> Frame:
    """`more`: fields of the frame; `body` instead of command and data."""
    asked = body if body is not None else {"command": command, "data": data}
    return Frame(body=asked if isinstance(asked, bytes) else json.dumps(asked).encode(), **more)


def sms(text: str = "hello", id: str = "1", to: str = NUMBER, **more: Any) -> Frame:
    return frame("send-sms", {"id": id, "receiver": to, "message": text}, **more)


def answered(taken: Taken) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(taken.answer)
    return read


class Trouble:
    """The first `times` calls raise `error`; those that are `late` only after they were done."""

    def __init__(self, real: Callable[..., Any], error: Exception, *, times: int, late: bool = False) -> None:
        self.real, self.error, self.times, self.late = real, error, times, late
        self.calls = 0

    async def __call__(self, *args: Any, **more: Any) -> Any:
        self.calls += 1
        fails = self.calls <= self.times
        if fails and not self.late:
            raise self.error
        done = await self.real(*args, **more)
        if fails:
            raise self.error
        return done


def row(to: str = NUMBER, text: str = "hello") -> dict[str, Any]:
    return {"command": "send-sms", "data": {"receiver": to, "message": text}}


def ussd() -> dict[str, Any]:
    return {"command": "request-ussd", "data": {"modem_id": "m1", "ussd_code": "*123#"}}


def create(id: str = "user-123", **more: Any) -> dict[str, Any]:
    return {"command": "create-verification", "data": {"id": id, "provider": "mail", "to": ADDRESS} | more}


def check(code: str, id: str = "user-123") -> dict[str, Any]:
    return {"command": "check-verification", "data": {"id": id, "otp": code}}


def rows(*data: dict[str, Any], **more: Any) -> Frame:
    return frame(body={"command": "send-message", "data": list(data)}, asked=True, **more)
