"""Final states as signed POSTs to the URL of the tenant whom they concern (Standard Webhooks)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from otpsvc.address import ANY
from otpsvc.channel import Channel, ChannelConfig
from otpsvc.errors import Refused
from otpsvc.message import Message, Receipt, Report
from otpsvc.tenant import Tenant

if TYPE_CHECKING:
    from otpsvc.channels.poster import Poster, Signer

#: Seconds for one attempt. (Standard Webhooks, operational considerations: 15 to 30)
TIMEOUT = 15.0


class CallbackConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Not for config files: every tenant's callback goes out here."""

    type: str = "callback"
    timeout: float = TIMEOUT
    concurrency: int = 64


class Callback(Channel):
    """Posts an event, whose text is its body, where its tenant wants it.

    `tenants` is asked for every event: URL and secret may be changed by a reload.
    """

    Config = CallbackConfig
    address = ANY

    def __init__(
        self,
        config: Any,
        report: Report,
        *,
        tenants: Callable[[], Mapping[str, Tenant]],
    ) -> None:
        super().__init__(config, report)
        self._tenants = tenants
        self._poster: Poster | None = None
        self._signers: dict[str, Signer] = {}

    async def __aenter__(self) -> Self:
        if any(tenant.callback_url for tenant in self._tenants().values()):
            await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        poster, self._poster = self._poster, None
        if poster is not None:
            await poster.__aexit__(kind, error, trace)

    async def send(self, message: Message) -> Receipt:
        """Raises: Refused (also when the tenant wants no events any more), Unavailable, Uncertain."""
        tenant = self._tenants().get(message.tenant)
        if tenant is None or not tenant.callback_url:
            # The one reason for which an event is given up at once.
            raise Refused("HTTP 410")
        poster = self._poster or await self._open()
        await poster.post(
            tenant.callback_url,
            message.text.encode(),
            message_id=message.id,
            signer=self._signer(tenant.callback_secret),
        )
        return Receipt()

    async def _open(self) -> Poster:
        # An HTTP client takes a while to import; without callbacks nobody waits for it.
        from otpsvc.channels.poster import Poster

        poster = self._poster = Poster(connections=self.config.concurrency)
        return await poster.__aenter__()

    def _signer(self, secret: str) -> Signer | None:
        from otpsvc.channels.poster import Signer

        if not secret:
            return None
        signer = self._signers.get(secret)
        if signer is None:
            # Changed secrets are few; those of removed tenants must not stay for ever.
            if len(self._signers) >= 1000:
                self._signers.clear()
            signer = self._signers[secret] = Signer(secret)
        return signer
