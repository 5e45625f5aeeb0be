"""deploy/otpsvc.service: systemd takes it, and it takes rights away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

UNIT = Path(__file__).parent.parent / "deploy" / "otpsvc.service"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy whose programs exist on every machine (a bare Debian has no kill but the shell's)."""
    copy = tmp_path / "otpsvc.service"
    text = UNIT.read_text().replace("=/opt/otpsvc/bin/otpsvc ", "=/bin/true ")
    copy.write_text(text.replace("=kill ", "=/bin/true "))
    return copy


@pytest.fixture
def analyze(need: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    tool = need("systemd-analyze")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [tool, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)

    return run


def complaints(text: str) -> list[str]:
    """What is said about our unit, not about others that it is ordered after."""
    return [line for line in text.splitlines() if "otpsvc.service" in line]


def test_systemd_accepts_the_unit(
    unit: Path, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)

    assert complaints(done.stderr) == []
    assert done.returncode == 0, done.stderr


def test_a_misspelt_setting_would_be_seen(
    unit: Path, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    unit.write_text(unit.read_text().replace("UMask=", "Umask="))

    done = analyze("verify", "--man=no", "--recursive-errors=no", unit)

    assert "Umask" in done.stderr


def test_it_is_rated_as_well_hardened(
    unit: Path, analyze: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """systemd rates the exposure of a service from 0.0 to 10.0; below 2 is "OK"."""
    done = analyze("security", "--offline=yes", "--threshold=20", "--no-pager", unit)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "ExecStart=/opt/otpsvc/bin/otpsvc serve --config /etc/otpsvc/config.toml",
        "ExecReload=kill -HUP $MAINPID",
        "LimitCORE=0",
        "MemorySwapMax=0",
        "UMask=0077",
        "KillMode=mixed",
    ],
)
def test_what_the_security_page_promises_is_there(line: str) -> None:
    assert line in UNIT.read_text().splitlines()
