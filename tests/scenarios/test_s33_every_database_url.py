"""S33: TLS, trust and errors are those of the host that a DATABASE_URL leads to; how it is read is a unit test's."""

import contextlib
import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from infra import schema
from infra.local import postgres
from shared.db.connection import open_engine
from shared.db.errors import describe, is_connection_lost
from shared.domain.errors import ArcadeJobsError
from tests.arcade import Arcade
from tests.fakes import scheduled_event
from tests.jobs import StartApp, invoke
from tests.sql import new_database, run

ROOT = Path(__file__).parents[2]
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # https://www.postgresql.org/docs/current/protocol-message-formats.html
TIMEOUT = 60  # seconds: a busy machine is no failure


@contextlib.contextmanager
def listener(host: str, speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that talks to one client; the port it listens on."""
    with socket.create_server((host, 0)) as server:
        server.settimeout(TIMEOUT)

        def accept() -> None:
            client, _ = server.accept()
            client.settimeout(TIMEOUT)
            with client, contextlib.suppress(OSError):
                speak(client)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


class Refusal(NamedTuple):
    line: str
    is_lost: bool


def refusal(url: str) -> Refusal:
    """How a connection fails: in one line, without the secret, and whether it is worth a retry."""
    try:
        open_engine(url).connect()
    except DBAPIError as error:
        found = Refusal(describe(error), is_connection_lost(error))
        shown = "".join(traceback.format_exception(error))
    gc.collect()  # pg8000 leaves the socket of a failed handshake to it
    assert "s3cr3t" not in shown
    assert "\n" not in found.line
    return found


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_s33_a_host_in_a_parameter_is_dialled_with_tls() -> None:
    first: list[bytes] = []
    with listener("127.0.0.2", lambda client: first.append(client.recv(64))) as port:
        refusal(f"postgresql://u:s3cr3t@localhost:{port}/d?host=127.0.0.2")
    assert first == [SSL_REQUEST]


def test_s33_an_unreachable_host_is_named_with_its_port_and_the_reason(tmp_path: Path) -> None:
    port = closed_port()
    refused = refusal(f"postgresql://u:s3cr3t@127.0.0.1:{port}/d")
    assert refused.line == f"cannot connect to 127.0.0.1 port {port}: Connection refused"
    unknown = refusal("postgresql://u:s3cr3t@db.arcade.invalid/d")
    assert unknown.line.startswith("cannot connect to db.arcade.invalid port 5432: ")
    assert "nam" in unknown.line.rpartition(": ")[2].lower()  # not known, or the resolver's trouble with it
    no_socket = refusal(f"postgresql://u:s3cr3t@/d?host={tmp_path}")
    assert no_socket.line == f"cannot connect to {tmp_path}/.s.PGSQL.5432: No such file or directory"
    assert all(failure.is_lost for failure in (refused, unknown, no_socket))


def listen(client: socket.socket) -> None:
    """Hear everything, say nothing."""
    while client.recv(4096):
        pass


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("tls", ["", "&sslmode=require"])
def test_s33_a_server_that_never_speaks_is_given_up_after_connect_timeout(tls: str) -> None:
    with listener("127.0.0.1", listen) as port:
        silence = refusal(f"postgresql://u:s3cr3t@127.0.0.1:{port}/d?connect_timeout=1{tls}")
    assert silence == (f"cannot connect to 127.0.0.1 port {port}: timed out", True)


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{host}.pem", folder / f"{host}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return files


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_s33_the_authorities_of_the_url_decide_whom_to_trust(tmp_path: Path) -> None:
    ours, key = certificate(tmp_path, "localhost")
    theirs, _ = certificate(tmp_path, "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours, key)
    startups: list[bytes] = []

    def speak(client: socket.socket) -> None:
        client.recv(8)
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as encrypted:
            startups.append(encrypted.recv(512))

    with listener("localhost", speak) as port:
        trusted = refusal(f"postgresql://jobs@localhost:{port}/d?sslmode=verify-full&sslrootcert={ours}")
    assert b"jobs" in startups[0]
    assert trusted.is_lost  # it hung up
    with listener("localhost", speak) as port:
        distrusted = refusal(f"postgresql://jobs:s3cr3t@localhost:{port}/d?sslmode=require&sslrootcert={theirs}")
    assert distrusted.line.startswith(f"cannot connect to localhost port {port}: [SSL: CERTIFICATE_VERIFY_")
    assert not distrusted.is_lost
    with pytest.raises(ArcadeJobsError, match=r"^DATABASE_URL: sslrootcert: /absent: No such file or directory$"):
        open_engine("postgresql://jobs@h/d?sslrootcert=/absent")


# --- on PostgreSQL ---------------------------------------------------------------------------------------------------


def over_libpq(url: URL, **query: str) -> str:
    """The URL of a database of the tests' server, with the socket's folder as libpq has it."""
    if "unix_sock" not in url.query:
        return url.update_query_dict(query).render_as_string(hide_password=False)
    folder, _, port = str(url.query["unix_sock"]).rpartition("/.s.PGSQL.")
    plain = url.set(drivername="postgresql", query={"host": folder, "port": port, **query})
    return plain.render_as_string(hide_password=False)


def test_s33_tables_in_the_schema_of_the_url_are_upgraded_and_settled(
    server: postgres.Server, start_app: StartApp
) -> None:
    with new_database(server, "s33") as admin:
        run(admin, 'CREATE SCHEMA "Arcade 1"')
        url = over_libpq(admin.url, schema="Arcade 1", application_name="s33")
        engine = open_engine(url, connections=2)
        schema.upgrade(engine)
        assert schema.check(engine) == []
        pool_id = Arcade(engine).add_pool("2026-01-11")
        app = start_app(DATABASE_URL=url)
        assert invoke(app, "prize-pool", scheduled_event("2026-01-12T00:00:00Z"))["status"] == "succeeded"
        assert Arcade(engine).pool(pool_id).status == "finalized"
        with app.engine.connect() as connection:
            where = "SELECT schemaname FROM pg_tables WHERE tablename = 'prize_pools'"
            assert connection.scalars(text(where)).all() == ["Arcade 1"]
            assert connection.scalar(text("SHOW application_name")) == "s33"
        app.engine.dispose()
        engine.dispose()


@pytest.mark.parametrize("command", [["db", "check"], ["db", "upgrade"], ["local", "demo"]])
@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("mysql://u:s3cr3t@h/d", 2, "expected a URL such as postgresql://user@host:5432/arcade"),
        ("postgresql://u:s3cr3t@h/d?pgbouncer=true", 2, "pgbouncer: transaction pooling loses temporary tables and"),
        ("postgresql://u:s3cr3t@127.0.0.1:{}/d", 3, "cannot connect to 127.0.0.1 port {}: Connection refused"),
    ],
    ids=["another database", "a pooler", "a closed port"],
)
def test_s33_a_command_prints_one_line_and_its_exit_code_is_the_same(
    command: list[str], url: str, code: int, message: str
) -> None:
    port = closed_port()
    done = subprocess.run(
        [sys.executable, "-c", "from infra.cli.app import main; main()", *command],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": "/nonexistent", "DATABASE_URL": url.format(port)},
    )
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "DATABASE_URL" in line or "Traceback" in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"arcade-jobs: DATABASE_URL: {message.format(port)}")
    assert "s3cr3t" not in done.stdout + done.stderr
