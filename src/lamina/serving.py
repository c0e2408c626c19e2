"""The life of a process from start to stop: a server with its API, or a worker without one."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import uvicorn

from lamina.api.http import create_app
from lamina.api.services import Services
from lamina.app import open_services
from lamina.core.errors import LaminaError, UnavailableError
from lamina.core.settings import Settings
from lamina.engines import held
from lamina.garbage import spare_collections
from lamina.logs import configure_logs

log = structlog.get_logger()


def serve(settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C."""
    configure_logs(settings)
    try:
        with held(settings.data_dir):
            pass
    except UnavailableError as error:
        sys.exit(error.message)
    listener = _listen(settings)
    port = listener.getsockname()[1]
    app = create_app(settings, lambda: _opened_or_ended(settings))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=5, server_header=False, loop="auto"
    )
    server = _Announced(config, f"http://{_shown(settings.host)}:{port}")
    # uvicorn hands a signal that stopped it on to its earlier handler, which has nothing left to do.
    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, lambda *_: None)
    server.run(sockets=[listener])
    # Threads of unfinished workflows wait for a loop that is gone: what they did is stored, and
    # what they did not is done after the next start. So the process ends here, at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if server.started else 1)


def work(settings: Settings, health_port: int | None) -> None:
    """Run batches without an API until SIGTERM or Ctrl-C, for servers that share everything with this one.

    With `health_port` it answers `/v1/liveness` there, and nothing else.
    """
    if not all(settings.servers):
        sys.exit(
            "A worker shares records, points and blobs with the servers: set LAMINA_RECORDS_URL, "
            "LAMINA_VECTORS_URL and LAMINA_BLOBS_URL as theirs are set."
        )
    configure_logs(settings)
    status = 1
    try:
        asyncio.run(_work(settings, health_port))
        status = 0
    except Exception:
        log.exception("worker_failed")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # as `serve` does: threads of unfinished workflows would be waited for


async def _work(settings: Settings, health_port: int | None) -> None:
    stopping = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stopping.set)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_opened_or_ended(settings))
        if health_port is not None:
            alive = await asyncio.start_server(_say_alive, settings.host, health_port)
            stack.callback(alive.close)
        spare_collections()
        sys.stdout.write("Lamina works on batches.\n")
        sys.stdout.flush()
        await stopping.wait()


async def _say_alive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a probe: that the event loop runs is all there is to say."""
    await reader.readline()
    body = b'{"status":"alive"}'
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
    await writer.drain()
    writer.close()


@asynccontextmanager
async def _opened_or_ended(settings: Settings) -> AsyncIterator[Services]:
    """The services; the program ends with one plain line when they cannot be opened."""
    async with AsyncExitStack() as stack:
        try:
            services = await stack.enter_async_context(open_services(settings))
        except LaminaError as error:
            sys.stdout.flush()
            sys.stderr.write(f"{error.message}\n")
            sys.stderr.flush()
            os._exit(1)
        yield services


class _Announced(uvicorn.Server):
    """Says where it listens once it answers."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self.url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started:
            spare_collections()
            sys.stdout.write(f"Lamina listens on {self.url} (API under /v1, docs under /docs)\n")
            sys.stdout.flush()


def _listen(settings: Settings) -> socket.socket:
    """A listening socket; ends the program with a plain message when the port is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        sys.exit(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Choose another port with --port, or stop what uses it."
        )
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
