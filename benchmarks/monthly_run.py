"""Times the monthly run as a whole process, and writes benchmarks/README.md.

    python benchmarks/monthly_run.py                  30,000, 1,000,000 and 10,000,000 simulated clients
    python benchmarks/monthly_run.py 5000 30000       other sizes

For each size three months are simulated. The second one develops the models (train); the third one reuses
them (reuse). Memory is that of the process and of those that it started, together, looked at twenty times a
second; a page that several of them share, as of a library, counts once. As a peer the same file goes through
polars' bare `scan_csv().sink_parquet()` in a process of its own: what merely moving the data costs.
"""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import machine

from creditflow.month import Month
from tasks.home import Home
from tasks.timings import PART, StageTiming, timings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "README.md"
SIZES = (30_000, 1_000_000, 10_000_000)
# What the project asks of a reuse run on two processors: clients, seconds, GB.
ASKED = {30_000: (12, None), 1_000_000: (40, 1.5), 10_000_000: (240, 3.0)}
ASKED_EXPONENTS = (1.05, 0.2)
# Clients of the file that is read in every format.
INGEST_ROWS = 1_000_000
LOOK_SECONDS = 0.05
HIGHER = 1.02
# A profile of a larger month tells nothing new.
PROFILED_UP_TO = 1_000_000
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
    """A process and those that it started: wall seconds, and peak memory together in MiB."""

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
        peak, highest = 0, 0.0
        while (ended := os.waitpid(process.pid, os.WNOHANG))[0] == 0:
            # A process alone may peak between two looks; the system knows its own highest. What it tells of a
            # child at its end would hold what the parent held when it started it.
            peak = max(peak, _kib(f"/proc/{process.pid}/status", "VmHWM"))
            resident = sum(map(resident_kib, tree(process.pid)))
            # Dividing what is shared takes the system long: only where there is more than at the last time.
            if resident > HIGHER * highest:
                peak, highest = max(peak, sum(map(own_kib, tree(process.pid)))), resident
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - started
        if ended[1]:
            output.seek(0)
            raise RuntimeError(f"{command} failed: {output.read().decode()[-2000:]}")
    return Measured(seconds, peak / 1024)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(below for child in children for below in tree(int(child)))]


def resident_kib(pid: int) -> int:
    """Resident memory of a process, with all that it shares with others."""
    return _kib(f"/proc/{pid}/status", "VmRSS")


def own_kib(pid: int) -> int:
    """Its proportional set size: of a page that n processes share the nth part, as of libraries."""
    return _kib(f"/proc/{pid}/smaps_rollup", "Pss")


