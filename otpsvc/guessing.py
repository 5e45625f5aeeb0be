"""One guess at a code: offered under every live key, hashed slowly only where its record asks for it."""

from __future__ import annotations

from otpsvc.errors import KeyNotOffered
from otpsvc.hashpool import HashPool, slow_digest
from otpsvc.keyring import Keyring
from otpsvc.store import Answer, Guess, Offer, Store
from otpsvc.tenant import Limits
from otpsvc.token import Subject

#: The record may be replaced while a code is hashed slowly.
ROUNDS = 3


class Guesser:
    """Asks the store, which alone counts and closes."""

    def __init__(self, store: Store, keyring: Keyring, pool: HashPool) -> None:
        self._store = store
        self._keyring = keyring
        self._pool = pool

    async def guess(
        self,
        of: Subject,
        n: str,
        code: str,
        *,
        limits: Limits,
        client: bytes,
        op: bytes,
        gen: bytes = b"",
        open_most: int = 0,
    ) -> Answer:
        """Evaluate `code`. `client`: what the client is counted by; `gen`, `open_most`: as `Guess`.

        Raises: StoreUnavailable; KeyNotOffered and HashPoolFull, before anything is counted.
        """
        budgets = (limits.wrong_checks_client, limits.wrong_checks, limits.wrong_checks_trusted)
        offers = [Offer("h", kid, digest) for kid, digest in self._keyring.code_digests(*of, code)]
        salt = b""
        for _ in range(ROUNDS):
            answer = await self._store.check(
                Guess(
                    tenant=of.tenant,
                    n=n,
                    op=op,
                    client=client,
                    limits=budgets if limits.enabled else None,
                    offers=offers,
                    salt=salt,
                    gen=gen,
                    open_most=open_most,
                )
            )
            if answer.outcome != "offer" or answer.record is None:
                return answer
            record = answer.record
            key = self._keyring.key(record.kid)
            if not record.slow_hash:
                raise KeyNotOffered
            keyed = self._keyring.code_digest(key, *of, code)
            digest = await self._pool.run(slow_digest, keyed, record.salt)
            offers, salt = [*offers, Offer("a", record.kid, digest)], record.salt
        raise KeyNotOffered
