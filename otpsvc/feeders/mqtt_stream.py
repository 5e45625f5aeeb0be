"""A socket as paho wants one."""

from __future__ import annotations

import socket

#: Octets read at once, at least: paho asks for a packet in three pieces, each a call of the system.
_CHUNK = 16_384
#: At most: of a large packet, so that it can be cut short in between.
_PIECE = 65_536


class Stream:
    """A non-blocking socket that reads ahead and can be held up."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ahead = b""
        self._at = 0
        #: Set: as if nothing came.
        self.held = False

    def recv(self, size: int) -> bytes:
        """Raises: OSError, BlockingIOError, ssl.SSLWantReadError."""
        if self.held:
            raise BlockingIOError
        if self._at == len(self._ahead):
            self._ahead, self._at = self._sock.recv(min(max(size, _CHUNK), _PIECE)), 0
        piece = self._ahead[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def pending(self) -> int:
        """Octets that were read already, of which the socket will not tell."""
        # TLS hides none: a record is at most what is read at once. (RFC 8446, 5.1)
        return 0 if self.held else len(self._ahead) - self._at

    def send(self, octets: bytes | bytearray) -> int:
        return self._sock.send(octets)

    def close(self) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)
