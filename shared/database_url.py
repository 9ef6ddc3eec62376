"""DATABASE_URL: what libpq, Prisma and SQLAlchemy write in one, in one normal form, or refused in one line."""

import re
from collections.abc import Mapping
from urllib.parse import unquote, unquote_plus

from sqlalchemy import URL

EXAMPLE = "postgresql://user@host:5432/arcade"
DEFAULT_PORT = 5432
LAST_PORT = 65_535
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
VERIFIED = frozenset({"require", "verify-ca", "verify-full"})  # values of sslmode; all of them mean the last one here
NOT_A_URL = "not a URL; in a password write / as %2F, @ as %40, : as %3A"

# The part with the password is libpq's: it ends at the first @, and has no slash.
_URL = re.compile(
    r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://"
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^/@]*))?@)?"
    r"(?P<host>\[[^\]/?]*\]|[^:/?]*)(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)
_HOST = re.compile("[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_SEARCH_PATH = re.compile(r"\s*-c\s*search_path=(?P<schema>[a-z_][a-z0-9_]*)\s*")

# What a query may have. These are parts of the URL, and take precedence over what stands before the query.
_PARTS = frozenset({"dbname", "host", "password", "port", "user"})
_KEPT = frozenset({"application_name", "connect_timeout", "schema", "sslmode", "sslrootcert", "unix_sock"})
# What changes nothing: a job has one connection, with time limits, keepalives and channel binding of its own.
_IGNORED = frozenset(
    {
        *("channel_binding", "connection_limit", "fallback_application_name", "keepalives", "keepalives_count"),
        *("keepalives_idle", "keepalives_interval", "pool_timeout", "socket_timeout", "sslsni"),
        *("statement_cache_size", "tcp_user_timeout"),
    }
)
_NO_CLIENT_CERTIFICATE = ("", "client certificates are not supported; for the server's authorities write sslrootcert")
# Which values are right, and what to report of the others.
_VALUES: Mapping[str, tuple[str, str]] = {
    "client_encoding": ("auto|utf-?8|UTF-?8", "the driver reads UTF-8 only"),
    "connect_timeout": ("[1-5]?[0-9]|60", "expected seconds, up to 60"),
    "gssencmode": ("disable|prefer", "connections are encrypted by TLS"),
    "hostaddr": ("", "name the host instead, as its certificate does"),
    "options": ("", "only -c search_path=NAME; the jobs set what else they depend on"),
    "pgbouncer": ("false", "transaction pooling loses temporary tables and session settings; name PostgreSQL itself"),
    "sslaccept": ("strict", "certificates are always verified; write sslrootcert for their authorities"),
    "sslcert": _NO_CLIENT_CERTIFICATE,
    "sslidentity": _NO_CLIENT_CERTIFICATE,
    "sslkey": _NO_CLIENT_CERTIFICATE,
    "sslmode": ("disable|allow|prefer|require|verify-ca|verify-full", "expected verify-full, or another of libpq's"),
    "sslpassword": _NO_CLIENT_CERTIFICATE,
    "target_session_attrs": ("any|primary|read-write", "expected read-write, since the jobs write"),
}


def parse_database_url(text: str) -> URL:
    """A URL of PostgreSQL in its normal form, whose parts are what is dialled; parsing it again changes nothing.

    S33: it has the driver pg8000, a user, and a host with a port or else `unix_sock`. Its query has no more than
    `application_name`, `connect_timeout`, `schema`, `sslmode`, `sslrootcert` and `unix_sock`
    (docs/deploy.md, The database's URL).

    Raises:
        ValueError: it is none, or wants what is not supported. The message has no part of a password (S15).
    """
    found = _URL.fullmatch(text)
    if found is None or not text.isprintable():
        raise ValueError(f"expected a URL such as {EXAMPLE}")
    if "@" in text[found.start("host") :]:  # the rest of a password
        raise ValueError(NOT_A_URL)
    given = {name: unquote(value or "") for name, value in found.groupdict().items() if name != "query"}
    given |= _read_query(found["query"] or "")
    if "\0" in "".join(given.values()):
        raise ValueError(NOT_A_URL)
    if not given["user"]:
        raise ValueError(f"no user; expected a URL such as {EXAMPLE}")
    url = URL.create(
        "postgresql+pg8000",
        username=given["user"],
        password=given["password"] or None,
        database=given["dbname"] or None,
        query={name: given[name] for name in _KEPT & given.keys()},
    )
    url = _with_address(url, host=given["host"], port=_port(given["port"]))
    if url.query.get("sslmode") == "disable" and uses_tls(url):
        raise ValueError("sslmode: disable is for a server on this machine; any other is reached by verified TLS only")
    return url


def uses_tls(url: URL) -> bool:
    """Whether a URL in normal form is dialled with TLS: always, but on this machine only if it says so."""
    return "unix_sock" not in url.query and (url.host not in LOOPBACK or url.query.get("sslmode") in VERIFIED)


def _read_query(text: str) -> dict[str, str]:
    """The parameters that mean something here; an empty one counts as unset."""
    found: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in text.split("&") if pair]
    # What comes with a password may be the rest of it.
    may_be_named = not any("password" in name for name, _, _ in pairs)
    for parameter, _, encoded in pairs:
        # SQLAlchemy writes a space as +; libpq knows no such thing, and a password may have one.
        value = unquote(encoded) if parameter in _PARTS else unquote_plus(encoded)
        name, value = _by_libpq(parameter, value)
        if name not in _PARTS | _KEPT | _IGNORED | _VALUES.keys():
            is_word = re.fullmatch("[A-Za-z][A-Za-z0-9_.]{0,39}", name)
            shown = name if is_word and may_be_named else "a parameter"
            raise ValueError(f"{shown}: unknown; docs/deploy.md lists those of DATABASE_URL")
        if name in found:
            raise ValueError(f"{name}: given twice")
        if value and name in _VALUES and not re.fullmatch(_VALUES[name][0], value):
            raise ValueError(f"{name}: {_VALUES[name][1]}")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def _by_libpq(name: str, value: str) -> tuple[str, str]:
    """A parameter as libpq, or in the end Prisma, calls it."""
    if name == "ssl":  # of JDBC, asyncpg and node-postgres
        return "sslmode", {"true": "require", "false": "disable"}.get(value, value)
    if name == "options" and (options := _SEARCH_PATH.fullmatch(value)):
        return "schema", options["schema"]
    return name, value


def _with_address(url: URL, *, host: str, port: int) -> URL:
    if host.startswith("/"):  # pg8000 wants the socket itself where libpq wants its folder
        return url.update_query_dict({"unix_sock": f"{host.rstrip('/')}/.s.PGSQL.{port}"})
    if "unix_sock" in url.query:
        if host:
            raise ValueError("unix_sock: another address than the host's; leave one of the two out")
        return url
    if not host:
        raise ValueError("no host; for a server on this machine write localhost, or ?host=/folder/of/its/socket")
    if "," in host:
        raise ValueError("several hosts; name the one that takes writes")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not _HOST.fullmatch(host):
        raise ValueError(NOT_A_URL)
    return url.set(host=host, port=port)


def _port(text: str) -> int:
    if "," in text:
        raise ValueError("several ports; name the host that takes writes, and its port")
    if text and not (re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= LAST_PORT):
        raise ValueError(f"the port is not a number from 1 to {LAST_PORT}, or else this is {NOT_A_URL}")
    return int(text or DEFAULT_PORT)
