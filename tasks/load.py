"""Loads the month's client file and the outcomes that have arrived, each in one transaction.

A file is checked against the data contract first; one that is refused leaves what was stored as it was.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import polars as pl

from creditflow.columns import CLIENT_ID, STATEMENTS
from creditflow.errors import WarehouseCorrupt
from creditflow.month import Month
from expectations import intake
from sql.warehouse import execute, open_warehouse, transaction
from tasks.ledger import now
from tasks.stage import Run, stage, step


@dataclass(frozen=True)
class Loaded:
    """What became of one file. `changed` is False when the same content was loaded before."""

    month: Month
    file_name: str
    sha256: str
    rows: int
    accepted: int
    quarantined: int
    changed: bool


@dataclass(frozen=True)
class LoadedOutcomes:
    """The outcome files of earlier months: loaded ones, and months whose clients are not there yet."""

    files: tuple[Loaded, ...]
    waiting: tuple[Month, ...]

    @property
    def rows(self) -> int:
        return sum(loaded.rows for loaded in self.files if loaded.changed)

    @property
    def changed(self) -> tuple[Month, ...]:
        return tuple(loaded.month for loaded in self.files if loaded.changed)


# ── Stages ──────────────────────────────────────────────────────────────────────────────────────


@stage("load clients")
def load_clients(run: Run) -> Loaded:
    """Brings the month's client file into its partition, unless the same content is there already."""
    path = _settled(run, "clients", run.month)
    return _unchanged(run, path, "clients", run.month) or _load(run, path, "clients", run.month)


@stage("load outcomes")
def load_outcomes(run: Run) -> LoadedOutcomes:
    """Brings in the outcomes of every earlier month; an outcome is known one month later, never sooner.

    As of now, all that have come are known.
    """
    files, waiting = [], []
    known = intake.list_files(run.home.inbox, "outcomes")
    for month in sorted(m for m in known if m < run.month or run.as_of == "now"):
        if not _has_clients(run, month):
            waiting.append(month)
            continue
        path = _settled(run, "outcomes", month)
        files.append(_unchanged(run, path, "outcomes", month) or _load(run, path, "outcomes", month))
    return LoadedOutcomes(tuple(files), tuple(waiting))


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────


def _settled(run: Run, kind: intake.Kind, month: Month) -> Path:
    """The month's file, once nobody writes it any more."""
    return intake.settle(intake.find_file(run.home.inbox, kind, month), run.patience.settle_seconds)


def _has_clients(run: Run, month: Month) -> bool:
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        return bool(execute(con, "current_file", month=str(month), kind="clients"))


def _unchanged(run: Run, path: Path, kind: intake.Kind, month: Month) -> Loaded | None:
    """The earlier load of this very content by this very code."""
    sha256 = intake.fingerprint(path).sha256
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        rows = execute(con, "current_file", month=str(month), kind=kind)
        outdated = kind == "outcomes" and execute(con, "clients_are_newer", month=str(month))
    if outdated or not rows or rows[0][:2] != (sha256, run.code_version):
        return None
    received, accepted, quarantined = rows[0][2:5]
    return Loaded(month, path.name, sha256, received, accepted, quarantined, changed=False)


def _load(run: Run, path: Path, kind: intake.Kind, month: Month) -> Loaded:
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        context = _context(run, con, kind, month)
    checked = intake.check_file(path, kind, month, run.home.work, context, step=lambda name: step(run, name))
    with (
        step(run, "store"),
        open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con,
        transaction(con),
    ):
        _store(con, run, checked)
    return Loaded(
        month, path.name, checked.sha256, checked.received, checked.accepted, checked.quarantined, True
    )


def _context(run: Run, con: duckdb.DuckDBPyConnection, kind: intake.Kind, month: Month) -> intake.Context:
    """What a file is held against: the month's clients for outcomes, last month's for clients."""
    known = execute(con, "loaded_files")
    # What month_fit compares; 18 of the 23 attributes.
    statements = ", ".join(f"{series}{n}" for series in ("pay_", "bill_amt", "pay_amt") for n in STATEMENTS)
    columns = f"{CLIENT_ID}, {statements}"
    previous = _export(con, run, month.plus(-1), "previous", columns) if kind == "clients" else None
    return intake.Context(
        known_clients=_export(con, run, month, "known", CLIENT_ID) if kind == "outcomes" else None,
        previous_clients=previous,
        loaded={sha: (loaded_kind, Month.parse(text)) for sha, loaded_kind, text in known},
        max_quarantine_share=run.options.max_quarantine_share,
    )


