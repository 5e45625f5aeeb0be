"""Rules of MQTT's topics (MQTT 3.1.1 and 5, 4.7)."""

from __future__ import annotations

import re

#: What a name or an id may hold where it becomes one level of a topic.
_LEVEL = re.compile(r"[A-Za-z0-9._~:@=,-]{1,200}")
#: Octets of UTF-8 (1.5.3; 1.5.4 in version 5).
_TOPIC_MAX = 65_535


def is_level(text: str) -> bool:
    """True when it can stand in a topic, as one level or a part of it."""
    return _LEVEL.fullmatch(text) is not None


def is_topic(topic: str) -> bool:
    """True when it may be published to by a client: no wildcard, not one of the broker's own (`$…`)."""
    return bool(topic) and _is_text(topic) and not topic.startswith("$") and not set(topic) & {"+", "#"}


def is_filter(wanted: str) -> bool:
    """True when it may be subscribed to: a wildcard fills its level, `#` is the last one."""
    levels = wanted.split("/")
    if not wanted or not _is_text(wanted) or "#" in levels[:-1]:
        return False
    return all(level in ("+", "#") or not set(level) & {"+", "#"} for level in levels)


def matches(wanted: str, topic: str) -> bool:
    """Whether a subscription of `wanted` (also `$share/GROUP/…`) brings what is published to `topic`."""
    levels, names = wanted.split("/"), topic.split("/")
    if levels[0] == "$share":
        levels = levels[2:]
    # (4.7.2)
    if topic.startswith("$") and levels[:1] in (["+"], ["#"]):
        return False
    if levels[-1:] == ["#"]:
        # `a/#` brings `a` too. (4.7.1.2)
        levels, names = levels[:-1], names[: len(levels) - 1]
    return len(levels) == len(names) and all(
        level in ("+", name) for level, name in zip(levels, names, strict=True)
    )


def _is_text(topic: str) -> bool:
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        return False
    return size <= _TOPIC_MAX and "\0" not in topic
