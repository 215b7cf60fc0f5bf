"""Binds an address and runs an application until it is told to stop."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from novanda.errors import InputError
from novanda.serve.limits import Limits
from novanda.serve.logs import configure_logs

_MAX_HEADERS = 16 * 2**10


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; InputError where there can be none. Port 0 takes any that is free."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port lies between 0 and 65535; got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"can not listen on {host} port {port}: {reason}; choose another --port or --host") from error
    # Inherited by every connection. Without it the end of an answer waits 40 ms for the client's word on its beginning.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(app: FastAPI, listening: socket.socket, limits: Limits) -> None:
    """Serve until SIGTERM or SIGINT; requests in work are finished first, within the time any request has."""
    configure_logs()
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.seconds) + 5,
        h11_max_incomplete_event_size=_MAX_HEADERS,
    )
    # uvicorn raises the signal once more when all is shut down; being asked to stop, and stopping, is no failure.
    before = signal.signal(signal.SIGTERM, _stopped)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)


def _stopped(number: int, frame: FrameType | None) -> None:
    """Nothing is left to do."""
