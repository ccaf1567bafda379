"""Ending what listens."""

import asyncio

import pytest

from polystow_testing._listening import stop_listening


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def test_a_stop_that_is_cancelled_closes_the_sockets_all_the_same() -> None:
    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        stopping = asyncio.create_task(stop_listening(server))
        await asyncio.sleep(0)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    asyncio.run(main())
