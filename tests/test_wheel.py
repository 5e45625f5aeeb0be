"""The wheel holds all that runs, and what it needs is pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """What the command printed; it sees no checkout and nobody's settings."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OTPSVC_"))}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def shipped(folder: str, pattern: str = "*") -> set[str]:
    """The files of the checkout that belong into the wheel, named as in it."""
    files = (path for path in (ROOT / folder).rglob(pattern) if path.is_file())
    named = {path.relative_to(ROOT).as_posix() for path in files if not path.name.startswith(".")}
    return {name if folder == "otpsvc" else f"otpsvc/{name}" for name in named if "__pycache__" not in name}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation")
    run(sys.executable, *build, "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment: otpsvc from its wheel, the other packages from the environment of the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    into = ("-m", "pip", "--python", python, "install")
    run(sys.executable, *into, "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    # As a plain path: the .pth files over there, which name the checkout, do not count.
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_code_scripts_pages_and_widget(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())

    assert shipped("otpsvc", "*.py") <= names
    assert shipped("otpsvc", "*.lua") <= names
    assert shipped("web") <= names
    assert {name for name in shipped("js", "*.js") if "test" not in name} <= names


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0] for name in names} == {"otpsvc", f"{wheel.name.split('-py3')[0]}.dist-info"}
    assert [name for name in names if "node_modules" in name or "__pycache__" in name] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_is_not_the_checkout_that_runs_elsewhere(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"

    where = run(python, "-c", "import otpsvc; print(otpsvc.__file__)", cwd=elsewhere)

    assert Path(where).is_relative_to(elsewhere)


def test_the_command_says_its_version(elsewhere: Path) -> None:
    assert run(elsewhere / "venv" / "bin" / "otpsvc", "--version", cwd=elsewhere) == "otpsvc 0.1.0"


def test_the_command_checks_the_sample_config(elsewhere: Path) -> None:
    shutil.copy(ROOT / "config.sample.toml", elsewhere)

    run(elsewhere / "venv" / "bin" / "otpsvc", "check", "--config", "config.sample.toml", cwd=elsewhere)


def pins(file: str) -> dict[str, str]:
    """Name to version."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_pins_have_hashes_and_name_no_registry(file: str) -> None:
    text = (ROOT / file).read_text()

    assert text.count("==") >= len(pins(file)) > 40
    assert re.findall(r"^[a-z0-9].*==.*[^\\]$", text, re.MULTILINE) == []  # a hash follows
    assert re.findall(r"://|^-|index", text, re.MULTILINE) == []


def test_tests_run_with_the_versions_that_users_get() -> None:
    tested = pins("requirements-dev.txt")

    assert {name: tested.get(name) for name in pins("requirements.txt")} == pins("requirements.txt")
