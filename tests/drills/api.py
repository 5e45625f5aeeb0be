"""A tenant's server: asks the service over its socket, and keeps every answer it got."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import ClientError, ClientSession, TCPConnector, UnixConnector, encode_basic_auth
from yarl import URL

from tests.waiting import until


class Answer(NamedTuple):
    """`seconds` is how long it took."""

    status: int
    raw: bytes
    headers: Mapping[str, str]
    seconds: float

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def record(self) -> Any:
        return self.body["data"]

    @property
    def code(self) -> str:
        """The stable word of a refusal; "" when it was none."""
        return str(self.body.get("code", ""))


class Api:
    """`path` is a unix socket; empty: `url` is where it listens."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.url = "http://localhost"
        self.answers: list[Answer] = []
        self._session: ClientSession | None = None

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> ClientSession:
        if self._session is None:
            to = UnixConnector(self.path, limit=0) if self.path else TCPConnector(limit=0)
            self._session = ClientSession(connector=to)
        return self._session

    async def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        *,
        tenant: str = "shop",
        secret: str = "",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `tenant` empty: without credentials."""
        began = time.monotonic()
        sent = dict(headers or {})
        if tenant:
            sent["Authorization"] = encode_basic_auth(tenant, secret or f"{tenant}-secret")
        async with self._open().request(
            method,
            URL(self.url + path, encoded=True),
            data=data if data is not None else fields,
            headers=sent,
            allow_redirects=False,
        ) as got:
            raw = await got.read()
            answer = Answer(got.status, raw, dict(got.headers), time.monotonic() - began)
        self.answers.append(answer)
        return answer

    async def is_well(self, path: str = "/api/health") -> bool:
        try:
            return (await self.ask("GET", path, tenant="")).status == 200
        except (ClientError, OSError):
            return False

    async def put(
        self, id: str, *, tenant: str = "shop", key: str = "", provider: str = "mail", **fields: str
    ) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        fields = {"provider": provider, "to": f"{id}@home.example", **fields}
        return await self.ask("PUT", f"/api/otp/{id}", fields, tenant=tenant, headers=headers)

    async def check(self, id: str, code: str, *, tenant: str = "shop") -> Answer:
        return await self.ask("POST", f"/api/otp/{id}", {"otp": code}, tenant=tenant)

    async def resend(self, id: str, *, tenant: str = "shop") -> Answer:
        return await self.ask("POST", f"/api/otp/{id}/resend", {}, tenant=tenant)

    async def status(self, id: str, *, tenant: str = "shop", **fields: str) -> Answer:
        return await self.ask("POST", f"/api/otp/{id}/status", fields, tenant=tenant)

    async def read(self, id: str, *, tenant: str = "shop") -> Answer:
        return await self.ask("GET", f"/api/otp/{id}", tenant=tenant)

    async def settled(
        self, id: str, *, tenant: str = "shop", but: tuple[str, ...] = ("queued", "sending")
    ) -> Any:
        """The record once its message is in another state than these."""
        return await self.found(id, lambda record: record["message"]["state"] not in but, tenant=tenant)

    async def found(self, id: str, holds: Callable[[Any], object], *, tenant: str = "shop") -> Any:
        """The record once this holds for it."""

        async def looked() -> Any:
            answer = await self.read(id, tenant=tenant)
            # A store that is slow for once is asked again.
            return answer.record if answer.status != 503 and holds(answer.record) else None

        return await until(looked, lambda: self.answers[-1].raw)
