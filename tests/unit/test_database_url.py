"""S33: a DATABASE_URL of libpq, Prisma or SQLAlchemy is understood, or refused in one line without its password."""

import contextlib
import traceback
from urllib.parse import quote

import pytest
from botocore.session import Session
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.config import Config
from shared.credentials import sign_token
from shared.database_url import parse_database_url, uses_tls
from shared.db.connection import open_engine
from shared.domain.errors import ArcadeJobsError


def normal(url: str) -> str:
    return parse_database_url(url).render_as_string(hide_password=False).removeprefix("postgresql+pg8000://")


# --- what is understood ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@db.example.com/arcade", "u@db.example.com:5432/arcade"),
        ("postgres://u:p@db.example.com:6432/arcade", "u:p@db.example.com:6432/arcade"),
        ("postgresql+pg8000://u@h/d", "u@h:5432/d"),
        ("postgresql+psycopg2://u@h/d", "u@h:5432/d"),
        ("postgresql+asyncpg://u@h/d?ssl=require", "u@h:5432/d?sslmode=require"),
        ("postgresql://u@h", "u@h:5432"),
        ("postgresql://u@h:/d", "u@h:5432/d"),
        ("postgresql://u@H.Example/d", "u@h.example:5432/d"),
        ("postgresql://u@[2001:db8::1]:6432/d", "u@[2001:db8::1]:6432/d"),
        ("postgresql://u:a%40b%2Fc%3Ad@h/d", "u:a%40b%2Fc%3Ad@h:5432/d"),
        ("postgresql://u:a?b#c&d=e@h/d", "u:a%3Fb%23c%26d%3De@h:5432/d"),
        ("postgresql://u:a+b@h/d", "u:a+b@h:5432/d"),
        # libpq: a parameter takes precedence.
        ("postgresql://u@localhost/d?host=db.example.com", "u@db.example.com:5432/d"),
        ("postgresql://?host=h&port=6432&user=u&password=a+b&dbname=d", "u:a+b@h:6432/d"),
        ("postgresql://u@h/d?dbname=other&application_name=my+jobs", "u@h:5432/other?application_name=my+jobs"),
        ("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=5",
         "u@h:5432/d?connect_timeout=5&sslmode=verify-full&sslrootcert=%2Fca.pem"),
        ("postgresql://u@h/d?keepalives=1&keepalives_idle=30&channel_binding=require&target_session_attrs=read-write",
         "u@h:5432/d"),
        ("postgresql://u@h/d?options=-c%20search_path%3Darcade", "u@h:5432/d?schema=arcade"),
        ("postgresql:///d?user=u&host=/run/pg&port=6432", "u@/d?unix_sock=%2Frun%2Fpg%2F.s.PGSQL.6432"),
        ("postgresql://u@%2Frun%2FPG/d", "u@/d?unix_sock=%2Frun%2FPG%2F.s.PGSQL.5432"),
        ("postgresql://u@/d?unix_sock=/run/a%20b/.s.PGSQL.1", "u@/d?unix_sock=%2Frun%2Fa+b%2F.s.PGSQL.1"),
        # Prisma
        ("postgresql://u@h/d?schema=public&connection_limit=5&pool_timeout=2&sslaccept=strict&pgbouncer=false",
         "u@h:5432/d?schema=public"),
        ("postgresql://u@h/d?schema=&sslmode=", "u@h:5432/d"),
    ],
)  # fmt: skip
def test_s33_a_url_that_libpq_prisma_or_sqlalchemy_takes_is_understood(url: str, expected: str) -> None:
    assert normal(url) == expected
    assert normal(f"postgresql://{expected}") == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@db.example.com/d", True),
        ("postgresql://u@localhost/d?host=db.example.com", True),
        ("postgresql://u@db.example.com/d?host=localhost", False),
        ("postgresql://u@localhost/d?unix_sock=", False),
        ("postgresql://u@LOCALHOST/d", False),
        ("postgresql://u@[::1]/d?sslmode=disable", False),
        ("postgresql://u@127.0.0.1/d?sslmode=prefer", False),
        ("postgresql://u@h/d?sslmode=prefer", True),
        ("postgresql://u@h/d?sslmode=allow", True),
        ("postgresql://u@localhost/d?sslmode=require", True),
        ("postgresql://u@/d?host=/tmp&sslmode=require", False),
        ("postgresql://u@localhost.example.com/d", True),
    ],
)
def test_s33_tls_is_decided_by_the_host_that_is_dialled(url: str, expected: bool) -> None:
    assert uses_tls(parse_database_url(url)) is expected


