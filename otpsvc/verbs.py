"""What can be done here, put together once for every door: HTTP, relay clients and feeders."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from otpsvc.address import AddressKind
from otpsvc.blocking import BlockList
from otpsvc.config import Config
from otpsvc.hashpool import Cost, HashPool
from otpsvc.keyring import Keyring
from otpsvc.oldcode import CodeDesk
from otpsvc.relay import Relay
from otpsvc.stores.errand import Errands
from otpsvc.stores.redis import RedisStore
from otpsvc.submit import Defaults, Submitter
from otpsvc.verification import Verifications
from otpsvc.verify import Verifier
from otpsvc.ways import Outlet


class Verbs(Struct, frozen=True, kw_only=True):
    """Each does its part for any tenant; who may do what is the door's to know."""

    verifier: Verifier
    submitter: Submitter
    blocks: BlockList
    lines: Errands
    relay: Relay

    @classmethod
    def of(
        cls,
        store: RedisStore,
        keyring: Keyring,
        *,
        config: Callable[[], Config],
        kinds: Mapping[str, AddressKind],
        outlet: Outlet,
        codes: HashPool,
        cost: Cost,
    ) -> Verbs:
        """`config` is asked each time, and `kinds` is changed in place: a reload changes them.

        `root_url` is that of the start.
        """
        verifier = Verifier(
            store=store,
            keyring=keyring,
            kinds=kinds,
            outbox=outlet,
            pool=codes,
            root_url=config().app.root_url,
            cost=cost,
        )
        submitter = Submitter(store, keyring, kinds, wake=outlet.wake, defaults=lambda: _defaults(config()))
        blocks, lines = BlockList(store, keyring), Errands(store, keyring)
        relay = Relay(
            submitter=submitter,
            blocks=blocks,
            codes=CodeDesk(verifier, submitter),
            verifications=Verifications(verifier),
            lines=lines,
            channels=lambda route: config().routes.get(route, (route,)),
        )
        return cls(verifier=verifier, submitter=submitter, blocks=blocks, lines=lines, relay=relay)


def _defaults(config: Config) -> Defaults:
    return Defaults(sms=config.relay.sms, mail=config.relay.mail, life=config.relay.life)
