"""The `[app]` and `[redis]` tables: where the service listens, lives, logs and keeps its state."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from otpsvc.config.reading import Reader, each
from otpsvc.config.values import Listen, is_private_url, read_proxy, read_redis_url, read_root_url
from otpsvc.config.words import Key


class Tls(Struct, frozen=True, kw_only=True):
    """`[app.tls]`: PEM files of the certificate chain and its key."""

    cert: Path
    key: Path


class App(Struct, frozen=True, kw_only=True):
    """`[app]`: where the service listens, lives and logs. Paths are whole once they are read."""

    listen: tuple[Listen, ...] = (Listen("127.0.0.1", 9000),)
    #: Metrics and detailed health; None: off.
    admin_listen: Listen | None = Listen("127.0.0.1", 9001)
    #: What links to the pages begin with; no slash at the end.
    root_url: str = "http://localhost:9000"
    data_dir: Path = Path("data")
    #: Empty in the file: `data_dir/keyring.toml`; once read always a path.
    keyring: Path = Path()
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    #: Networks (`10.0.0.0/8`) whose word about the client's address counts; `unix`: unix sockets.
    trusted_proxies: tuple[str, ...] = ()
    log: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    tls: Tls | None = None


class Redis(Struct, frozen=True, kw_only=True):
    """`[redis]`: the store; an empty url is the embedded one."""

    url: str = ""
    durability: Literal["always", "everysec", "managed", "none"] = "always"

    def __repr__(self) -> str:
        return f"Redis(durability={self.durability!r})"

    __str__ = __repr__


class AppReader:
    """Applies the rules of the two tables."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def app(self, table: object) -> App:
        """`[app]` with whole paths."""
        app = self._reader.struct(App, table, ("app",)) or App()
        data_dir = self._reader.path(app.data_dir)
        # Path() is how a path reads the empty string.
        keyring = data_dir / "keyring.toml" if app.keyring == Path() else self._reader.path(app.keyring)
        self._check_listeners(app)
        return structs.replace(
            app,
            listen=tuple(self._whole(listen) for listen in app.listen),
            admin_listen=app.admin_listen and self._whole(app.admin_listen),
            root_url=self._root_url(app.root_url),
            data_dir=data_dir,
            keyring=keyring,
            trusted_proxies=self._trusted_proxies(app),
            tls=app.tls and self._tls(app.tls),
        )

    def redis(self, table: object) -> Redis:
        """`[redis]`."""
        redis = self._reader.struct(Redis, table, ("redis",)) or Redis()
        words = "a URL such as redis://, rediss://, unix:// or redis+sentinel:// (empty: the embedded store)"
        self._reader.refine(("redis", "url"), words, redis.url, read_redis_url)
        key: Key = ("redis", "durability")
        if redis.durability == "none":
            self._reader.warn(key, "after a crash of the store used codes may be valid again")
        elif redis.durability != "always" and not redis.url:
            self._reader.warn(key, "has no effect without redis.url: the embedded store always writes")
        return redis

    def _whole(self, listen: Listen) -> Listen:
        return Listen(path=str(self._reader.path(listen.path))) if listen.path else listen

    def _check_listeners(self, app: App) -> None:
        if not app.listen:
            self._reader.wrong(("app", "listen"), "at least one address", "none")
        if len(set(app.listen)) < len(app.listen):
            self._reader.wrong(("app", "listen"), "different addresses", "one of them twice")
        admin = app.admin_listen
        if admin in app.listen:
            self._reader.wrong(("app", "admin_listen"), "an address that is not in app.listen", f'"{admin}"')
        if admin and not admin.is_local():
            self._reader.warn(("app", "admin_listen"), "other machines can read metrics and health")

    def _root_url(self, url: str) -> str:
        key: Key = ("app", "root_url")
        words = "an http(s) URL without user, query and fragment"
        read = self._reader.refine(key, words, url, read_root_url)
        if read and not is_private_url(read):
            self._reader.warn(key, "not https: codes that are typed on the pages travel in clear text")
        return read or url

    def _trusted_proxies(self, app: App) -> tuple[str, ...]:
        key: Key = ("app", "trusted_proxies")
        words = 'a network such as "10.0.0.0/8" (no bits set behind the mask), an address, or "unix"'
        read = [
            self._reader.refine(here, words, proxy, read_proxy)
            for here, proxy in each(key, app.trusted_proxies)
        ]
        if any(proxy and proxy.endswith("/0") for proxy in read):
            self._reader.warn(key, "everybody can choose the address that guards count")
        return tuple(proxy for proxy in read if proxy)

    def _tls(self, tls: Tls) -> Tls:
        """The files with whole paths; that they belong together is seen now, not at the first client."""
        key: Key = ("app", "tls")
        whole = Tls(cert=self._reader.path(tls.cert), key=self._reader.path(tls.key))
        contents = [self._reader.content((*key, name), str(getattr(tls, name))) for name in ("cert", "key")]
        if None in contents:
            return whole
        try:
            # A key with a passphrase would ask for it on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(whole.cert, whole.key, password="")
        except (ssl.SSLError, ValueError, OSError):
            self._reader.wrong(
                key, "a certificate chain and its key, in PEM and without passphrase", "others"
            )
        self._reader.warn_exposed((*key, "key"), tls.key)
        return whole