def test_s33_a_token_is_signed_for_the_host_that_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "eu-west-1")
    env = {"DATABASE_URL": "postgresql://u@other/d?host=db.example.com&port=6432&user=jobs", "RUNS_TABLE_NAME": "runs"}
    token = sign_token(Config.from_env(env).database_url, Session())
    assert token.startswith("db.example.com:6432/?Action=connect&DBUser=jobs&")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u@h/d", "expected a URL such as postgresql://"),
        ("postgresql:u@h", "expected a URL such as postgresql://"),
        ("jdbc:postgresql://h/d", "expected a URL such as postgresql://"),
        ("postgresql://u@h/d\n", "expected a URL such as postgresql://"),
        ("postgresql://h/d", "no user"),
        ("postgresql://u@/d", "no host"),
        ("postgresql://u@h:port/d", "the port is not a number"),
        ("postgresql://u@h:0/d", "the port is not a number"),
        ("postgresql://u@h:65536/d", "the port is not a number"),
        ("postgresql://u@h/d?port=x", "the port is not a number"),
        ("postgresql://u@my host/d", "not a URL"),
        ("postgresql://u@h%20h/d", "not a URL"),
        ("postgresql://u:%00@h/d", "not a URL"),
        ("postgresql://u:p@ss@h/d", "not a URL"),
        ("postgresql://u@h/d?host=%40abstract", "not a URL"),
        ("postgresql://u@a,b/d", "several hosts"),
        ("postgresql://u@a:1,b:2/d", "several ports"),
        ("postgresql://u@h/d?host=a,b", "several hosts"),
        ("postgresql://u@h/d?host=a&host=b", "host: given twice"),
        ("postgresql://u@h/d?unix_sock=/s", "unix_sock: another address"),
        ("postgresql://u@h/d?sslmode=disable", "sslmode: disable is for a server on this machine"),
        ("postgresql://u@localhost/d?host=h&ssl=false", "sslmode: disable is for a server on this machine"),
        ("postgresql://u@h/d?sslmode=never", "sslmode: expected verify-full"),
        ("postgresql://u@h/d?sslaccept=accept_invalid_certs", "sslaccept: certificates are always verified"),
        ("postgresql://u@h/d?sslcert=/c.pem", "sslcert: client certificates are not supported"),
        ("postgresql://u@h/d?sslidentity=c.p12", "sslidentity: client certificates are not supported"),
        ("postgresql://u@h/d?pgbouncer=true", "pgbouncer: transaction pooling loses temporary tables"),
        ("postgresql://u@h/d?connect_timeout=61", "connect_timeout: expected seconds, up to 60"),
        ("postgresql://u@h/d?connect_timeout=soon", "connect_timeout: expected seconds, up to 60"),
        ("postgresql://u@h/d?target_session_attrs=standby", "target_session_attrs: expected read-write"),
        ("postgresql://u@h/d?options=-c%20statement_timeout%3D0", "options: only -c search_path=NAME"),
        ("postgresql://u@h/d?hostaddr=10.0.0.1", "hostaddr: name the host instead"),
        ("postgresql://u@h/d?client_encoding=latin1", "client_encoding: the driver reads UTF-8 only"),
        ("postgresql://u@h/d?gssencmode=require", "gssencmode: connections are encrypted by TLS"),
        ("postgresql://u@h/d?plugin=evil", "plugin: unknown; docs/deploy.md"),
        ("postgresql://u@h/d?password=a&b=c", "a parameter: unknown"),
        ("postgresql://u@h/d?a%20b", "a parameter: unknown"),
    ],
)
def test_s33_what_is_not_supported_is_refused_by_its_name_in_one_line(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]") as refused:
        parse_database_url(url)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    with pytest.raises(ArcadeJobsError) as unopened:
        open_engine(url)
    assert str(unopened.value) == f"DATABASE_URL: {refused.value}"


PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=20).map("s3cr{}".format)
SHAPES = (
    "postgresql://u:{}@h/d",
    "postgresql://u:{}@h:port/d",
    "postgresql://u:{}@h/d?schema=a&unknown=1",
    "postgresql://u:{}@a,b/d",
    "postgresql://u:{}@localhost:1/d?sslrootcert=/absent&sslmode=require",
    "postgresql://u@h/d?password={}",
    "postgresql://u@h/d?password={}&sslmode=never",
    "postgresql://u@h/d?sslpassword={}",
    "postgresql://u@h:{}/d",
    "postgresql://:{}@h/d",
    "mysql://u:{}@h/d",
    "{}",
)


@given(st.sampled_from(SHAPES), PASSWORDS, st.booleans())
@example("postgresql://u@h/d?password={}", "s3cr&s3cr3t=1", False)
@example("postgresql://u:{}@h/d", "s3cr/s3cr3t?s3cr3t=1", False)
@example("postgresql://u:{}@h/d", "5432/s3cr?s3cr3t=1", False)
@settings(deadline=None, max_examples=300)
def test_s33_no_message_ever_holds_a_part_of_the_password(shape: str, password: str, is_encoded: bool) -> None:
    url = shape.format(quote(password, safe="") if is_encoded else password)
    try:
        shown = repr(parse_database_url(url))
        with contextlib.suppress(ArcadeJobsError):
            shown += repr(open_engine(url))
    except ValueError as refused:
        shown = "".join(traceback.format_exception(refused, limit=0)) + repr(refused.args)
    assert "s3cr" not in shown


@given(PASSWORDS, PASSWORDS, PASSWORDS)
@settings(deadline=None, max_examples=200)
def test_s33_an_encoded_url_keeps_every_part_and_its_normal_form_is_one(user: str, password: str, name: str) -> None:
    parts = [quote(part, safe="") for part in (user, password, name)]
    for url in (
        "postgresql://{}:{}@h/{}".format(*parts),
        "postgresql://h/?user={}&password={}&dbname={}".format(*parts),
    ):
        found = parse_database_url(url)
        assert (found.username, found.password, found.database) == (user, password, name)
        assert parse_database_url(found.render_as_string(hide_password=False)) == found


# --- what is dialled -------------------------------------------------------------------------------------------------
