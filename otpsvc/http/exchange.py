"""One request on its way: from who asks, over what is asked, to the answer and its line in the log."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from otpsvc.errors import Busy, RequestError, Unauthorized
from otpsvc.http import relay
from otpsvc.http.asked import Asked, Call
from otpsvc.http.client import Trusted, client_address, masked
from otpsvc.http.envelope import BodyRefused, Reply, refusal, success
from otpsvc.http.fields import Receive, read_body, read_fields
from otpsvc.http.parts import Parts, RequestLine
from otpsvc.request import client_prefix
from otpsvc.tenant import Tenant

#: Places of an exception that the log names, innermost first.
_PLACES: Final = 12


class Exchange:
    """`headers` are the request's, by lower-case name. Nothing in here is ever logged but `line`."""

    __slots__ = (
        "_began", "_parts", "_scope", "_trusted", "code", "failure", "headers", "id", "problem", "tenant",
    )  # fmt: skip

    def __init__(self, parts: Parts, trusted: Trusted, scope: Mapping[str, Any]) -> None:
        self._began = time.perf_counter()
        self._parts = parts
        self._trusted = trusted
        self._scope = scope
        #: Random, so that it tells nothing; not a secret.
        self.id = b"%016x" % random.getrandbits(64)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.problem = b"application/problem+json" in self.headers.get(b"accept", b"")
        self.tenant = ""
        self.code = ""
        self.failure = ""

    @property
    def address(self) -> str:
        """The client's address; "" when it cannot be known."""
        return client_address(self._scope, self._trusted)

    async def answer(self, call: Call, id: str, receive: Receive) -> Reply:
        """Carry a call out. Every error becomes an answer."""
        try:
            tenant = await self._who()
            if not call.commands:
                call.permit(tenant)
            headers = self.headers
            body = await read_body(receive, headers)
            if call.commands:
                if relay.is_command(body):
                    return await self._carry_out(tenant, body)
                call.permit(tenant)
            fields = read_fields(body, headers.get(b"content-type", b""), self._scope["query_string"] or b"")
            key = headers.get(b"idempotency-key", b"").decode("latin-1")
            asked = Asked(self._parts, tenant, fields, id, key)
            return success(await call.run(asked), self.id, call.done)
        except Unauthorized as error:
            if call.commands and await self._has_command(receive):
                return self._refuse_relayed(error)
            return self.refuse(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            return self.refuse(error, missing=call.missing)

    async def relayed(self, receive: Receive) -> Reply:
        """Answer at a door of relay clients. Every error becomes an answer of their kind."""
        try:
            tenant = await self._who()
            if self._scope["method"] not in relay.METHODS:
                return self._said(relay.unknown_method(self.id))
            body = await read_body(receive, self.headers)
        except Exception as error:  # noqa: BLE001 - as above
            return self._refuse_relayed(error)
        return await self._carry_out(tenant, body)

    async def _has_command(self, receive: Receive) -> bool:
        """Whether somebody unknown sent one, to whom an old answer is due."""
        try:
            return relay.is_command(await read_body(receive, self.headers))
        except BodyRefused:
            return False

    async def _carry_out(self, tenant: Tenant, body: bytes) -> Reply:
        try:
            return self._said(await relay.carry_out(self._parts.relay, tenant, body, self.id))
        except Exception as error:  # noqa: BLE001 - as above
            return self._refuse_relayed(error)

    def _refuse_relayed(self, error: Exception) -> Reply:
        self._note(error)
        return self._said(relay.refusal(error, self.id))

    def _said(self, reply: Reply) -> Reply:
        self.code = reply.code
        return reply

    async def _who(self) -> Tenant:
        """Raises: Unauthorized, Limited, Busy."""
        authenticator, header = self._parts.authenticator, self.headers.get(b"authorization")
        tenant = authenticator.known(header)
        if tenant is None:
            tenant = await authenticator.tenant(header, client_prefix(self.address))
        self.tenant = tenant.name
        return tenant

    def refuse(self, error: Exception, *, missing: int = 404) -> Reply:
        """The answer to an error; one that should not happen is noted for the log."""
        self._note(error)
        return self._said(refusal(error, self.id, problem=self.problem, missing=missing))

    def _note(self, error: Exception) -> None:
        if not isinstance(error, (RequestError, Busy)):
            self.failure = described(error)

    def log(self, route: str, status: int) -> None:
        """Write the request's line."""
        line = RequestLine(
            request_id=self.id.decode(),
            method=self._scope["method"],
            route=route,
            status=status,
            seconds=time.perf_counter() - self._began,
            tenant=self.tenant,
            client=masked(self.address),
            code=self.code,
            failure=self.failure,
        )
        self._parts.log(line)


def described(error: BaseException) -> str:
    """An exception's kind and where it passed, without its words and without any value (SECURITY 22, 27)."""
    frames = traceback.extract_tb(error.__traceback__)[: -_PLACES - 1 : -1]
    places = [f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return f"{type(error).__qualname__} at {' < '.join(places)}"
