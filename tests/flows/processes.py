"""What the processes do that tests start and kill: functions run by a fork server, warm with every import.

No test is in here. A process writes what it does into a journal, line by line, so that its killer knows when
to strike and where the blow fell.
"""

import contextlib
import functools
import os
import resource
import signal
import sys
import time
from pathlib import Path

# What a run imports; the fork server pays for it once.
WARM = (
    "duckdb",
    "great_expectations",
    "matplotlib.pyplot",
    "pyarrow.parquet",
    "skops.io",
    "torch",
    "expectations.runner",
    "flows.backfill",
    "flows.cli",
    "flows.monthly",
    "flows.workflows",
    "models.anomaly",
    "models.artifacts",
    "models.develop",
    "models.reasons",
    "models.scorecard",
    "tasks.backup",
    "tasks.reports.cards",
    "tasks.reports.pack",
)


def warm() -> None:
    """Imports what a run needs. Called in the fork server, before any work is done there."""
    import importlib

    from creditflow.version import code_version

    for name in WARM:
        importlib.import_module(name)
    # Sources may change on disk while tests run; what is imported does not.
    code_version()


class Journal:
    """Appends lines `seconds TAB what`; each is on record before the next thing happens."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, what: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{time.monotonic():.6f}\t{what}\n")

    def read(self) -> list[tuple[float, str]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(float(line.split("\t")[0]), line.split("\t")[1]) for line in lines]


def creditflow(
    env: dict[str, str],
    api: str,
    arguments: list[str],
    said: Path,
    journal: Path,
    die_at: str | None,
    limit: int | None,
    full_at: str | None,
    filler: Path | None,
) -> None:
    """One command as a person gives it, in this process, which it ends.

    Args:
        env: the settings.
        api: the Prefect server.
        said: file that receives what the command writes to its terminal.
        journal: file that receives `STAGE start`, `STAGE end`, and `rename 1`, `replace 2` … (see `watched`).
        die_at: the entry of the journal at which the process kills itself.
        limit: the largest file, in bytes, that the process may write.
        full_at: the entry of the journal from which on no file may grow, or that fills the disk of `filler`.
    """
    os.environ.update(env)
    _redirect(said)
    notes = Journal(journal)

    def come_to(what: str) -> None:
        notes.write(what)
        if what == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == full_at and filler is None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (_LITTLE, _LITTLE))
        elif what == full_at:
            fill(filler)

    from flows import cli
    from tasks import stage

    stage.listeners.append(lambda name, month, moment: come_to(f"{name} {moment}"))
    watched(come_to)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["creditflow", *arguments]
    with _prefect(api):
        cli.main()


# Enough for the journal, and for nothing that a run writes.
_LITTLE = 4096


def fill(filler: Path) -> None:
    """Takes what is left of a disk, to the last byte."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def _redirect(said: Path) -> None:
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)


def watched(come_to) -> None:
    """Has every change of a name told before it happens: between two of them something can be half done."""
    counts: dict[str, int] = {}

    def told(function, name):
        @functools.wraps(function)
        def calls(*args, **kwargs):
            counts[name] = counts.get(name, 0) + 1
            come_to(f"{name} {counts[name]}")
            return function(*args, **kwargs)

        return calls

    for name in ("rename", "replace"):
        setattr(os, name, told(getattr(os, name), name))


@contextlib.contextmanager
def _prefect(api: str):
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_API_URL: api, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def read_all_the_time(home: Path, seen: Path, stop: Path, keep: bool) -> None:
    """Asks what is published again and again until `stop` exists; writes what it finds as JSON lines.

    `keep`: one connection, opened once and asked each time. Never both in one process: there DuckDB gives
    a second connection to the same path the file that the first has open.
    """
    import json

    import duckdb
    import polars as pl

    database = home / "published" / "creditflow.duckdb"
    kept = None
    with seen.open("a") as out:
        while not stop.exists():
            found: dict[str, object] = {}
            try:
                if keep and database.exists():
                    kept = kept or duckdb.connect(str(database), read_only=True)
                    found["database"] = kept.execute(MONTHS).fetchall()
                elif database.exists():
                    with duckdb.connect(str(database), read_only=True) as con:
                        found["database"] = con.execute(MONTHS).fetchall()
                found["parquet"] = {
                    path.parent.name: pl.read_parquet(path)
                    .select(pl.len(), pl.col("model").n_unique())
                    .row(0)
                    for path in sorted((home / "published" / "scores").glob("month=*/*.parquet"))
                }
                found["pages"] = {
                    path.parent.name: (path.read_text().rstrip().endswith("</html>"))
                    for path in sorted((home / "published" / "reports").glob("2*/index.html"))
                }
            except Exception as error:
                found["error"] = f"{type(error).__name__}: {error}"
            out.write(json.dumps(found) + "\n")
            out.flush()


# Per month of the published database: clients accepted, rows of scores, models, runs done, drift, champions.
MONTHS = """
SELECT
    month,
    (SELECT max(accepted) FROM files AS f WHERE f.month = m.month AND kind = 'clients' AND is_current),
    (SELECT count(*) FROM clients AS c WHERE c.month = m.month),
    (SELECT count(*) FROM scores AS s WHERE s.month = m.month),
    (SELECT count(DISTINCT model) FROM scores AS s WHERE s.month = m.month),
    (SELECT count(*) FROM drift AS d WHERE d.month = m.month),
    (SELECT count(*) FROM runs AS r WHERE r.month = m.month AND status = 'done')
FROM (SELECT DISTINCT month FROM files) AS m
ORDER BY month
"""
