"""`otpsvc`, and `python -m otpsvc`."""

from __future__ import annotations

from otpsvc.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
