"""Listening and ending: a socket, uvicorn on it, and signals."""

from __future__ import annotations

import ipaddress
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

GRACE = 10  # seconds that requests under way have to end after the first signal
LOCAL = ("127.0.0.1", "localhost", "[::1]")  # by which names a server on loopback is asked


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        OSError: the host has no address here, or the port is taken.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError:
        opened.close()
        raise
    return opened


def on_loopback(opened: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(opened.getsockname()[0].partition("%")[0]).is_loopback


def address(opened: socket.socket) -> str:
    """Where the socket listens, as it stands in a URL."""
    host = opened.getsockname()[0]
    return f"[{host}]" if ":" in host else host


def url(opened: socket.socket) -> str:
    """Where clients find the endpoint: their `base_url`."""
    return f"http://{address(opened)}:{opened.getsockname()[1]}/v1"


def names(opened: socket.socket, host: str) -> tuple[str, ...]:
    """By which names a server on loopback is asked that was told to listen at `host`."""
    return tuple(dict.fromkeys((*LOCAL, address(opened), host.lower())))


def make_server(app: FastAPI) -> uvicorn.Server:
    """The HTTP server of an application, quiet but for what goes wrong."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config)


def run(app: FastAPI, opened: socket.socket) -> int | None:
    """Serve until SIGINT or SIGTERM, which is returned; requests under way may end, for GRACE seconds.

    A second SIGINT ends at once.
    """
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        make_server(app).run(sockets=[opened])  # which sends itself once more what it caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return caught[-1] if caught else None
