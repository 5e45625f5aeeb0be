"""What the doors are made of: the parts that `app.py` puts together, and what they report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from otpsvc.blocking import BlockList
from otpsvc.http.auth import Authenticator
from otpsvc.inbox import Inbox
from otpsvc.lines import Lines
from otpsvc.relay import Relay
from otpsvc.standing import FeederHealth
from otpsvc.submit import Submitter
from otpsvc.tenant import Tenant
from otpsvc.verify import Verifier


class RequestLine(Struct, frozen=True, kw_only=True):
    """One answered request, for logs and metrics: no id, no query, no body, no full address.

    `route` is the template (`/api/otp/{id}`), `?` for paths that we do not know.
    `client` is masked. `code` is the stable word of a refusal. `failure` is set for
    what should not happen: the kind of the exception and the places it passed,
    without its words, which may quote what nobody should read.
    """

    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    tenant: str = ""
    client: str = ""
    code: str = ""
    failure: str = ""


class ChannelHealth(Struct, frozen=True):
    """What a channel's ping said, and how long (seconds) it took."""

    ok: bool
    detail: str
    seconds: float = 0.0


class Health(Struct, frozen=True, kw_only=True):
    """How the service is, in detail. `ok` is the store's word alone: a far end that is down is no reason
    to take this node out of service.

    `channels` are those of this process, `feeders` those of all nodes.
    """

    ok: bool
    store: str
    channels: Mapping[str, ChannelHealth]
    feeders: Mapping[str, FeederHealth] = {}
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str]


class Parts(Struct, frozen=True, kw_only=True):
    """`tenants` is asked for every request: it may be reloaded. `health.examine` makes a `health`.

    `metrics` answers the Prometheus text format. `titles`: what ways out are called, where
    the config says so. `trusted_proxies` as the config has
    them. `open_docs` shows the API's documentation on the public listener too.
    """

    verifier: Verifier
    tenants: Callable[[], Mapping[str, Tenant]]
    authenticator: Authenticator
    health: Callable[[], Awaitable[Health]]
    metrics: Callable[[], bytes]
    log: Callable[[RequestLine], None]
    root_url: str
    #: Runs the commands of relay clients, who knock at `relay_paths`.
    relay: Relay
    relay_paths: tuple[str, ...] = ()
    submitter: Submitter
    blocks: BlockList
    inbox: Inbox
    lines: Lines
    titles: Mapping[str, str] = {}
    trusted_proxies: tuple[str, ...] = ()
    open_docs: bool = False
