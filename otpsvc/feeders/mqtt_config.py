"""The `[feeders.NAME]` tables with `type = "mqtt"`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult

from msgspec import Meta

from otpsvc.broker_url import MqttPlace, broker_of, check_clear, check_login, check_trust, split_url
from otpsvc.feeder import FeederConfig
from otpsvc.feeders.mqtt_topics import is_filter, is_level, is_topic, matches
from otpsvc.spot import Spot
from otpsvc.tenant import Scope

_PATTERN_MAX = 500
_CLIENT_ID = re.compile(r"[!-~]{1,128}")
#: The keys of topics that we publish to.
_OUTGOING = ("incoming_topic", "status_topic", "heartbeat_topic", "presence_topic", "answer_topic")
#: Stand for a name that is not known yet.
_ANY = "x"


class MqttConfig(FeederConfig, MqttPlace, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[feeders.NAME]` with `type = "mqtt"`. An empty topic is not published to."""

    #: mqtt://HOST:PORT or mqtts://HOST:PORT, without a password in it.
    url: str
    #: Allow mqtt:// to another machine.
    insecure: bool = False
    username: str = ""
    password: str = ""
    password_file: str = ""
    #: PEM file of the authorities to trust; empty: the system's.
    ca_file: str = ""
    #: The broker keeps our messages under it while we are away; empty: otpsvc-NAME-GATEWAY.
    client_id: str = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    #: The name of this gateway in topics; empty: the table's name.
    gateway: str = ""
    #: Where commands come from; may hold wildcards.
    topic: str = "smsoutnew/{gateway}"
    #: Take requests that the broker kept with the retain flag, when it does not know us yet.
    retained: bool = False
    #: Where texts that came in are published, such as mqttsmsgw/{gateway}.
    incoming_topic: str = ""
    #: Find a code in them and publish it as the field code.
    extract_code: bool = False
    #: What a code looks like; with a group: the group. Empty: as `otpsvc.code_word` finds it.
    code_pattern: str = ""
    #: Where the states of a message are published; {id}: the id it was sent with.
    status_topic: str = "smsstatus/{id}"
    heartbeat_topic: str = "smsgwheartbeat/{gateway}"
    #: Seconds between two heartbeats.
    heartbeat: Annotated[float, Meta(ge=1)] = 60.0
    #: Holds online or offline, retained.
    presence_topic: str = "smsgwpresence/{gateway}"
    #: Where answers go to commands that name no place for them.
    answer_topic: str = ""
    #: Seconds of silence before a sign of life is asked for.
    keepalive: Annotated[int, Meta(ge=1, le=65_535)] = 30

    def __post_init__(self) -> None:
        check_trust(_check_url(self.url, insecure=self.insecure), self.ca_file)
        check_login(self, alone=True)
        if self.client_id and not _CLIENT_ID.fullmatch(self.client_id):
            raise ValueError("client_id: expected 1 to 128 visible ASCII characters")
        if self.gateway and not is_level(self.gateway):
            raise ValueError("gateway: expected letters, digits and ._~:@=,-")
        _check_topics(self)
        if self.code_pattern:
            _check_pattern(self.code_pattern)

    def takes(self, name: str, spot: Spot) -> bool:
        return spot.broker == broker_of(self.url) and not spot.exchange and self.has(name, spot.name)

    def client(self, name: str) -> Spot | None:
        return Spot(broker_of(self.url), self.client_name(name))

    def client_name(self, name: str) -> str:
        """With the gateway: two boxes at one broker may have tables of one name, and are two clients."""
        own = self.gateway or name
        return self.client_id or (f"otpsvc-{name}" if own == name else f"otpsvc-{name}-{own}")

    def sources(self, name: str) -> tuple[str, ...]:
        return (fill(self.topic, self.gateway or name),)

    def has(self, name: str, place: str) -> bool:
        return matches(self.sources(name)[0], place)

    def wanted_scopes(self) -> dict[str, Scope]:
        return {"incoming_topic": "inbox"} if self.incoming_topic else {}

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec's own shows every field, the password too.
        return [("host", self.host), ("port", self.port)]

    def __repr__(self) -> str:
        return f"MqttConfig(host={self.host!r}, port={self.port})"

    __str__ = __repr__


def fill(topic: str, gateway: str, id: str = "") -> str:
    return topic.replace("{gateway}", gateway).replace("{id}", id)


def _check_url(url: str, *, insecure: bool) -> SplitResult:
    """Raises: ValueError, which does not repeat the URL."""
    expected = "url: expected mqtt://HOST:PORT or mqtts://HOST:PORT"
    parts = split_url(url, plain="mqtt", expected=expected)
    if "@" in parts.netloc:
        raise ValueError("url: expected no password in it; use username and password")
    if not url.isascii() or parts.path.strip("/") or "?" in url or "#" in url:
        raise ValueError(expected)
    check_clear(parts, insecure=insecure)
    return parts


def _check_topics(config: MqttConfig) -> None:
    gateway = config.gateway or _ANY
    wanted = fill(config.topic, gateway)
    if not is_filter(wanted) or "{id}" in config.topic:
        raise ValueError("topic: expected a topic to subscribe to")
    for key in _OUTGOING:
        topic: str = getattr(config, key)
        if not topic:
            continue
        if "{id}" in topic and key != "status_topic":
            raise ValueError(f"{key}: expected no {{id}}")
        filled = fill(topic, gateway, _ANY)
        if not is_topic(filled):
            raise ValueError(f"{key}: expected a topic without + and #")
        if matches(wanted, filled):
            raise ValueError(f"{key}: expected another topic than the one that commands come from")


def _check_pattern(pattern: str) -> None:
    try:
        found = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        raise ValueError("code_pattern: expected a regular expression") from None
    if len(pattern) > _PATTERN_MAX or found.groups > 1 or found.fullmatch(""):
        words = f"code_pattern: expected at most {_PATTERN_MAX} characters and one group, matching something"
        raise ValueError(words)
