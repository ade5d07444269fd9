"""Times the way in against a bare copy of the same file, as Markdown on the standard output.

    python benchmarks/ingest.py                      1,000,000 simulated clients
    python benchmarks/ingest.py 1000000 10000000     and how memory grows from the first size to the last

Ingest is from the bytes of the file to its typed Parquet on disk, its digest included. The bare copy is
polars' own scan_csv (or scan_parquet) and sink_parquet and no more, in the same process, in turn with it; the
fastest of five rounds counts. Checks, and the memory of the whole intake, are measured in a process of their
own per size.
"""

import argparse
import gzip
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = 5
FIRST, SECOND = "2026-01", "2026-02"


def simulated(clients: int, folder: Path) -> None:
    """Two consecutive months as CSV."""
    command = [sys.executable, "-m", "flows.cli", "simulate", "--months", "2", "--clients", str(clients)]
    command += ["--first", FIRST]
    subprocess.run(
        command,
        check=True,
        env=os.environ | {"CREDITFLOW_HOME": str(folder)},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )


# ── Ratio ───────────────────────────────────────────────────────────────────────────────────────


def ratios(source: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Format → (seconds of the bare copy, seconds of the ingest) of the file `source`."""
    import polars as pl

    packed, columnar = folder / f"{source.name}.gz", folder / source.with_suffix(".parquet").name
    with source.open("rb") as text, gzip.open(packed, "wb", compresslevel=6) as out:
        shutil.copyfileobj(text, out, 1 << 20)
    pl.scan_csv(source).sink_parquet(columnar)
    return {
        "CSV": _in_turn(source, folder, lambda copy: pl.scan_csv(source).sink_parquet(copy)),
        "CSV.gz": _in_turn(packed, folder, lambda copy: pl.scan_csv(packed).sink_parquet(copy)),
        "Parquet": _in_turn(columnar, folder, lambda copy: pl.scan_parquet(columnar).sink_parquet(copy)),
    }


def _in_turn(path: Path, folder: Path, bare: Callable[[Path], Any]) -> tuple[float, float]:
    rounds = [(_seconds(bare, folder / "bare.parquet"), _seconds(_ingest, path)) for _ in range(ROUNDS)]
    return min(first for first, _ in rounds), min(second for _, second in rounds)


def _ingest(path: Path) -> None:
    from expectations import digests
    from expectations.reader import open_raw
    from expectations.staging import typed_rows

    digests._known.clear()  # A digest that is remembered would flatter.
    with tempfile.TemporaryDirectory(dir=path.parent) as stage:
        typed_rows(path, open_raw(path, "clients", Path(stage)), Path(stage))


def _seconds(work: Callable[[Path], Any], path: Path) -> float:
    start = time.perf_counter()
    work(path)
    return time.perf_counter() - start


# ── The whole intake ────────────────────────────────────────────────────────────────────────────


def intake(inbox: Path) -> dict[str, Any]:
    """Rows, seconds a part, peak memory in bytes of a process that checks the second month."""
    from creditflow.month import Month
    from expectations.intake import Context, check_file

    parts: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        parts[name] = time.perf_counter() - start

    month, work = Month.parse(SECOND), inbox.parent / "work"
    context = Context(previous_clients=inbox.parent / "previous.parquet")
    checked = check_file(inbox / f"clients_{month}.csv", "clients", month, work, context, step=step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": checked.received, "parts": parts, "peak": peak}


def _previous(inbox: Path) -> None:
    """What the second month is held against: the first one, as it was accepted."""
    from creditflow.month import Month
    from expectations.intake import Context, check_file

    month, work = Month.parse(FIRST), inbox.parent / "work"
    checked = check_file(inbox / f"clients_{month}.csv", "clients", month, work, Context())
    checked.accepted_parquet.rename(inbox.parent / "previous.parquet")


def _apart(inbox: Path, part: str) -> Any:
    command = [sys.executable, __file__, "--part", part, "--inbox", str(inbox)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return json.loads(printed)


PARTS: dict[str, Callable[[Path], Any]] = {"previous": _previous, "intake": intake}


# ── Page ────────────────────────────────────────────────────────────────────────────────────────


def section(sizes: list[int], folder: Path) -> str:
    """The Markdown, for simulated portfolios of these sizes."""
    lines: list[str] = []
    measured: list[dict[str, Any]] = []
    for clients in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            home = Path(name)
            simulated(clients, home)
            if not measured:
                found = ratios(home / "inbox" / f"clients_{SECOND}.csv", home)
                lines += _ratio_lines(clients, found)
            _apart(home / "inbox", "previous")
            measured.append(_apart(home / "inbox", "intake"))
    return "\n".join([*lines, "", *_growth_lines(measured)])


def _ratio_lines(clients: int, found: dict[str, tuple[float, float]]) -> list[str]:
    rows = [
        f"| {name} | {bare:.2f} s | {ours:.2f} s | {ours / bare:.2f} |"
        for name, (bare, ours) in found.items()
    ]
    return [
        f"Ingest of {clients:,} clients (digest, cells, typed Parquet) beside polars' bare copy:",
        "",
        "| format | bare copy | ingest | ratio |",
        "| --- | ---: | ---: | ---: |",
        *rows,
    ]


def _growth_lines(measured: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"| {m['rows']:,} | "
        + " | ".join(f"{m['parts'][part]:.1f} s" for part in ("read", "check", "split"))
        + f" | {m['peak'] / 1e6:,.0f} MB |"
        for m in measured
    ]
    table = ["| rows | read | check | split | peak memory |", "| ---: | ---: | ---: | ---: | ---: |", *rows]
    first, last = measured[0], measured[-1]
    if first["rows"] == last["rows"]:
        return table
    exponent = math.log(last["peak"] / first["peak"]) / math.log(last["rows"] / first["rows"])
    return [*table, "", f"Peak memory grows with the rows to the power of {exponent:.2f}."]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000_000])
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--inbox", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part](arguments.inbox)))
    else:
        print(section(arguments.sizes, arguments.folder or Path(tempfile.gettempdir())))


if __name__ == "__main__":
    main()
