"""Times the publication of a month against a bare copy of the file, and writes benchmarks/publish.md.

    python benchmarks/publish.py                 after 1, 12 and 36 months of 30,000 clients and 7 models
    python benchmarks/publish.py 1 6             other histories
    python benchmarks/publish.py --clients 5000  another portfolio

A warehouse is filled with months of plausible width. For each length of history a month is added, as a run
adds it (clients and scores of the new month, outcomes of the one before), and published. The publication is
compared with the warehouse table by table.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
from machine import machine

from creditflow.month import Month
from sql.publish import TABLES, publish, publish_scores
from sql.warehouse import open_warehouse, transaction

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "publish.md"
HISTORIES = (1, 12, 36)
FIRST = Month(2020, 1)
MODELS = ("blend", "logistic", "logistic_smote", "vae_anomaly", "vae_supervised", "gbm", "mlp")
CLIENT = """
    SELECT $month AS month, printf('%08d', i) AS client_id, 10000 * (1 + i % 50) AS limit_bal,
    1 + i % 2 AS sex, 1 + i % 4 AS education, 1 + i % 3 AS marriage, 21 + i % 50 AS age,
    {codes}, {amounts}, i AS row_number, 'sha' || $month AS file_sha256 FROM range($clients) AS r (i)
"""
SCORE = """
    SELECT $month AS month, printf('%08d', i) AS client_id, m AS model,
    m = 'blend' AS is_champion, random() AS score, random() AS pd,
    if(m = 'blend', 400 + i % 300, NULL) AS points, if(m = 'blend', chr(65 + (i % 7)::INT), NULL) AS grade,
    if(m = 'blend', i % 3 = 0, NULL) AS flagged
    FROM (SELECT unnest($models) AS m) CROSS JOIN range($clients) AS r (i)
"""
SCORING = """
    SELECT $month AS month, 'blend' AS champion, 'v' || $month[:4] AS version, 'live' AS basis,
    'run-' || $month AS run_id, 'sha' || $month AS file_sha256, 'code' AS code_version,
    now()::TIMESTAMP AS scored_at
"""
OUTCOME = """
    SELECT $month AS month, printf('%08d', i) AS client_id, (i % 5 = 0)::TINYINT AS defaulted,
    'outcomes' AS source, 'out' || $month AS file_sha256 FROM range($clients) AS r (i)
"""
FILE = """
    SELECT $month AS month, $kind AS kind, $kind || $month AS file_sha256, $kind AS file_name, 1 AS bytes,
    1 AS revision, TRUE AS is_current, FALSE AS has_label, $clients AS received, $clients AS accepted,
    0 AS quarantined, 'code' AS code_version, 'run-' || $month AS run_id, now()::TIMESTAMP AS loaded_at
"""


@dataclass(frozen=True)
class Row:
    """One history: seconds of each way to publish its last month, and sizes in MiB."""

    months: int
    publish: float
    copy: float
    parquet: float
    size: float
    scores: float


def add_month(con: duckdb.DuckDBPyConnection, month: Month, clients: int) -> None:
    """What a monthly run writes to the large tables."""
    codes = ", ".join(f"(i * {n} % 5) - 2 AS pay_{n}" for n in range(1, 7))
    amounts = ", ".join(
        f"round(random() * 90000) AS {kind}_amt{n}" for kind in ("bill", "pay") for n in range(1, 7)
    )
    now, before = (
        {"month": str(month), "clients": clients},
        {"month": str(month.plus(-1)), "clients": clients},
    )
    with transaction(con):
        con.execute("INSERT INTO clients BY NAME " + CLIENT.format(codes=codes, amounts=amounts), now)
        con.execute("INSERT INTO files BY NAME " + FILE, {**now, "kind": "clients"})
        if month > FIRST:
            con.execute("INSERT INTO outcomes BY NAME " + OUTCOME, before)
            con.execute("INSERT INTO files BY NAME " + FILE, {**before, "kind": "outcomes"})
        con.execute("INSERT INTO score_rows BY NAME " + SCORE, {**now, "models": list(MODELS)})
        con.execute("INSERT INTO scorings BY NAME " + SCORING, {"month": str(month)})


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def difference(con: duckdb.DuckDBPyConnection, target: Path) -> list[str]:
    """The tables in which the warehouse and the publication differ, whatever the order of their rows."""
    con.execute(f"ATTACH '{target}' AS published (READ_ONLY)")
    count = "SELECT count(*) FROM (FROM {0}{2} EXCEPT ALL FROM {1}{2})"
    ways = (("", "published."), ("published.", ""))
    found = [
        table
        for table in TABLES
        if any(con.execute(count.format(*way, table)).fetchall() != [(0,)] for way in ways)
    ]
    con.execute("DETACH published")
    return found


def measure(histories: list[int], clients: int) -> list[Row]:
    """One row a history.

    Raises:
        RuntimeError: the publication differs from the warehouse.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="creditflow-publish-") as folder:
        target, copied, scores = (Path(folder) / name for name in ("p.duckdb", "copy", "scores"))
        with open_warehouse(Path(folder) / "w.duckdb") as con:
            for number in range(1, max(histories) + 1):
                if number in histories:
                    # The state before the month, as the run before left it.
                    publish_scores(con, scores)
                add_month(con, FIRST.plus(number - 1), clients)
                if number in histories:
                    con.execute("CHECKPOINT")
                    times = {
                        "publish": timed(lambda: publish(con, target)),
                        "copy": timed(lambda: shutil.copyfile(target, copied)),
                        "parquet": timed(lambda: publish_scores(con, scores)),
                    }
                    if differing := difference(con, target):
                        raise RuntimeError(f"after {number} months these tables differ: {differing}")
                    sizes = {
                        "size": target.stat().st_size / 2**20,
                        "scores": sum(p.stat().st_size for p in scores.rglob("*.parquet")) / 2**20,
                    }
                    rows.append(Row(number, **times, **sizes))
    return rows


def page(rows: list[Row], clients: int) -> str:
    """The report, as Markdown."""
    lines = [
        "# Publishing a month, measured",
        "",
        "Written by `python benchmarks/publish.py`; every figure is measured, none is typed.",
        "",
        f"{machine(['duckdb'])}.",
        "",
        f"{clients:,} clients a month, {len(MODELS)} models. A publication holds the warehouse's tables: the "
        "benchmark compares them row by row and fails where they differ. *Copy*: the published file copied "
        "and nothing else. Parquet: the new month's file.",
        "",
        "| months | scores | publish, s | copy, s | Parquet, s | database, MiB | all Parquet, MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {r.months} | {r.months * clients * len(MODELS):,} | {r.publish:.2f} | {r.copy:.2f} | "
            f"{r.parquet:.2f} | {r.size:,.0f} | {r.scores:,.0f} |"
            for r in rows
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measures the histories given on the command line and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("months", nargs="*", type=int, default=list(HISTORIES))
    parser.add_argument("--clients", type=int, default=30_000)
    arguments = parser.parse_args()
    PAGE.write_text(page(measure(arguments.months, arguments.clients), arguments.clients), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
