"""Ending what listens on asyncio without losing what was accepted just before."""

import asyncio

_TURNS = 3  # of the loop, from accepting a connection to what serves it


async def stop_listening(server: asyncio.Server) -> None:
    """Close a server's listening sockets; the connections that it has stay.

    One that was accepted just now comes about first: asyncio loses those whose server is closed
    already, and leaves their sockets open.
    """
    loop = asyncio.get_running_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    finally:
        server.close()
