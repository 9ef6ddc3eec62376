"""`make bench`: run the benchmarks, print their table, write docs/benchmarks.md.

`python -m tests.benchmarks [--quick] [NAME ...]`; with names, only those are run and nothing is written.
"""

import argparse
import importlib
import inspect
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.local.postgres import Server
from tests.benchmarks.database import SETTINGS, serve
from tests.benchmarks.rows import Row
from tests.sql import open_database, rows

NAMES = (
    *("stored", "settle", "clean", "rank", "writes", "night", "growth", "upgrade"),  # on a server of the benchmarks
    *("cold_start", "command", "demo", "month"),
)
PAGE = Path(__file__).parent.parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes; nothing is written")
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=[])
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    started = time.monotonic()
    found: list[Row] = []
    with serve() as server:
        [(version,)] = rows(open_database(server.admin_url), "SHOW server_version")
        for name in options.names or NAMES:
            began = time.monotonic()
            try:
                measured = _measure(name, server, quick=options.quick)
            except Exception as error:  # noqa: BLE001 - the others are measured anyway, and it is not met
                console.print_exception()
                failure = f"{type(error).__name__}: {error}".splitlines()[0]
                measured = [Row(measure=name, against="", target="", figures=failure, is_met=False)]
            found += measured
            for row in measured:
                console.print(f"{row.measure}: {row.figures} [{row.verdict}]", markup=False, soft_wrap=True)
            console.print(f"{name}: {time.monotonic() - began:.0f} s", markup=False)
    table = Table("measure", "against", "target", "measured", "")
    for row in found:
        table.add_row(row.measure, row.against, row.target, row.figures, row.verdict)
    console.print(table)
    if not options.quick and not options.names:
        PAGE.write_text(_page(found, version, time.monotonic() - started), encoding="utf-8")
        console.print(f"written to {PAGE.relative_to(PAGE.parent.parent)}")
    sys.exit(any(row.is_met is False for row in found) and not options.quick)


def _measure(name: str, server: Server, *, quick: bool) -> list[Row]:
    measure = importlib.import_module(f"tests.benchmarks.{name}").measure
    needs_server = "server" in inspect.signature(measure).parameters
    rows: list[Row] = measure(*([server] if needs_server else []), quick=quick)
    return rows


def _page(found: list[Row], version: str, seconds: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
    lines = "\n".join(
        f"| {row.measure} | {row.against} | {row.target} | {row.figures} | {row.verdict} |" for row in found
    )
    short = "\n".join(f"- **{row.measure}**: {row.shortfall}" for row in found if row.is_met is False)
    return f"""# Benchmarks

Written by `make bench`, {datetime.now(UTC):%Y-%m-%d}, in {seconds / 60:.0f} minutes, on {os.cpu_count()} cores
({platform.machine()}, {platform.system()}), {memory:.0f} GiB, Python {platform.python_version()},
PostgreSQL {version} with {settings}. Each figure is the median, with the least and the most in brackets.
Ratios are of one run: what is compared was measured in turns, on the same server. Peers and floors are in
`tests/benchmarks`, each as its users would write it.

| measure | against | target | measured | |
|---|---|---|---|---|
{lines}

## What is not met, and why

{short or "Nothing."}
"""


if __name__ == "__main__":
    main()
