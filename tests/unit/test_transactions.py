"""Which errors are retried, how often, and after which pauses (docs/design.md, Runs)."""

import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pg8000.exceptions import DatabaseError, InterfaceError
from sqlalchemy import create_engine
from sqlalchemy import exc as sqlalchemy_exc

from shared.db.errors import describe, is_transient
from shared.services.transactions import RETRY_BUDGET, Transactions
from tests.fakes import FakeClock, make_run

RUN = make_run("2026-01-12T00:00:00Z")


def server_error(state: str) -> Exception:
    fields = {"S": "ERROR", "C": state, "M": "so it is"}
    return sqlalchemy_exc.ProgrammingError("SELECT :secret", {"secret": "s3cr3t"}, DatabaseError(fields))


def driver_error(message: str, cause: Exception | None = None) -> Exception:
    error = InterfaceError(message)
    error.__cause__ = cause
    return sqlalchemy_exc.InterfaceError("SELECT 1", {}, error)


TRANSIENT = {
    "serialization failure": server_error("40001"),
    "deadlock": server_error("40P01"),
    "terminated by an administrator": server_error("57P01"),
    "starting up": server_error("57P03"),
    "too many connections": server_error("53300"),
    "connection cut": driver_error("network error"),
    "cannot connect": driver_error("cannot connect to db port 5432: Connection refused", ConnectionRefusedError()),
    "hung up in the handshake": driver_error("cannot connect to db port 5432: EOF", ssl.SSLEOFError()),
    "ended while idle": server_error("57P05"),
    "reset while connecting": ConnectionResetError("reset by peer"),
}
FINAL = {
    "unique violation": server_error("23505"),
    "sealed": server_error("AJ001"),
    "lock timeout": server_error("55P03"),
    "statement timeout": server_error("57014"),
    "wrong password": server_error("28P01"),
    "no such database": server_error("3D000"),
    "no TLS": driver_error("Server refuses SSL"),
    "untrusted certificate": driver_error("cannot connect to db port 5432: it", ssl.SSLCertVerificationError()),
    "a bug": KeyError("x"),
}


@pytest.fixture
def transactions(clock: FakeClock) -> Transactions:
    return Transactions(engine=create_engine("postgresql+pg8000://nowhere"), sleep=clock.sleep, chance=lambda: 1.0)


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT)
def test_a_transient_error_is_retried(transactions: Transactions, clock: FakeClock, error: Exception) -> None:
    assert transactions.retry(failing(error, error, error), run=RUN) == "done"
    assert clock.slept == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("error", FINAL.values(), ids=FINAL)
def test_nothing_else_is_retried(transactions: Transactions, clock: FakeClock, error: Exception) -> None:
    with pytest.raises(type(error)):
        transactions.retry(failing(error), run=RUN)
    assert clock.slept == []


def test_the_retry_budget_ends(transactions: Transactions, clock: FakeClock) -> None:
    with pytest.raises(sqlalchemy_exc.ProgrammingError):
        transactions.retry(failing(*[server_error("57P03")] * 100), run=RUN)
    assert RETRY_BUDGET <= sum(clock.slept) < RETRY_BUDGET + 5
    assert max(clock.slept) == 5


def test_the_retry_budget_does_not_depend_on_the_jitter(transactions: Transactions, clock: FakeClock) -> None:
    without_jitter = replace(transactions, chance=lambda: 0.0)
    with pytest.raises(sqlalchemy_exc.ProgrammingError):
        without_jitter.retry(failing(*[server_error("57P03")] * 100), run=RUN)
    assert RETRY_BUDGET <= sum(clock.slept) < RETRY_BUDGET + 5


def test_pauses_are_spread_at_random(transactions: Transactions, clock: FakeClock) -> None:
    chances = iter([0.5, 0.0, 1.0])
    spread = replace(transactions, chance=lambda: next(chances))
    spread.retry(failing(*[server_error("40P01")] * 3), run=RUN)
    assert clock.slept == pytest.approx([0.075, 0.1, 0.4])


def test_a_run_out_of_time_retries_nothing(transactions: Transactions) -> None:
    late = replace(RUN, time_left=lambda: timedelta(seconds=1))
    with pytest.raises(sqlalchemy_exc.ProgrammingError):
        transactions.retry(failing(server_error("40001")), run=late)


@pytest.mark.parametrize("error", [*TRANSIENT.values(), *FINAL.values()], ids=[*TRANSIENT, *FINAL])
def test_an_error_is_described_in_one_line_without_its_parameters(error: Exception) -> None:
    assert "s3cr3t" not in describe(error)
    assert "\n" not in describe(error)
    assert is_transient(error) == (error in TRANSIENT.values())
