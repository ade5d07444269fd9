"""Times the monthly run as a whole process, and writes benchmarks/README.md.

    python benchmarks/monthly_run.py                  5,000, 30,000 and 1,000,000 simulated clients
    python benchmarks/monthly_run.py 5000 30000       other sizes

For each size three months are simulated. The second one develops the models (train); the third one reuses
them (reuse), after the operating system's own count of time and peak memory. As a peer the same file goes
through polars' bare `scan_csv().sink_parquet()` in a process of its own: what merely moving the data costs.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl

from creditflow.version import code_version
from sql.warehouse import open_warehouse
from tasks.home import Home

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "README.md"
SIZES = (5_000, 30_000, 1_000_000)
BARE = "import polars, sys; polars.scan_csv(sys.argv[1]).sink_parquet(sys.argv[1] + '.parquet')"
# A month's pages alone: what a process pays for its imports is paid before.
PACK = """
import sys, time
import models.artifacts, evidently.presets
from creditflow.month import Month
from flows.options import run_options
from flows.settings import load_settings
from tasks.home import Home
from tasks.publish import rebuild_pack
settings = load_settings()
started = time.perf_counter()
month, options = Month.parse(sys.argv[1]), run_options(settings)
rebuild_pack(Home(settings.home), month, options, None, pdf=False, browser=None)
print(time.perf_counter() - started)
"""
PACKAGES = ("duckdb", "evidently", "great-expectations", "polars", "prefect", "scikit-learn", "torch")


@dataclass(frozen=True)
class Measured:
    """One process: wall seconds and peak memory in MiB, as the operating system counted them."""

    seconds: float
    peak: float


def measured(command: list[str], home: Path, **settings: str) -> Measured:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        env = os.environ | {"CREDITFLOW_HOME": str(home)} | settings
        process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            output.seek(0)
            raise RuntimeError(f"{command} failed: {output.read().decode()[-2000:]}")
    return Measured(seconds, usage.ru_maxrss / 1024)


def creditflow(home: Path, *arguments: str, **settings: str) -> Measured:
    return measured([sys.executable, "-m", "flows.cli", *arguments], home, **settings)


def pages_alone(home: Path, evidently: str) -> float:
    """Seconds that the pages of a month with outcomes take in a process that has its imports."""
    env = os.environ | {"CREDITFLOW_HOME": str(home), "CREDITFLOW_EVIDENTLY": evidently}
    command = [sys.executable, "-c", PACK, "2026-02"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Size:
    """One size of portfolio: what each run took, the stages of the last one, and the bare copy."""

    clients: int
    runs: dict[str, Measured]
    packs: dict[str, float]
    stages: pl.DataFrame
    bare: Measured


def measure(clients: int) -> Size:
    """Simulates three months and runs them."""
    with tempfile.TemporaryDirectory(prefix="creditflow-benchmark-") as folder:
        home = Path(folder)
        creditflow(home, "simulate", "--months", "3", "--clients", str(clients))
        creditflow(home, "run", "2026-01")
        runs = {
            "train": creditflow(home, "run", "2026-02"),
            "reuse": creditflow(home, "run", "2026-03"),
            "nothing to do": creditflow(home, "run", "2026-03"),
            # Of the month whose outcomes the last run brought, so that no section is without figures.
            "report": creditflow(home, "report", "2026-02"),
            "report without Evidently": creditflow(home, "report", "2026-02", CREDITFLOW_EVIDENTLY="false"),
        }
        packs = {
            "with Evidently": pages_alone(home, "true"),
            "without Evidently": pages_alone(home, "false"),
        }
        bare = measured([sys.executable, "-c", BARE, str(home / "inbox" / "clients_2026-03.csv")], home)
        with open_warehouse(Home(home).warehouse) as con:
            stages = con.sql(
                "SELECT stage, seconds, rows, peak_rss_bytes / 1048576 AS peak FROM stage_timings "
                "WHERE month = '2026-03' ORDER BY peak_rss_bytes, stage"
            ).pl()
    return Size(clients, runs, packs, stages, bare)


def page(sizes: list[Size]) -> str:
    """The report, as Markdown."""
    lines = [
        "# The monthly run, measured",
        "",
        "Written by `python benchmarks/monthly_run.py`; every figure is measured, none is typed.",
        "",
        f"{platform.machine()}, {os.cpu_count()} processors; Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        + f"; code {code_version()}.",
        "",
        "Whole processes, Prefect and imports included. A train run develops all models (on at most 200,000 "
        "client-months) and scores two months; a reuse run scores one. `report` builds the pages of a month "
        "with outcomes anew. The ratio is to polars' bare "
        "`scan_csv().sink_parquet()` of the same file, in the same session.",
        "",
        "| clients | run | wall, s | peak memory, MiB | clients/s | ratio of wall to a bare copy |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for size in sizes:
        lines += [
            f"| {size.clients:,} | {name} | {run.seconds:.1f} | {run.peak:,.0f} | "
            f"{size.clients / run.seconds:,.0f} | {run.seconds / size.bare.seconds:.1f} |"
            for name, run in size.runs.items()
        ]
    lines += ["", "The pages of one month with outcomes, imports not counted:", ""]
    lines += ["| clients | with Evidently, s | without, s |", "| ---: | ---: | ---: |"]
    lines += [
        f"| {size.clients:,} | {size.packs['with Evidently']:.1f} | {size.packs['without Evidently']:.1f} |"
        for size in sizes
    ]
    for size in sizes:
        lines += ["", f"## Stages of the reuse run, {size.clients:,} clients", ""]
        lines += ["| stage | s | rows | peak memory so far, MiB |", "| --- | ---: | ---: | ---: |"]
        lines += [
            f"| {stage} | {seconds:.2f} | {'' if rows is None else f'{rows:,}'} | {peak:,.0f} |"
            for stage, seconds, rows, peak in size.stages.iter_rows()
        ]
        rest = size.runs["reuse"].seconds - size.stages["seconds"].sum()
        lines.append(f"| Prefect, imports, publish | {rest:.2f} | | |")
    return "\n".join(
        [*lines, "", "The simulator has a page of its own: [docs/simulation.md](../docs/simulation.md).", ""]
    )


def main() -> None:
    """Measures the sizes given on the command line and writes the page."""
    sizes = [measure(int(text)) for text in sys.argv[1:] or SIZES]
    PAGE.write_text(page(sizes), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