def _export(con: duckdb.DuckDBPyConnection, run: Run, month: Month, name: str, columns: str) -> Path | None:
    """These columns of the month's accepted clients as Parquet, or None where there are none."""
    if not execute(con, "current_file", month=str(month), kind="clients"):
        return None
    target = run.home.work / f"{name}_{month}.parquet"
    relation = con.sql(
        f"SELECT {columns} FROM clients WHERE month = $month",
        params={"month": str(month)},
    )
    relation.write_parquet(str(target))
    return target


# ── Storing ─────────────────────────────────────────────────────────────────────────────────────


def _store(con: duckdb.DuckDBPyConnection, run: Run, checked: intake.CheckedFile) -> None:
    """Replaces the month's partition. The caller holds the transaction."""
    month, sha256 = str(checked.month), checked.sha256
    _register(con, run, checked)
    if checked.kind == "clients":
        execute(con, "delete_clients", month=month)
        execute(con, "insert_clients", month=month, sha256=sha256, path=str(checked.accepted_parquet))
        if not execute(con, "outcomes_from_file", month=month):
            _replace_outcomes(con, checked.outcomes_parquet, month, sha256, "label")
    else:
        _replace_outcomes(con, checked.accepted_parquet, month, sha256, "outcomes")
    _store_findings(con, checked)
    _require_unique(con, checked)


def _register(con: duckdb.DuckDBPyConnection, run: Run, checked: intake.CheckedFile) -> None:
    """Makes the file the current revision of its month; earlier ones stay in the table."""
    key = {"month": str(checked.month), "kind": checked.kind}
    revision = execute(con, "next_revision", **key, sha256=checked.sha256)[0][0]
    execute(con, "retire_files", **key)
    execute(con, "forget_file", **key, revision=revision)
    execute(
        con,
        "insert_file",
        **key,
        revision=revision,
        sha256=checked.sha256,
        file_name=checked.path.name,
        bytes=checked.bytes,
        has_label=checked.has_label,
        received=checked.received,
        accepted=checked.accepted,
        quarantined=checked.quarantined,
        code_version=run.code_version,
        run_id=run.run_id,
        loaded_at=now(),
    )


def _replace_outcomes(
    con: duckdb.DuckDBPyConnection, path: Path | None, month: str, sha256: str, source: str
) -> None:
    """The month's outcomes are those of `path`, or none: a corrected file may have lost its label."""
    execute(con, "delete_outcomes", month=month)
    if path:
        execute(con, "insert_outcomes", month=month, sha256=sha256, source=source, path=str(path))


def _store_findings(con: duckdb.DuckDBPyConnection, checked: intake.CheckedFile) -> None:
    """The rows set aside and the result of each expectation, keyed by the file they belong to."""
    key = {"month": str(checked.month), "kind": checked.kind, "sha256": checked.sha256}
    execute(con, "delete_quarantine", **key)
    execute(con, "insert_quarantine", **key, path=str(checked.quarantine_parquet))
    execute(con, "delete_expectation_results", **key)
    results = pl.DataFrame([asdict(result) for result in checked.results], infer_schema_length=None)
    con.register("results", results)
    execute(con, "insert_expectation_results", **key)
    con.unregister("results")


def _require_unique(con: duckdb.DuckDBPyConnection, checked: intake.CheckedFile) -> None:
    """Stands in for a primary key, which would cost several times the load."""
    rows, ids = execute(con, f"count_{checked.kind}", month=str(checked.month))[0]
    if rows != ids or (checked.kind == "clients" and rows != checked.accepted):
        raise WarehouseCorrupt(
            f"{checked.kind} of {checked.month}",
            expected=f"{checked.accepted} rows, one a client",
            found=f"{rows} rows of {ids} clients",
            remedy="Nothing was stored. Please report this together with the file's header.",
        )
