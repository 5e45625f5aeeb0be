from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path

import pytest

from otpsvc import keyring_file
from otpsvc.errors import KeyringError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keyring.toml"
    keyring_file.create(path)
    return path


def states(path: Path) -> list[str]:
    return [key.state for key in keyring_file.read(path).keys]


def test_what_was_made_is_read_again(path: Path) -> None:
    first, second = keyring_file.load(path), keyring_file.load(path)

    assert first.active.state == "active"
    assert first.index_check_value() == second.index_check_value()
    assert first.active.check_value() == second.active.check_value()


def test_nobody_else_may_read_it(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["keyring.toml"]


def test_the_mode_holds_under_any_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        keyring_file.create(tmp_path / "new" / "keyring.toml")
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "new" / "keyring.toml").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_an_existing_one_is_never_replaced(path: Path) -> None:
    before = path.read_bytes()

    with pytest.raises(KeyringError, match="already"):
        keyring_file.create(path)

    assert path.read_bytes() == before


def test_of_many_who_make_it_at_once_one_wins(tmp_path: Path) -> None:
    path, won, gate = tmp_path / "keyring.toml", [], threading.Barrier(8)

    def make() -> None:
        gate.wait()
        with contextlib.suppress(KeyringError):
            won.append(keyring_file.create(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert won == [keyring_file.read(path)]


def test_a_missing_one_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="otpsvc keys create"):
        keyring_file.load(tmp_path / "keyring.toml")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660])
def test_one_that_others_may_read_or_write_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)

    with pytest.raises(KeyringError, match=f"chmod 600 {path}"):
        keyring_file.load(path)


def test_what_systemd_hands_over_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))

    assert keyring_file.load(path).active.state == "active"


def test_only_what_lies_there_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path.chmod(0o440)
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))

    with pytest.raises(KeyringError, match="chmod"):
        keyring_file.load(path)


def test_a_rotation_from_end_to_end(path: Path) -> None:
    old = keyring_file.load(path).active

    new = keyring_file.add(path)
    assert states(path) == ["active", "accept"]
    assert keyring_file.load(path).active.name == old.name

    keyring_file.activate(path, new.id)
    assert states(path) == ["accept", "active"]
    assert set(keyring_file.load(path).keys) == {old.kid, bytes.fromhex(new.id)}

    secret = keyring_file.read(path).keys[0].secret
    keyring_file.retire(path, old.name)
    assert states(path) == ["retired", "active"]
    assert secret not in path.read_text()
    assert set(keyring_file.load(path).keys) == {bytes.fromhex(new.id)}


def test_a_rotation_leaves_the_index_key(path: Path) -> None:
    before = keyring_file.load(path).index_check_value()

    keyring_file.activate(path, keyring_file.add(path).id)

    assert keyring_file.load(path).index_check_value() == before


def test_the_active_key_is_not_retired(path: Path) -> None:
    active = keyring_file.load(path).active.name

    with pytest.raises(KeyringError, match="activate another"):
        keyring_file.retire(path, active)

    assert states(path) == ["active"]


def test_a_retired_key_is_not_activated(path: Path) -> None:
    key = keyring_file.add(path)
    keyring_file.retire(path, key.id)

    with pytest.raises(KeyringError, match="retired"):
        keyring_file.activate(path, key.id)


def test_an_unknown_key_is_named_with_those_that_are_known(path: Path) -> None:
    active = keyring_file.load(path).active.name

    with pytest.raises(KeyringError, match=f"'ffff'.*{active}"):
        keyring_file.activate(path, "ffff")


def test_of_many_changes_at_once_none_is_lost(path: Path) -> None:
    threads = [threading.Thread(target=keyring_file.add, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(states(path)) == 9


def test_a_change_follows_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)

    keyring_file.add(link)

    assert link.is_symlink()
    assert states(path) == ["active", "accept"]


def test_a_change_keeps_the_mode(path: Path) -> None:
    keyring_file.add(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


SECRET = "ab" * 32


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lacks"),
        ("x = [", "no valid TOML"),
        (f'[index]\nsecret = "{SECRET}"\n', "lacks"),
        (f'[index]\nsecret = "{SECRET}"\n[[keys]]\nid = "zz"\nstate = "active"', "8 hex digits"),
        (f'[index]\nsecret = "{SECRET}"\n[[keys]]\nid = "aaaaaaaa"\nstate = "on"', "state"),
        (f'[index]\nsecret = "{SECRET}"\n[[keys]]\nid = "aaaaaaaa"\nstate = "active"', "64 hex digits"),
        (
            f'[index]\nsecret = "{SECRET}"\n[[keys]]\nid = "aaaaaaaa"\nstate = "accept"\nsecret = "{SECRET}"',
            "0 active keys",
        ),
        (
            f'[index]\nsecret = "{SECRET}"\n'
            + f'[[keys]]\nid = "aaaaaaaa"\nstate = "active"\nsecret = "{SECRET}"\n' * 2,
            "two keys",
        ),
    ],
)
def test_a_damaged_one_is_refused_without_its_secrets(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keyring.toml"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(KeyringError, match=says) as refused:
        keyring_file.load(path)

    assert SECRET not in str(refused.value)


def test_no_secret_in_a_repr(path: Path) -> None:
    contents = keyring_file.read(path)

    assert contents.index not in f"{contents!r} {contents.keys!r} {contents.keyring()!r}"
    assert contents.keys[0].secret not in f"{contents!r} {contents.keys!r} {contents.keyring()!r}"
