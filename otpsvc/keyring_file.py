"""The file that holds the keyring: read, made, rotated; never half written, never readable by others.

[index]
secret = "…"                    64 hex digits; does not rotate

[[keys]]                        one or more
id = "a1b2c3d4"
state = "active"                accept -> active -> accept -> retired
created = "2026-11-23T08:00:00Z"
secret = "…"                    64 hex digits; empty once retired
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, structs

from otpsvc.errors import KeyringError
from otpsvc.keyring import KeyEntry, Keyring

_SECRET = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8}")
_STATES = ("accept", "active", "retired")
#: What no date has.
_ODD = re.compile(r"[^0-9A-Za-z:+. -]")
#: Bytes of a keyring file.
_MOST = 1_048_576
_HEAD = """\
# The keys that every code, every sealed value and every digest in the store hangs on.
# Without this file nothing in the store can be used; with it and the store, all can be read.
# Keep a copy apart from the store's. Change it by `otpsvc keys` alone.
"""


class Contents(Struct, frozen=True):
    """What the file holds. Its repr shows no secret."""

    index: str
    keys: tuple[KeyEntry, ...]

    def __repr__(self) -> str:
        return f"Contents({len(self.keys)} keys)"

    __str__ = __repr__

    def keyring(self) -> Keyring:
        """Raises: KeyringError."""
        return Keyring(bytes.fromhex(self.index), self.keys)


def load(path: Path) -> Keyring:
    """The keyring of this file. Raises: KeyringError, which says what to do."""
    return read(path).keyring()


def read(path: Path) -> Contents:
    """The file's content, checked. Raises: KeyringError, which says what to do."""
    try:
        with path.open("rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            text = file.read(_MOST).decode()
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise KeyringError(
            f"there is no keyring at {path}: copy the one of the other nodes there, or make a new one"
            " with `otpsvc keys create`"
        ) from None
    except OSError as error:
        raise KeyringError(f"the keyring {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise KeyringError(f"the keyring {path} is no valid TOML: bring back a copy of it") from None
    return _contents(tables, path)


def create(path: Path) -> Contents:
    """Make a keyring with one active key, never over an existing file.

    Of two who do it at once, one wins. Raises: KeyringError.
    """
    contents = Contents(secrets.token_hex(32), (_new_key("active", ()),))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _written(path, contents) as temporary:
            # Unlike a rename, a link never replaces what another has made meanwhile.
            os.link(temporary, path)
    except FileExistsError:
        raise KeyringError(f"there is a keyring at {path} already: it was left as it is") from None
    except OSError as error:
        raise KeyringError(f"the keyring {path} cannot be written: {error.strerror}") from None
    return contents


def add(path: Path) -> KeyEntry:
    """Add a key that is accepted and not yet used. Raises: KeyringError."""

    def added(old: Contents) -> Contents:
        return structs.replace(old, keys=(*old.keys, _new_key("accept", old.keys)))

    return _change(path, added).keys[-1]


def activate(path: Path, id: str) -> KeyEntry:
    """Use this key for what is made from now on; the one before stays accepted. Raises: KeyringError."""

    def activated(old: Contents) -> Contents:
        if _find(old, id, path).state == "retired":
            raise KeyringError(f"the key {id} is retired, its secret is gone: activate another")
        return structs.replace(old, keys=tuple(_as_active(key, id) for key in old.keys))

    return _find(_change(path, activated), id, path)


def retire(path: Path, id: str) -> KeyEntry:
    """Destroy the secret of a key: what was made with it is void from now on. Raises: KeyringError."""

    def retired(old: Contents) -> Contents:
        if _find(old, id, path).state == "active":
            raise KeyringError(f"the key {id} is the active one: activate another key first")
        keys = (structs.replace(k, state="retired", secret="") if k.id == id else k for k in old.keys)
        return structs.replace(old, keys=tuple(keys))

    return _find(_change(path, retired), id, path)


def _as_active(key: KeyEntry, id: str) -> KeyEntry:
    if key.id == id:
        return structs.replace(key, state="active")
    return structs.replace(key, state="accept") if key.state == "active" else key


def _find(contents: Contents, id: str, path: Path) -> KeyEntry:
    for key in contents.keys:
        if key.id == id:
            return key
    known = ", ".join(f"{key.id} ({key.state})" for key in contents.keys)
    raise KeyringError(f"there is no key {id!r} in {path}: there are {known}")


def _new_key(state: str, others: tuple[KeyEntry, ...]) -> KeyEntry:
    taken = {key.id for key in others}
    id = next(id for id in iter(lambda: secrets.token_hex(4), "") if id not in taken)
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return KeyEntry(id, state, created, secrets.token_hex(32))


# Reading


def _check_private(path: Path, found: os.stat_result) -> None:
    """Refuse a file that others may read. What systemd hands over (LoadCredential) is its business."""
    if not found.st_mode & 0o077:
        return
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials and path.resolve().is_relative_to(Path(credentials).resolve()):
        return
    raise KeyringError(f"others than its owner may read or change the keyring: chmod 600 {path}")


def _contents(tables: dict[str, object], path: Path) -> Contents:
    index, keys = tables.get("index"), tables.get("keys")
    if not isinstance(index, dict) or not isinstance(keys, list) or not keys:
        raise KeyringError(f"the keyring {path} lacks [index] or [[keys]]: bring back a copy of it")
    contents = Contents(_secret(index.get("secret"), path), tuple(_entry(key, path) for key in keys))
    if len({key.id for key in contents.keys}) < len(contents.keys):
        raise KeyringError(f"the keyring {path} holds two keys of one id: bring back a copy of it")
    contents.keyring()
    return contents


def _entry(table: object, path: Path) -> KeyEntry:
    if not isinstance(table, dict):
        raise KeyringError(f"the keyring {path} holds keys that are no tables: bring back a copy of it")
    id, state, created = (table.get(name, "") for name in ("id", "state", "created"))
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise KeyringError(f"the keyring {path} holds a key whose id is not 8 hex digits")
    if state not in _STATES:
        raise KeyringError(f"the key {id} in {path} has a state other than {', '.join(_STATES)}")
    secret = "" if state == "retired" else _secret(table.get("secret"), path)
    return KeyEntry(id, state, _ODD.sub("", str(created)), secret)


def _secret(value: object, path: Path) -> str:
    if isinstance(value, str) and _SECRET.fullmatch(value):
        return value
    raise KeyringError(
        f"the keyring {path} holds a secret that is not 64 hex digits: bring back a copy of it"
    )


# Writing


def _change(path: Path, change: Callable[[Contents], Contents]) -> Contents:
    """Replace the file by a changed one, at once. Raises: KeyringError."""
    # A link stays a link: what it points to is replaced.
    path = Path(os.path.realpath(path))
    try:
        with _locked(path.parent):
            new = change(read(path))
            with _written(path, new) as temporary:
                temporary.replace(path)
    except OSError as error:
        raise KeyringError(f"the keyring {path} cannot be changed: {error.strerror}") from None
    return new


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One change at a time: of two rotations at once none is lost."""
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _written(path: Path, contents: Contents) -> Iterator[Path]:
    """A temporary file (0600) beside `path` with this content on disk; gone afterwards."""
    handle, name = tempfile.mkstemp(prefix=".keyring-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            _keep_owner(path, handle)
            file.write(_text(contents))
            file.flush()
            os.fsync(handle)
        yield temporary
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _keep_owner(path: Path, handle: int) -> None:
    """Root may rotate the keys of a service that runs as another user."""
    if os.geteuid() == 0:
        old = (path if path.exists() else path.parent).stat()
        os.fchown(handle, old.st_uid, old.st_gid)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(contents: Contents) -> str:
    blocks = [_HEAD, f'[index]\nsecret = "{contents.index}"\n']
    for key in contents.keys:
        fields = {name: getattr(key, name) for name in ("id", "state", "created", "secret")}
        blocks.append("[[keys]]\n" + "".join(f'{name} = "{value}"\n' for name, value in fields.items()))
    return "\n".join(blocks)
