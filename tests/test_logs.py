"""What a log may never hold is planted everywhere, in both renderers, at the level of debug."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from otpsvc import logs
from otpsvc.errors import KeyringError, StoreUnavailable
from otpsvc.message import Message
from otpsvc.tenant import Secret
from tests.logging_rig import as_before

CODE, ADDRESS = "482913", "ann@shop.example"
Style = Literal["json", "console"]


@pytest.fixture(params=["json", "console"])
def out(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """All that is written; afterwards everything is as it was."""
    stream = io.StringIO()
    with as_before():
        logs.configure(request.param, "debug", stream=stream)
        yield stream


@pytest.fixture
def log() -> Any:
    return structlog.get_logger("otpsvc.test")


def fails(code: str) -> None:
    """Has the code as a local, as an argument, in the words of the error and in those of its cause."""
    typed = {"otp": code, "to": ADDRESS}
    try:
        int(code + "x")
    except ValueError as error:
        raise RuntimeError(f"cannot use {typed}") from error


def assert_clean(out: io.StringIO, *expected: str) -> None:
    said = out.getvalue()
    assert CODE not in said
    assert ADDRESS not in said
    for words in expected:
        assert words in said


def test_a_line_and_its_fields(out: io.StringIO, log: Any) -> None:
    log.info("request", route="/api/otp/{id}", status=200)

    said = out.getvalue()
    assert "request" in said
    assert "/api/otp/{id}" in said
    assert "200" in said
    assert said.count("\n") == 1


def test_a_traceback_shows_places_and_kinds_alone(out: io.StringIO, log: Any) -> None:
    try:
        fails(CODE)
    except RuntimeError:
        log.exception("failed")

    assert_clean(out, "failed", "in fails", "ValueError", "then:", "RuntimeError", "test_logs.py")


def test_the_words_of_our_own_errors_are_shown(out: io.StringIO, log: Any) -> None:
    try:
        raise KeyringError("there is no keyring")
    except KeyringError:
        log.exception("failed")

    assert_clean(out, "KeyringError: there is no keyring")


def test_a_group_of_exceptions(out: io.StringIO, log: Any) -> None:
    try:
        raise ExceptionGroup(f"all of {CODE}", [ValueError(CODE), KeyError(ADDRESS)])
    except ExceptionGroup:
        log.exception("failed")

    assert_clean(out, "ExceptionGroup", "| ValueError", "| KeyError")


def test_notes_of_an_exception_are_left_out(out: io.StringIO, log: Any) -> None:
    error = ValueError()
    error.add_note(f"the code was {CODE}")

    log.error("failed", exc_info=error)

    assert_clean(out, "ValueError")


@pytest.mark.parametrize("name", ["code", "otp", "to", "address", "text", "secret", "authorization", "html"])
def test_nothing_is_shown_under_a_telling_name(out: io.StringIO, log: Any, name: str) -> None:
    log.warning("said", **{name: f"{CODE} {ADDRESS}"})

    assert_clean(out, name)


@pytest.mark.parametrize(
    "value",
    [
        {"otp": CODE},
        [CODE],
        CODE.encode(),
        Message(id="m", to=ADDRESS, text=CODE, expires=0.0),
        Secret(CODE, plain=True),
        ValueError(CODE),
        (CODE, ADDRESS),
    ],
)
def test_a_value_that_is_no_word_or_number_is_its_type(out: io.StringIO, log: Any, value: object) -> None:
    log.warning("said", thing=value)

    assert_clean(out, f"<{type(value).__name__}>")


def test_an_endless_value_is_cut(out: io.StringIO, log: Any) -> None:
    log.info("said", thing="x" * 100_000)

    assert len(out.getvalue()) < 600


def test_lone_surrogates_and_line_ends_stay_one_line(log: Any) -> None:
    stream = io.StringIO()
    with as_before():
        logs.configure("json", "debug", stream=stream)
        log.info("said", thing="a\nb\r\x1b[31m")
        log.info("said", thing="\ud800")

    first, second = stream.getvalue().splitlines()
    assert json.loads(first)["thing"] == "a\nb\r\x1b[31m"
    assert "said" in second


def test_a_line_of_a_library_shows_what_stands_before_its_values(out: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling %s of %s", CODE, ADDRESS)
    logging.getLogger("foreign").warning(f"refused {ADDRESS} with {CODE}")  # noqa: G004

    assert_clean(out, "Error handling", "aiohttp.server", "refused")


def test_a_traceback_of_a_library(out: io.StringIO) -> None:
    try:
        fails(CODE)
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")

    assert_clean(out, "Exception in ASGI application", "in fails", "RuntimeError")


def test_what_libraries_say_below_a_warning_is_not_written(out: io.StringIO) -> None:
    for name in ("asyncio", "aiosmtplib", "uvicorn.error", "hpack"):
        logging.getLogger(name).debug("sending %s", CODE)
        logging.getLogger(name).info("sending")

    assert not out.getvalue()


def test_our_own_modules_may_use_the_standard_library(out: io.StringIO) -> None:
    logging.getLogger("otpsvc.stores.listener").error("listening failed: %s", "ValueError")

    assert_clean(out, "listening failed: ValueError")


async def test_a_task_whose_exception_nobody_retrieved(out: io.StringIO) -> None:
    loop = asyncio.get_running_loop()
    old = loop.get_exception_handler()
    loop.set_exception_handler(logs.on_loop_error)
    try:
        task = asyncio.create_task(asyncio.to_thread(fails, CODE), name=f"check {CODE}")
        await asyncio.wait([task])
        del task
        loop.call_soon(fails, CODE)
        await asyncio.sleep(0.01)
    finally:
        loop.set_exception_handler(old)

    assert_clean(
        out, "Task exception was never retrieved", "Exception in callback", "RuntimeError", "in fails"
    )


def test_what_nobody_caught(out: io.StringIO) -> None:
    try:
        fails(CODE)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=fails, args=(CODE,), name=ADDRESS)
    thread.start()
    thread.join()

    assert_clean(out, "uncaught exception", "in fails")
    assert out.getvalue().count("uncaught exception") == 2


def test_a_log_call_that_cannot_be_formatted(out: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [CODE]
    logging.getLogger("otpsvc.test").error("%d of %s", *arguments)

    assert CODE not in out.getvalue() + capsys.readouterr().err


def test_one_line_of_an_error_for_people() -> None:
    assert logs.brief(ValueError(CODE)) == "ValueError"
    assert logs.brief(FileNotFoundError(2, "No such file or directory", ADDRESS)) == (
        "FileNotFoundError: No such file or directory"
    )
    assert logs.in_words(StoreUnavailable()) == "Unable to reach store."
    assert logs.in_words(KeyringError("no keyring")) == "no keyring"


@pytest.mark.parametrize(("level", "lines"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(log: Any, level: logs.Level, lines: int) -> None:
    stream = io.StringIO()
    with as_before():
        logs.configure("json", level, stream=stream)
        for say in (log.debug, log.info, log.warning, log.error):
            say("said")

    assert stream.getvalue().count("\n") == lines
