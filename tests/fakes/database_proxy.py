"""A TCP proxy before a PostgreSQL server: it forwards, cuts, drops, or refuses with an error of PostgreSQL's."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

from sqlalchemy import URL


class DatabaseProxy:
    """Listens on loopback and forwards everything to a real server.

    Attributes:
        refusal: SQLSTATE and message with which every new connection is refused; None: it is forwarded.
        connections: how many were opened.
        round_trips: how often a client sent something after the server had.
    """

    def __init__(self, server: URL) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = None
        self.refusal: tuple[str, str] | None = None
        self.connections = 0
        self.round_trips = 0
        self._last_from: dict[socket.socket, socket.socket] = {}
        self.port = 0
        self.open()

    def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def close(self) -> None:
        """Refuse new connections, and cut the open ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Drop every connection, in the middle of a statement too."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.refusal is not None:
                self._refuse(client, *self.refusal)
                continue
            upstream = self._connect()
            with self._lock:
                self._pairs.append((client, upstream))
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=[*pair, client], daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    last, self._last_from[client] = self._last_from.get(client), source
                    self.round_trips += source is client and last is not client
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _connect(self) -> socket.socket:
        if path := self._server.query.get("unix_sock"):
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(str(path))
            return upstream
        return socket.create_connection((str(self._server.host), self._server.port or 5432))

    def url(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        """The URL of a database of the server, through the proxy."""
        real = self._server
        return URL.create(
            "postgresql+pg8000", user or real.username, password or real.password, "127.0.0.1", self.port, database
        ).render_as_string(hide_password=False)

    @staticmethod
    def _refuse(client: socket.socket, code: str, message: str) -> None:
        """An ErrorResponse to the startup message (https://www.postgresql.org/docs/current/protocol-flow.html)."""
        with contextlib.suppress(OSError):
            client.recv(4096)
            fields = b"".join(
                key + value.encode() + b"\0"
                for key, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message))
            )
            client.sendall(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
            client.shutdown(socket.SHUT_WR)
        client.close()


@contextlib.contextmanager
def proxy_to(server: URL) -> Iterator[DatabaseProxy]:
    """Open a proxy to the server of a URL."""
    proxy = DatabaseProxy(server)
    try:
        yield proxy
    finally:
        proxy.close()
