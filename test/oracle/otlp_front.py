"""The receiver's ports: they pass bytes on to the servers behind them, count
them, and can be closed and opened again.

A server cannot close its port and keep it, nor break a connection between two
bytes; what stands before it can, under TLS and HTTP/2 as well.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from dataclasses import dataclass, field

# Below the ports that the system gives to connections: one that is closed for
# a while is not taken by somebody else's connection.
PORTS = range(20000, 30000)
CHUNK = 1 << 18


@dataclass
class Door:
    """One port, and the port of the server behind it."""

    name: str
    behind: int
    port: int = 0
    server: asyncio.Server | None = None
    connections: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    # The server's end of a connection by its port there.
    by_port: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0


class Front:
    def __init__(self, behind: dict[str, int], ports: dict[str, int]) -> None:
        self._loop = asyncio.new_event_loop()
        self.doors = {name: Door(name, port, ports.get(name, 0)) for name, port in behind.items()}
        self._silent = False
        threading.Thread(target=self._loop.run_forever, name="front", daemon=True).start()
        self._run(self._open_all())

    def _run(self, coroutine: object, seconds: float = 10) -> object:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def down(self) -> None:
        """Closes the ports and every connection, with a reset."""
        self._run(self._close_all())

    def up(self) -> None:
        """Opens what is closed, and answers again. What was silent is reset."""
        self._run(self._up())

    def silence(self) -> None:
        """Keeps taking connections and passes nothing on, in either direction."""
        self._run(self._silence())

    def reset_connection(self, name: str, server_side: int) -> None:
        """Resets the connection that the server behind knows by this port."""
        self._run(self._reset_connection(self.doors[name], server_side))

    def reset_connections(self, name: str) -> None:
        self._run(self._reset_all(self.doors[name]))

    async def _up(self) -> None:
        if self._silent:
            self._silent = False
            for door in self.doors.values():
                await self._reset_all(door)
        await self._open_all()

    async def _silence(self) -> None:
        self._silent = True
        await self._open_all()

    async def _open_all(self) -> None:
        for door in self.doors.values():
            if door.server is None:
                await self._open(door)

    async def _open(self, door: Door) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._connected(door, reader, writer)

        for _ in range(200):
            port = door.port or random.choice(PORTS)
            try:
                door.server = await asyncio.start_server(connected, "127.0.0.1", port, limit=CHUNK, backlog=256)
                door.port = port
                return
            except OSError:
                # A port of its own that is still being let go is asked for again.
                await asyncio.sleep(0.02)
        raise OSError(f"no port for {door.name}")

    async def _close_all(self) -> None:
        for door in self.doors.values():
            if door.server is not None:
                door.server.close()
                door.server = None
            await self._reset_all(door)

    async def _reset_all(self, door: Door) -> None:
        for writer in list(door.open):
            reset(writer)

    async def _reset_connection(self, door: Door, server_side: int) -> None:
        writer = door.by_port.get(server_side)
        if writer is not None:
            reset(writer)

    async def _connected(self, door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.connections += 1
        door.open.add(writer)
        inner = None
        inner_port = None
        try:
            inner_reader, inner = await asyncio.open_connection("127.0.0.1", door.behind, limit=CHUNK)
            inner_port = inner.get_extra_info("sockname")[1]
            door.by_port[inner_port] = writer
            inwards = asyncio.ensure_future(self._pass_on(door, "bytes_in", reader, inner))
            outwards = asyncio.ensure_future(self._pass_on(door, "bytes_out", inner_reader, writer))
            await asyncio.wait([inwards, outwards], return_when=asyncio.FIRST_COMPLETED)
            if outwards.done() and not inwards.done():
                inwards.cancel()
            await asyncio.gather(inwards, outwards, return_exceptions=True)
        except OSError:
            pass
        finally:
            door.open.discard(writer)
            door.by_port.pop(inner_port, None)
            for end in (writer, inner):
                if end is not None:
                    end.close()

    async def _pass_on(
        self, door: Door, counter: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self._silent:
                    continue
                setattr(door, counter, getattr(door, counter) + len(data))
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, asyncio.CancelledError):
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        # Zero seconds of lingering: RST, not FIN.
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()
