"""The `[feeders.NAME]` tables: whose commands they are, and what they may."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping

from otpsvc.config.plugin import PluginReader
from otpsvc.config.reading import Reader, each
from otpsvc.config.words import Key, quoted
from otpsvc.feeder import FeederConfig
from otpsvc.parcel import SECRET_MIN
from otpsvc.tenant import Tenant

#: The `Config` class of a feeder type. Raises: ConfigError, LookupError, ImportError.
FeederTypes = Callable[[str], type[FeederConfig]]
#: Looks at files and packages. Raises: ConfigError.
CheckFeeder = Callable[[FeederConfig], None]


class FeederReader(PluginReader[FeederConfig]):
    """Makes the configs of feeders. `ways`: names of channels and routes."""

    section, noun, example = "feeders", "feeder", "rabbitmq"

    def __init__(
        self,
        reader: Reader,
        *,
        types: FeederTypes,
        check: CheckFeeder | None,
        tenants: Mapping[str, Tenant],
        ways: Collection[str],
    ) -> None:
        super().__init__(reader, types=types, check=check)
        self._tenants = tenants
        self._ways = ways

    def _check(self, config: FeederConfig, key: Key) -> None:
        tenant = self._tenants.get(config.tenant)
        if tenant is None:
            # That the tenant's own table is wrong is another problem.
            if not self._reader.is_wrong(("tenants", config.tenant)):
                known = ", ".join(sorted(self._tenants)) or "there are none"
                self._reader.wrong_value((*key, "tenant"), f"a tenant ({known})", config.tenant)
            return
        way = config.channel
        if way and (way not in self._ways or not tenant.may_use(way)):
            known = ", ".join(sorted(one for one in self._ways if tenant.may_use(one))) or "there are none"
            self._reader.wrong_value((*key, "channel"), f"a channel or route of its tenant ({known})", way)
        for name, scope in config.wanted_scopes().items():
            if scope not in tenant.scopes:
                self._reader.wrong((*key, name), f'the scope "{scope}" in tenants.{config.tenant}.scopes')
        if config.secret and config.secret_file:
            self._reader.wrong((*key, "secret"), "secret or secret_file", "both")
        elif 0 < len(config.secret) < SECRET_MIN:
            self._reader.wrong((*key, "secret"), f"at least {SECRET_MIN} characters")

    def _warn(self, config: FeederConfig, key: Key) -> None:
        if getattr(config, "insecure", False):
            self._reader.warn((*key, "insecure"), "texts and the login may travel in clear text")
        if any(not pattern.strip("*") for pattern in config.replies):
            self._reader.warn(
                (*key, "replies"), "answers may go anywhere, also to where others take commands"
            )


def check_replies(reader: Reader, feeders: Mapping[str, FeederConfig]) -> None:
    """An answer that goes to where a feeder takes commands would be one, and be answered."""
    for name, feeder in feeders.items():
        others = {other: one for other, one in feeders.items() if one.type == feeder.type}
        for key, pattern in each(("feeders", name, "replies"), feeder.replies):
            if not pattern.strip("*"):
                # Told of already.
                continue
            if found := _named(pattern, others):
                words = "queues or topics that no feeder has"
                reader.wrong(key, words, f"{quoted(pattern)}, which feeders.{found} has")
            elif found := _fitting(pattern, others):
                reader.warn(key, f"{quoted(pattern)} fits what feeders.{found} has: no answer goes there")


def _named(place: str, feeders: Mapping[str, FeederConfig]) -> str:
    """The feeder that has this very place."""
    if set(place) & set("*?["):
        return ""
    return next((name for name, one in feeders.items() if one.has(name, place)), "")


def _fitting(pattern: str, feeders: Mapping[str, FeederConfig]) -> str:
    """The first feeder with a place that fits the pattern."""
    places = [(name, place) for name, one in feeders.items() for place in one.sources(name)]
    return next((name for name, place in places if fnmatch.fnmatchcase(place, pattern)), "")
