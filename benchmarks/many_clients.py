"""Scores a hundred million clients on this machine, once, and writes benchmarks/many-clients.md.

    python benchmarks/many_clients.py                  100,000,000 clients, in partitions of 1,000,000
    python benchmarks/many_clients.py 2000000 100000   fewer, in smaller partitions

`creditflow score` takes Parquet partitions from the disk and puts the scores of all models back there. The
partitions hold the clients of one simulated month over and over, each time under other names: so every one
has to get the very scores of the first. Models are those of a portfolio of 30,000; their speed does not
depend on it.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
from machine import machine
from monthly_run import PACKAGES, ROOT, Measured, creditflow

from creditflow.columns import CLIENT_ID
from tasks.home import Home

PAGE = ROOT / "benchmarks" / "many-clients.md"
CLIENTS, PARTITION = 100_000_000, 1_000_000
HOME_CLIENTS = 30_000
GB = 10**9


def partitions(folder: Path, target: Path, clients: int, rows: int) -> None:
    """Writes the clients of one simulated month, as the contract accepts them, under ever other names."""
    month = Home(folder)
    creditflow(month.root, "simulate", "--months", "1", "--clients", str(rows))
    creditflow(month.root, "run", "2026-01")
    target.mkdir()
    with duckdb.connect(str(month.warehouse), read_only=True) as con:
        accepted = con.sql("SELECT * EXCLUDE (month, row_number, file_sha256) FROM clients").pl()
    for number in range(clients // rows):
        named = accepted.with_columns(pl.format("{}-{}", pl.lit(number), CLIENT_ID).alias(CLIENT_ID))
        named.write_parquet(target / f"part-{number:04}.parquet")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def scores_of(path: Path) -> pl.DataFrame:
    """Rows, clients and hashes of the scores of a partition, model by model."""
    return (
        pl.scan_parquet(path)
        .group_by("model")
        .agg(pl.len(), pl.col(CLIENT_ID).n_unique(), pl.struct("score", "pd").hash(seed=0).sum())
        .sort("model")
        .collect()
    )


def checked(output: Path) -> tuple[int, int]:
    """Clients and rows of scores that are there.

    Raises:
        RuntimeError: a partition's scores are not those of the first.
    """
    paths = sorted(output.glob("*.parquet"))
    first = scores_of(paths[0])
    for path in paths[1:]:
        if not scores_of(path).equals(first):
            raise RuntimeError(f"{path} holds other scores than {paths[0].name}, of the same clients")
    clients = int(first[CLIENT_ID].max())  # type: ignore[arg-type]
    return clients * len(paths), int(first["len"].sum()) * len(paths)


def page(taken: Measured, source: Path, output: Path) -> Iterator[str]:
    """The report, line by line."""
    clients, rows = checked(output)
    made = json.loads((output / "_SUCCESS.json").read_text("utf-8"))
    read, written = size_of(source), size_of(output)
    yield "# Many clients on one machine, measured once"
    yield ""
    command = " ".join(["python benchmarks/many_clients.py", *sys.argv[1:]])
    yield f"Written by `{command}`; every figure is measured, none is typed."
    yield ""
    yield f"{machine(PACKAGES)}."
    yield ""
    yield "`creditflow score`, the whole process: partitions of Parquet from the disk, scored by all models"
    yield "of the set, and back to the disk. How it is used: [many machines](../docs/many-machines.md)."
    yield ""
    yield "| | |"
    yield "| --- | ---: |"
    yield f"| clients | {clients:,} |"
    yield f"| partitions | {len(made['partitions']):,} |"
    yield f"| scores | {rows:,} |"
    yield f"| read | {read / GB:.1f} GB |"
    yield f"| written | {written / GB:.1f} GB |"
    yield f"| wall | {taken.seconds:,.0f} s |"
    yield f"| clients a second | {clients / taken.seconds:,.0f} |"
    yield f"| read and written a second | {(read + written) / taken.seconds / 1e6:,.0f} MB |"
    yield f"| peak memory of all its processes | {taken.peak:,.0f} MiB |"
    yield ""
    yield "Every partition holds the same clients under other names, and got the very scores of the first."
    yield ""


def main() -> None:
    """Measures and writes the page."""
    clients, rows = [int(text) for text in sys.argv[1:]] or (CLIENTS, PARTITION)
    with tempfile.TemporaryDirectory(prefix="creditflow-benchmark-") as folder:
        home, source, output = (Path(folder) / name for name in ("home", "in", "out"))
        creditflow(home, "simulate", "--months", "2", "--clients", str(HOME_CLIENTS))
        for month in ("2026-01", "2026-02"):
            creditflow(home, "run", month)
        partitions(Path(folder) / "month", source, clients, rows)
        taken = creditflow(home, "score", str(source), str(output))
        PAGE.write_text("\n".join(page(taken, source, output)), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
