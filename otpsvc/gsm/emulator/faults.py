"""What may go wrong with one AT+CMGS: words that a test writes into `modem.script`.

`WHAT [N] [at PLACE] [sent]`, for example `CMS 500`, `CMS 38 at command`, `late 3`, `reboot at body`,
`silent sent`.

| WHAT      | the modem                                                                    |
|-----------|------------------------------------------------------------------------------|
| ok        | does what it should                                                          |
| CMS n, CME n, ERROR | ends with that error                                               |
| no-prompt | takes the command and shows no prompt; the next command is taken             |
| silent    | never answers this one, but answers the next                                 |
| late n    | sends, and answers n seconds later                                           |
| no-ok     | +CMGS without OK                                                             |
| no-cmgs   | OK without +CMGS                                                             |
| garbage   | writes line noise first                                                      |
| hang      | answers nothing more, until `modem.wake()`                                   |
| reboot, unplug | does that                                                               |

PLACE is `command` (no prompt yet), `prompt` (shown), `body` (in the middle of the PDU) or `result`
(after Ctrl-Z, the default). `sent`: the network took the text all the same.
"""

from __future__ import annotations

from typing import Final, Literal, cast, get_args

from msgspec import Struct

Place = Literal["command", "prompt", "body", "result"]
PLACES: Final[tuple[Place, ...]] = get_args(Place)
_PLAIN: Final = frozenset(
    {"ok", "ERROR", "no-prompt", "silent", "no-ok", "no-cmgs", "garbage", "hang", "reboot", "unplug"},
)
#: The network took the text, though something is missing in the answer.
_TAKEN: Final = frozenset({"ok", "late", "no-ok", "no-cmgs", "garbage"})


class Fault(Struct, frozen=True):
    """`number`: of an error, or seconds of `late`."""

    what: str = "ok"
    number: float = 0.0
    at: Place = "result"
    sent: bool = True

    @classmethod
    def of(cls, words: str) -> Fault:
        """Read one entry of a script. Raises ValueError for words that are none."""
        first, *rest = words.split() or [""]
        number, rest = (float(rest[0]), rest[1:]) if first in {"CMS", "CME", "late"} else (0.0, rest)
        if first not in _PLAIN | {"CMS", "CME", "late"}:
            raise ValueError(f"a fault is one of {sorted(_PLAIN)}, CMS n, CME n, late n; got {first!r}")
        sent = "sent" in rest or first in _TAKEN
        place = [word for word in rest if word not in {"at", "sent"}]
        if len(place) > 1 or not set(place) <= set(PLACES):
            raise ValueError(f"the place of a fault is one of {PLACES}, got {place}")
        return cls(first, number, cast("Place", place[0]) if place else "result", sent)

    @property
    def error(self) -> tuple[str, int] | None:
        """Kind and number of the error it ends with."""
        if self.what in {"CMS", "CME"}:
            return self.what, int(self.number)
        return ("", -1) if self.what == "ERROR" else None


OK: Final = Fault()
