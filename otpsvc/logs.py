"""Log lines: JSON or for people, one writer for ours and for libraries, and nothing secret in them.

What is kept out, and how: values are plain words and numbers, or their type's name; what
stands under a telling name is a dot; tracebacks show places and never variables; the
words of an exception are shown only when it is one of ours, as others quote their data.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import msgspec

# structlog takes rich along where it is installed, for tracebacks that we never print
# (they show variables). Without it a process starts a tenth of a second sooner and is 5 MB smaller.
_HIDES_RICH: Final = "rich" not in sys.modules
if _HIDES_RICH:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog  # noqa: E402

if _HIDES_RICH:
    del sys.modules["rich"]

from otpsvc.errors import Busy, OtpsvcError  # noqa: E402

Style = Literal["json", "console"]
Level = Literal["debug", "info", "warning", "error"]
#: Names of fields whose values are never shown.
_SECRET: Final = frozenset(
    """
    address authorization body code credentials email extra html key msisdn number otp
    password phone recipient secret subject text to token url
    """.split()  # noqa: SIM905 - a list of words reads as one
)
_HIDDEN: Final = "…"
_PLAIN: Final = (int, float, bool)
#: Methods whose name is not their level's.
_LEVELS: Final = {"exception": "error", "warn": "warning"}
#: Characters of one value, and of a traceback.
_VALUE_MAX, _TRACE_MAX = 300, 8000
#: What asyncio itself says in front of the names and values that it adds.
_FIXED: Final = re.compile(r"[A-Za-z_' .,!%-]{0,100}")
#: Of libraries only what needs an eye: their lower levels tell what passes through them.
_FOREIGN_LEVEL: Final = logging.WARNING

_encode = msgspec.json.Encoder().encode
_log = structlog.get_logger("otpsvc")


def configure(style: Style, level: Level, *, stream: TextIO | None = None, cache: bool = False) -> None:
    """Set up structlog, the standard library's logging and the last resorts of Python itself.

    `stream`: standard error when None. `cache` fixes loggers at their first use, for speed.
    """
    stream = stream or sys.stderr
    lines = Lines(stream)
    atexit.register(lines.flush)
    least = getattr(logging, level.upper())
    structlog.configure(
        processors=[_shaped, _renderer(style, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=cache,
    )
    _route_standard(least)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


class Lines:
    """Writes the lines of one turn of the event loop together; without a loop each at once.

    A write costs more than all the rest of a line.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        """Take one line."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        with self._lock:
            first = not self._waiting
            self._waiting.append(line)
        if loop is None:
            self.flush()
        elif first:
            loop.call_soon(self.flush)

    debug = info = warning = error = critical = exception = log = msg

    def flush(self) -> None:
        """Write what waits. A stream that takes nothing must not stop the service."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if waiting:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\n".join(waiting) + "\n")
                self._stream.flush()


def on_loop_error(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """For `loop.set_exception_handler`: "exception was never retrieved" and the like.

    asyncio's own handler prints futures, callbacks and their arguments.
    """
    _log.error(_fixed(context.get("message")), source="asyncio", exc_info=context.get("exception"))


def traced(error: BaseException) -> str:
    """The places that an exception passed and its kind, with those that caused it."""
    return "\n".join(_chain(error, set()))[-_TRACE_MAX:]


def brief(error: BaseException) -> str:
    """One line: the kind, and the words where they are ours."""
    if isinstance(error, OtpsvcError):
        return f"{type(error).__name__}: {error}"
    # Its number and what the system calls it; the path is left out.
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


def in_words(error: OtpsvcError) -> str:
    """One of our own errors as a sentence."""
    return str(error) or (error.message if isinstance(error, Busy) else type(error).__name__)


def _chain(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen and len(seen) < 20:
        lines += [*_chain(cause, seen), "then:"]
    if error.__traceback__ is not None:
        lines += [line.rstrip("\n") for line in _places(error.__traceback__)]
    lines.append(brief(error))
    if isinstance(error, BaseExceptionGroup) and len(seen) < 20:
        for one in error.exceptions[:5]:
            lines += ["  | " + line for line in _chain(one, seen)]
    return lines


def _places(trace: TracebackType) -> list[str]:
    """File, line and source text; never locals."""
    return traceback.StackSummary.extract(traceback.walk_tb(trace), limit=-30, capture_locals=False).format()


# Processors


def _shaped(_logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Time and level first; plain values alone, none under a telling name, none endless."""
    # One pass instead of structlog's five: there is a line for every request.
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    shaped: dict[str, Any] = {"timestamp": moment, "level": _LEVELS.get(method, method)}
    for name, value in event.items():
        kind = type(value)
        if name == "exc_info":
            # Becomes text here, before any renderer can make its own of it.
            if error := _error_of(value):
                shaped["exception"] = traced(error)
        elif name in _SECRET and value:
            shaped[name] = _HIDDEN
        elif kind is str:
            shaped[name] = value if len(value) <= _VALUE_MAX or name == "exception" else _cut(value)
        elif value is None or kind in _PLAIN:
            shaped[name] = value
        else:
            shaped[name] = f"<{kind.__name__}>"
    return shaped


def _cut(value: str) -> str:
    return value[:_VALUE_MAX] + _HIDDEN


def _error_of(info: object) -> BaseException | None:
    if isinstance(info, tuple):
        info = info[1]
    if info and not isinstance(info, BaseException):
        info = sys.exc_info()[1]
    return info if isinstance(info, BaseException) else None


def _renderer(style: Style, stream: TextIO) -> Callable[..., str]:
    if style == "json":
        return _as_json
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=20
    )


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return _encode(event).decode()
    except UnicodeEncodeError:
        return ascii(event)


# What others say


def _fixed(said: object) -> str:
    """The words in front of the first value."""
    found = _FIXED.match(str(said))
    return found[0].strip() if found else ""


class _Routed(logging.Handler):
    """Passes the standard library's records on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            ours = record.name.partition(".")[0] == "otpsvc"
            # Arguments of other people's lines may be anything: what stands before them is shown.
            said = record.getMessage() if ours else _fixed(record.msg)
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger().log(level, said, source=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a log line must not break what it tells of
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        sys.stderr.write(f"a log line of {record.name} could not be written\n")


def _route_standard(least: int) -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Routed)]:
        root.removeHandler(handler)
    root.addHandler(_Routed())
    root.setLevel(max(least, _FOREIGN_LEVEL))
    logging.getLogger("otpsvc").setLevel(least)
    # Set on the logger itself: uvicorn looks at its own level for every connection. No
    # warnings: whoever sends nonsense could fill the disk with them.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # It tells of every line that is lost, with a traceback; `keeper.py` says that in one sentence.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.raiseExceptions = False


def _uncaught(
    kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None = None
) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    _log.critical("uncaught exception", exc_info=error)
