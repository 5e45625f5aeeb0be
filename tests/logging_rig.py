"""Puts back what `logs.configure` changes for a whole process."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def as_before() -> Iterator[None]:
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    names = (None, "otpsvc", "uvicorn.error")
    levels = [logging.getLogger(name).level for name in names]
    handlers = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        structlog.reset_defaults()
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.getLogger().handlers[:] = handlers
        for name, level in zip(names, levels, strict=True):
            logging.getLogger(name).setLevel(level)
        logging.raiseExceptions = True
