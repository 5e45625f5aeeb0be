"""Every error that otpsvc raises on purpose, in one tree.

OtpsvcError
├── ConfigError              the config file: names file, key, expected, got
├── KeyringError             the keyring is missing, unreadable or another than the store knows
├── RequestError             what a caller asked for cannot be done; carries a stable `code` word
│   ├── BadRequest           a field is missing or malformed
│   │   └── BadAddress       an address that the channel does not take
│   ├── Unauthorized         no, broken or wrong credentials (one answer for all)
│   ├── Forbidden            the tenant lacks the scope or may not use the channel
│   ├── NotFound             no such challenge, message or page
│   ├── CheckRefused         a code was not accepted; carries the record and the reason
│   ├── NotVerified          a status was asked for a challenge that is not verified
│   ├── Limited              a guard said "not now"; carries seconds to wait
│   ├── StillRunning         the first request with this Idempotency-Key has not ended
│   └── KeyReused            this Idempotency-Key came with another body before
├── Busy                     nothing is wrong with the request, the service cannot serve it now
│   ├── StoreUnavailable     the store did not answer in time
│   ├── HashPoolFull         too many slow hashes are waiting
│   ├── KeyNotOffered        the record was written under a key this node does not hold
│   └── Unanswered           who owns a modem, or its network, did not answer in time
├── ModemError               raised inside the modem library
│   ├── LineLost             the port is gone, or the modem started anew
│   ├── NoAnswer             a command was not answered in time
│   ├── CommandFailed        the modem answered ERROR, +CME ERROR or +CMS ERROR
│   ├── NotReady             the modem takes no work now
│   ├── UnknownModem         no modem of this name
│   └── BadPdu               octets that are no PDU
├── BrokerError              raised by feeders: their line to a broker ended
│   ├── BrokerGone           may pass: it is away, or the line was cut
│   └── BrokerRefused        stays until somebody changes something: login, settings of a queue
└── ChannelError             raised by channels alone
    ├── Refused              the same message to the same address would fail again
    ├── Unavailable          may pass later
    └── Uncertain            the far end may have the message: the answer was lost

Messages are for people and hold no code, text or full address.
"""

from __future__ import annotations


class OtpsvcError(Exception):
    """The root of the tree."""


class ConfigError(OtpsvcError):
    """A config file that cannot be used.

    `key` is dotted (`channels.smtp.port`); `file` is a path or `environment`.
    """

    def __init__(self, file: str, key: str, expected: str, got: str = "") -> None:
        self.file = file
        self.key = key
        self.expected = expected
        self.got = got
        came = f", got {got}" if got else ""
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: expected {expected}{came}")


class KeyringError(OtpsvcError):
    """The keyring cannot be used; the sentence says what to do."""


class RequestError(OtpsvcError):
    """What a caller asked for cannot be done; `retry_after` seconds from now perhaps, 0: never as it is."""

    code = "bad_request"
    retry_after = 0

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        field: str = "",
        data: object = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.data = data
        if code:
            self.code = code


class BadRequest(RequestError):
    """A field is missing or malformed; `field` names it."""


class BadAddress(BadRequest):
    """The channel does not take this address. The message never repeats it."""

    code = "invalid_address"

    def __init__(self, message: str, *, field: str = "to") -> None:
        super().__init__(message, field=field)


class Unauthorized(RequestError):
    """No, broken or wrong credentials."""

    code = "unauthorized"

    def __init__(self) -> None:
        super().__init__("Invalid API credentials.")


class Forbidden(RequestError):
    """The tenant is known but may not do this."""

    code = "forbidden"


class NotFound(RequestError):
    """There is no such thing, or it has expired."""

    code = "not_found"


class CheckRefused(RequestError):
    """A code was not accepted; `data` holds the record in its one shape."""

    code = "wrong_code"


class NotVerified(RequestError):
    """The challenge exists and is not verified (or its receipt is missing)."""

    code = "not_verified"


class Limited(RequestError):
    """A guard refused for now; `retry_after` is in whole seconds, at least 1."""

    code = "limited"

    def __init__(
        self,
        message: str,
        *,
        retry_after: int,
        code: str = "",
        data: object = None,
    ) -> None:
        super().__init__(message, code=code, data=data)
        self.retry_after = max(1, retry_after)


class StillRunning(RequestError):
    """409: the first request with this Idempotency-Key is still running."""

    code = "idempotency_running"


class KeyReused(RequestError):
    """422: this Idempotency-Key was used with another request."""

    code = "idempotency_mismatch"


class Busy(OtpsvcError):
    """The service cannot serve this request now; nothing was counted."""

    code = "unavailable"
    message = "The service is unavailable. Please try again."
    retry_after = 1


class StoreUnavailable(Busy):
    """The store did not answer in time."""

    code = "store_unavailable"
    message = "Unable to reach store."


class HashPoolFull(Busy):
    """Too many slow hashes are waiting; no attempt was counted."""

    code = "hash_pool_full"
    message = "Too many checks at once. Please try again."


class KeyNotOffered(Busy):
    """The record was written under a key that this node does not hold."""

    code = "key_not_offered"
    message = "This node does not hold the key of the challenge."


class Unanswered(Busy):
    """Who owns a modem, or its network, did not answer in time; `message` says which."""

    code = "modem_silent"
    message = "The modem did not answer in time."

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.message)
        self.message = message or self.message


class ModemError(OtpsvcError):
    """Something is wrong with a modem, its SIM or its network. The sentence holds no text and no number."""


class LineLost(ModemError):
    """The port is gone, or the modem started anew in the middle of a command."""


class NoAnswer(ModemError):
    """A command was not answered in time. `stage`: `command`, `prompt` or `result`."""

    def __init__(self, command: str, stage: str = "command") -> None:
        super().__init__(f"{command}: no {'answer' if stage == 'command' else stage} in time")
        self.command = command
        self.stage = stage


class CommandFailed(ModemError):
    """`kind` is `CMS`, `CME` or empty (a bare ERROR); `number` -1 without one (27.005, 27.007)."""

    def __init__(self, command: str, kind: str = "", number: int = -1) -> None:
        super().__init__(f"{command}: " + (f"+{kind} ERROR {number}" if kind else "ERROR"))
        self.command = command
        self.kind = kind
        self.number = number


class NotReady(ModemError):
    """The modem takes no work now."""


class UnknownModem(ModemError):
    """No modem of this name."""


class BadPdu(ModemError):
    """Octets that are no PDU (3GPP 23.040)."""


class BrokerError(OtpsvcError):
    """A feeder's line to its broker ended. `reason` is a short phrase for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BrokerGone(BrokerError):
    """May pass later."""


class BrokerRefused(BrokerError):
    """The broker does not take this login, or these settings."""


class ChannelError(OtpsvcError):
    """A message was not (surely) handed over. `reason` is a short phrase without address or text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(ChannelError):
    """For good: the same message to the same address would fail again."""


class Unavailable(ChannelError):
    """For now. `retry_after` (seconds) is what the far end asked for, if it did."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Uncertain(ChannelError):
    """The far end may have taken the message, its answer was lost.

    `settled`: the channel has done what its own policy says, so it is not sent once more.
    """

    def __init__(self, reason: str, *, settled: bool = False) -> None:
        super().__init__(reason)
        self.settled = settled
