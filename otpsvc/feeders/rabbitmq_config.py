"""What a `[feeders.NAME]` table with `type = "rabbitmq"` may say, and what follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta, field
from yarl import URL

from otpsvc.broker_url import broker_of, check_clear, check_login, check_trust, password_of, split_url
from otpsvc.feeder import FeederConfig
from otpsvc.spot import Spot

#: Octets of a short string, such as the name of a queue. (AMQP 0-9-1, 4.2.5.3)
NAME_MAX = 255
#: Messages that a dead-letter queue of ours keeps; the oldest go first.
_DEAD_MAX = 10_000


class RabbitConfig(FeederConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[feeders.NAME]` with `type = "rabbitmq"`."""

    #: "amqps://HOST:PORT/VHOST", or amqp:// to this machine; the login may stand in it.
    url: str
    username: str = ""
    password: str = ""
    password_file: str = ""
    #: The queue to consume from.
    queue: str = "sms"
    #: The queue outlives the broker; false, as the first clients declare it, unless it is a quorum queue.
    durable: bool | None = None
    #: "quorum" is what we recommend: it loses nothing that a publisher saw confirmed.
    queue_type: Literal["", "classic", "quorum"] = ""
    #: Further arguments of the queue's declaration, such as "x-max-length".
    arguments: dict[str, str | int | bool] = field(default_factory=dict)
    #: Make the queue where it is missing; false: it must be there, with whatever settings.
    declare: bool = True
    #: Bind the queue to this exchange, which must be there.
    exchange: str = ""
    #: The keys to bind with; empty: the queue's name.
    routing_keys: tuple[str, ...] = ()
    #: Where refused commands go; empty: "QUEUE.dead"; "-": nowhere, they are only counted.
    dead_letters: str = ""
    #: Seconds that a refused command stays there, as it holds texts and numbers; 0: none are kept.
    dead_letter_life: Annotated[int, Meta(ge=0, le=31_536_000)] = 86_400
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""
    #: Seconds between signs of life; a line is dead after three without.
    heartbeat: Annotated[int, Meta(ge=1, le=600)] = 15
    #: Allow amqp:// to another machine. Certificates are always checked.
    insecure: bool = False

    def __post_init__(self) -> None:
        parts = _check_url(self.url, insecure=self.insecure)
        # One without the other is "guest" to the client.
        if bool(parts.username) != bool(parts.password):
            raise ValueError("expected username together with password or password_file")
        check_login(self, in_url=bool(parts.username))
        check_trust(parts, self.ca_file)
        for key in ("queue", "exchange", "dead_letters"):
            _check_name(getattr(self, key), key=key)
        if not self.queue or self.queue.startswith("amq."):
            raise ValueError('queue: expected a name that does not begin with "amq."')
        if self.dead_queue == self.queue:
            raise ValueError("dead_letters: expected another queue than the one that is consumed")
        if self.routing_keys and not self.exchange:
            raise ValueError("routing_keys: expected only together with exchange")
        if self.queue_type == "quorum" and self.durable is False:
            raise ValueError('durable: expected true, or nothing, with queue_type = "quorum"')
        if self.queue_type and "x-queue-type" in self.arguments:
            raise ValueError('arguments: expected no "x-queue-type" beside queue_type')

    @property
    def dead_queue(self) -> str:
        """Where refused commands go; empty: nowhere."""
        if self.dead_letters == "-" or not self.dead_letter_life:
            return ""
        return self.dead_letters or f"{self.queue}.dead"

    def takes(self, name: str, spot: Spot) -> bool:  # noqa: ARG002 - other types need it
        if spot.broker != broker_of(self.url):
            return False
        if not spot.exchange:
            return spot.name == self.queue
        keys = self.routing_keys or (self.queue,)
        return spot.exchange == self.exchange and any(_is_bound(key, spot.name) for key in keys)

    def sources(self, name: str) -> tuple[str, ...]:  # noqa: ARG002 - other types need it
        return (self.queue,)

    def has(self, name: str, place: str) -> bool:  # noqa: ARG002 - other types need it
        return place in (self.queue, self.dead_queue)

    @property
    def keeps(self) -> bool:
        """The queue outlives the broker."""
        return bool(self.durable) or self.queue_type == "quorum"

    @property
    def declaration(self) -> Mapping[str, str | int | bool]:
        """The arguments with which the queue is declared."""
        return self.arguments | ({"x-queue-type": self.queue_type} if self.queue_type else {})

    @property
    def dead_declaration(self) -> Mapping[str, str | int | bool]:
        """The arguments with which the dead-letter queue is declared: texts must not stay for ever."""
        return {"x-message-ttl": self.dead_letter_life * 1000, "x-max-length": _DEAD_MAX}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the password too.
        return [("host", urlsplit(self.url).hostname), ("queue", self.queue)]

    def __repr__(self) -> str:
        return f"RabbitConfig(host={urlsplit(self.url).hostname!r}, queue={self.queue!r})"

    __str__ = __repr__


def _check_url(url: str, *, insecure: bool) -> SplitResult:
    """Raises: ValueError, which does not repeat the URL."""
    parts = split_url(url, plain="amqp", expected="url: expected amqps://HOST:PORT/VHOST")
    # aiormq would read settings from it, "no_verify_ssl" among them.
    if "?" in url:
        raise ValueError('url: expected no "?"; write such a character as %3F')
    if "/" in parts.path[1:]:
        raise ValueError("url: expected one virtual host; write a slash in its name as %2F")
    check_clear(parts, insecure=insecure)
    return parts


def _check_name(name: str, *, key: str) -> None:
    if len(name.encode()) > NAME_MAX:
        raise ValueError(f"{key}: expected at most {NAME_MAX} octets")


def _is_bound(key: str, routing_key: str) -> bool:
    """As a topic exchange compares: `*` is a word, `#` any number of them. A direct one wants the same."""
    pattern = re.escape(key).replace(r"\*", r"[^.]+")
    pattern = pattern.replace(r"\.\#", r"(\..+)?").replace(r"\#\.", r"(.+\.)?").replace(r"\#", ".*")
    return re.fullmatch(pattern, routing_key) is not None


def full_url(config: RabbitConfig) -> URL:
    """With login and heartbeat, as aiormq wants it. Raises: ConfigError."""
    url = URL(config.url)
    if config.username:
        url = url.with_user(config.username).with_password(password_of(config))
    return url.with_query({"heartbeat": str(config.heartbeat)})
