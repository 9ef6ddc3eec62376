"""What a cold start has to load: nothing that the functions do not use (docs/decisions.md)."""

import subprocess
import sys

import pytest

HEAVY = (
    "aws_cdk",
    "boto3",
    "infra",
    "moto",
    "pydantic",
    "rich",
    "sqlalchemy.orm",
    "typer",
)


@pytest.mark.parametrize("stem", ["cleanup", "leaderboard", "prize_pool"])
def test_a_function_loads_nothing_heavy(stem: str) -> None:
    program = f"import sys, functions.{stem}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert f"functions.{stem}" in loaded
    assert not {name for name in loaded for heavy in HEAVY if name == heavy or name.startswith(f"{heavy}.")}