def _kib(path: str, name: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def creditflow(home: Path, *arguments: str, **settings: str) -> Measured:
    return measured([sys.executable, "-m", "flows.cli", *arguments], home, **settings)


def printed(command: list[str], home: Path) -> str:
    """What a command prints."""
    env = os.environ | {"CREDITFLOW_HOME": str(home)}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def pages_alone(home: Path, evidently: str) -> float:
    """Seconds that the pages of a month with outcomes take in a process that has its imports."""
    env = os.environ | {"CREDITFLOW_HOME": str(home), "CREDITFLOW_EVIDENTLY": evidently}
    command = [sys.executable, "-c", PACK, "2026-02"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


# ── One size ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Size:
    """One size of portfolio: what each run took, the stages of the reuse run, its scoring beside the bare
    products, what it would take at least, its profile where one was made, the bare copy."""

    clients: int
    runs: dict[str, Measured]
    packs: dict[str, float]
    stages: tuple[StageTiming, ...]
    scoring: str
    floor: str
    profile: str | None
    bare: Measured

    @property
    def reuse(self) -> Measured:
        return self.runs["reuse"]


def measure(clients: int) -> Size:
    """Simulates three months and runs them; the last one of a small size once more under the profiler."""
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
        (timed,) = timings(Home(home), Month.parse("2026-03"))
        scoring, floor = (
            printed([sys.executable, str(ROOT / "benchmarks" / name), "2026-03"], home)
            for name in ("scoring.py", "floor.py")
        )
        profile = _profiled(home) if clients <= PROFILED_UP_TO else None
        return Size(clients, runs, packs, timed.stages, scoring, floor, profile, bare)


def _profiled(home: Path) -> str:
    """The reuse run again: its file is touched, so that everything is done anew."""
    month = home / "inbox" / "clients_2026-03.csv"
    with month.open("r+b") as file:
        # The first digit of the first ID: other bytes, a client as good as the one before.
        first_row = file.readline() and file.tell()
        file.seek(first_row)
        digit = file.read(1)
        file.seek(first_row)
        file.write(b"2" if digit == b"1" else b"1")
    return printed([sys.executable, str(ROOT / "benchmarks" / "profile_run.py"), "2026-03"], home)


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def page(sizes: list[Size], ingest: str) -> str:
    """The report, as Markdown.

    Args:
        ingest: what benchmarks/ingest.py says.
    """
    lines = [
        "# The monthly run, measured",
        "",
        "Written by `python benchmarks/monthly_run.py`; every figure is measured, none is typed.",
        "",
        f"{machine(PACKAGES)}.",
        "",
        "Whole processes, Prefect and imports included. A train run develops all models (on at most 200,000 "
        "client-months) and scores two months; a reuse run scores one: file to published scores and pages, "
        "every client validated and scored by seven models, reasons for the riskiest. `report` builds the "
        "pages of a month with outcomes anew. Memory is that of all processes of a run together; a page that "
        "several share counts once. The ratio is to polars' bare `scan_csv().sink_parquet()` of "
        "the same file, in the same session.",
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
    lines += [
        *_asked(sizes),
        *_growth(sizes),
        "",
        "The pages of one month with outcomes, imports not counted:",
        "",
    ]
    lines += ["| clients | with Evidently, s | without, s |", "| ---: | ---: | ---: |"]
    lines += [
        f"| {size.clients:,} | {size.packs['with Evidently']:.1f} | {size.packs['without Evidently']:.1f} |"
        for size in sizes
    ]
    for size in sizes:
        lines += _stages(size)
    lines += ["", "## The way in", "", ingest.rstrip(), ""]
    return "\n".join(
        [*lines, "The simulator has a page of its own: [docs/simulation.md](../docs/simulation.md).", ""]
    )


def _asked(sizes: list[Size]) -> Iterator[str]:
    known = [size for size in sizes if size.clients in ASKED]
    if known:
        yield from ("", "## The reuse run against what is asked of it", "")
        yield from (
            "| clients | wall, s | asked | peak, GB | asked |",
            "| ---: | ---: | ---: | ---: | ---: |",
        )
    for size in known:
        seconds, gigabytes = ASKED[size.clients]
        most = "" if gigabytes is None else f"{gigabytes:.1f}"
        peak = f"{size.reuse.peak * 2**20 / 1e9:.2f}"
        yield f"| {size.clients:,} | {size.reuse.seconds:.1f} | {seconds} | {peak} | {most} |"


def _growth(sizes: list[Size]) -> Iterator[str]:
    """Growth from the last size but one to the last: the exponent b of clients^b between the two."""
    if len(sizes) < 2:
        return
    small, large = sizes[-2:]
    times = math.log(large.clients / small.clients)
    wall, memory = (
        math.log(getattr(large.reuse, name) / getattr(small.reuse, name)) / times
        for name in ("seconds", "peak")
    )
    yield ""
    yield (
        f"From {small.clients:,} to {large.clients:,} clients wall time grows by the power {wall:.2f} of the "
        f"clients (asked: {ASKED_EXPONENTS[0]}), peak memory by {memory:.2f} ({ASKED_EXPONENTS[1]})."
    )


def _stages(size: Size) -> Iterator[str]:
    yield from ("", f"## Stages of the reuse run, {size.clients:,} clients", "")
    yield from ("| stage | s | rows | rows/s | peak memory, MiB |", "| --- | ---: | ---: | ---: | ---: |")
    for timed in size.stages:
        rows = "" if timed.rows is None else f"{timed.rows:,}"
        pace = "" if timed.rows_per_second is None else f"{timed.rows_per_second:,.0f}"
        name = f"… {timed.stage.split(PART)[1]}" if timed.part else timed.stage
        yield f"| {name} | {timed.seconds:.2f} | {rows} | {pace} | {timed.peak_rss_bytes / 2**20:,.0f} |"
    whole = sum(timed.seconds for timed in size.stages if not timed.part)
    yield f"| between stages, and the end of the process | {size.reuse.seconds - whole:.2f} | | | |"
    yield from ("", "A part of a stage (…) is within the stage's time.", "")
    yield from ("Scoring beside the matrix products that it needs:", "", size.scoring.rstrip(), "")
    yield from ("What the libraries alone take, before a row is checked or a page made:", "")
    yield from (size.floor.rstrip(), "")
    if size.profile is not None:
        yield from (
            "The two slowest, run once more under benchmarks/profile_run.py:",
            "",
            size.profile.rstrip(),
        )


def main() -> None:
    """Measures the sizes given on the command line; the page is written anew after each."""
    wanted = [int(text) for text in sys.argv[1:]] or list(SIZES)
    with tempfile.TemporaryDirectory(prefix="creditflow-benchmark-") as folder:
        rows = str(min(max(wanted), INGEST_ROWS))
        ingest = printed([sys.executable, str(ROOT / "benchmarks" / "ingest.py"), rows], Path(folder))
    sizes: list[Size] = []
    for clients in wanted:
        sizes.append(measure(clients))
        PAGE.write_text(page(sizes, ingest), "utf-8")
    print(PAGE.read_text("utf-8"))


if __name__ == "__main__":
    main()
