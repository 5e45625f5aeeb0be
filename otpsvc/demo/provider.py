"""The SMS provider of the demo: takes what the channel `webhook` posts, and brings it to the phones."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import msgspec
from aiohttp import web
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from otpsvc.demo.fault import SLOW, Mood
from otpsvc.demo.handset import KEPT, Handset

PATH: Final = "/send"
#: Bytes of one request.
_SIZE: Final = 64 * 1024


class _Data(Struct, frozen=True):
    id: str
    to: str
    text: str
    code: str = ""
    challenge: str = ""


class _Event(Struct, frozen=True):
    type: str
    data: _Data


class Provider:
    """`async with Provider(secret, handset) as provider:` takes signed posts at `provider.url`.

    `secret`: `whsec_…`. `mood`: slow takes a while, error answers 500, refuses 422.
    """

    def __init__(self, secret: str, handset: Handset, *, now: Callable[[], float] = time.time) -> None:
        self.url = ""
        self.mood: Mood = "works"
        self._webhook = Webhook(secret.removeprefix("whsec_"))
        self._now = now
        self._handset = handset
        self._seen: deque[str] = deque(maxlen=KEPT)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_SIZE)
        app.router.add_post(PATH, self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def become(self, mood: Mood) -> None:
        self.mood = mood

    async def _take(self, request: web.Request) -> web.Response:
        if self.mood == "slow":
            await asyncio.sleep(SLOW)
        if self.mood in ("error", "refuses"):
            return web.Response(status=500 if self.mood == "error" else 422)
        body = await request.text()
        try:
            # As the manual tells whoever runs such a server.
            self._webhook.verify(body, dict(request.headers))
            data = msgspec.json.decode(body, type=_Event).data
        except WebhookVerificationError:
            return web.Response(status=401)
        except msgspec.DecodeError:
            return web.Response(status=400)
        self._keep(data, _shown(request, body))
        return web.json_response({"id": f"demo-{self._handset.taken}"})

    def _keep(self, data: _Data, raw: str) -> None:
        if data.id in self._seen:
            # A repeat, because an answer of ours was lost.
            return
        self._seen.append(data.id)
        self._handset.keep(
            at=self._now(),
            to=data.to,
            text=data.text,
            code=data.code,
            challenge=data.challenge,
            by="provider",
            raw=raw,
        )


def _shown(request: web.Request, body: str) -> str:
    """The request as it came, for people: first line, the headers that matter, the body."""
    wanted = ("Content-Type", "webhook-id", "webhook-timestamp", "webhook-signature")
    headers = [f"{name}: {request.headers[name]}" for name in wanted if name in request.headers]
    pretty = msgspec.json.format(body.encode(), indent=2).decode()
    return "\n".join([f"POST {request.path}", *headers, "", pretty])
