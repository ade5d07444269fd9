"""Runs the same month through creditflow and its peers, and writes benchmarks/month-peers.md.

    python benchmarks/month_peers.py                   30,000 and 1,000,000 simulated clients
    python benchmarks/month_peers.py 10000000          another size
    python benchmarks/month_peers.py --folder DIR      where the homes lie meanwhile; by default with other
                                                       temporary files

Needs the optional extra `benchmark`. Every script is a process of its own, timed and weighed by the
operating system (`os.wait4`); what the peers do stands in month_peer_scripts.py. A script that runs out of
patience or of memory is told as such.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from month_peer_scripts import MONTH, MONTHS, ROUNDS, SCORED_ROWS, SCORINGS, TRAINING_ROWS, month_file, theirs

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "benchmarks" / "month-peers.md"
SCRIPTS = ROOT / "benchmarks" / "month_peer_scripts.py"
SIZES = (30_000, 1_000_000)
OURS = "creditflow"
MODELS = 7
# Each library is to take the threads that it takes by itself.
THREADS = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "POLARS_MAX_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
PACKAGES = (
    "duckdb", "duckdb-engine", "evidently", "great-expectations", "joblib", "lightgbm", "onnxruntime",
    "pandas", "polars", "prefect", "pyod", "scikit-learn", "sqlalchemy", "torch",
)  # fmt: skip

# What a month asks for beside scores on disk, and who gives it.
THINGS = {
    "holds every row against every rule of the suite": {OURS, "whole_month"},
    "sets bad rows aside and scores the rest": {OURS},
    "scores by all seven models, with calibrated PDs": {OURS, "whole_month"},
    "gives reasons for scores": {OURS},
    "measures drift against the reference sample": {OURS, "whole_month"},
    "keeps the month in a database": {OURS, "notebook", "whole_month"},
    "draws pages": {OURS, "notebook", "whole_month"},
    "keeps every earlier month, and outcomes with it": {OURS},
    "publishes all at once, or nothing": {OURS},
}
TITLES = {
    OURS: "creditflow, a reuse run",
    "whole_month": "notebook, the whole month",
    "notebook": "notebook, one model",
    "pipeline": "scikit-learn pipeline",
    "pyod": "PyOD VAE",
    "lightgbm": "LightGBM",
    "onnx": "ONNX Runtime",
}
# what: (ours, the peer's); the last two compute the same.
PAIRS = {
    "VAE anomaly detector beside PyOD's VAE": ("ours_vae_anomaly", "pyod_alone"),
    "gradient boosting beside LightGBM": ("ours_gradient_boosting", "lightgbm_alone"),
    "VAE classifier beside ONNX Runtime of its network": ("ours_vae_supervised", "onnx_alone"),
    "its network alone, on encoded rows": ("ours_network", "onnx_network"),
}
SAME = {"onnx_alone", "onnx_network"}
LARGEST_DIFFERENCE = 1e-5
# As Python, numpy, C++, DuckDB, Arrow and torch say it.
OUT_OF_MEMORY = (
    "MemoryError",
    "Unable to allocate",
    "bad_alloc",
    "Out of Memory",
    "malloc of",
    "allocate memory",
)


# ── Processes ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Limits:
    """What a script may take: wall seconds, and bytes of memory of its own."""

    seconds: float
    memory: int


@dataclass(frozen=True)
class Ended:
    """A process: wall and processor seconds, peak memory in MiB, what it printed, or why it failed."""

    seconds: float
    processor: float
    peak: float
    printed: str
    failure: str | None


def ran(command: Sequence[str], folder: Path, limits: Limits) -> Ended:
    """Runs a command to its end, or to that of its limits."""
    env = {name: value for name, value in os.environ.items() if name not in THREADS}
    # The scripts' own folder is on the path of a script, that of creditflow need not be.
    env |= {"CREDITFLOW_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    # The system counts at least what this process held when it forked: it has to stay small itself.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=env, cwd=ROOT, stdout=output, stderr=errors, preexec_fn=lambda: _bound(limits)
        )
        late = threading.Timer(limits.seconds, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        late.cancel()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    failure = _failure(process.returncode, seconds, texts[1], limits)
    return Ended(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, texts[0], failure)


def _bound(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))


def _failure(code: int, seconds: float, errors: str, limits: Limits) -> str | None:
    if code == 0:
        return None
    if seconds >= limits.seconds:
        return f"stopped after {limits.seconds:,.0f} s"
    # The kernel kills; Rust and C++ abort.
    if code in (-signal.SIGKILL, -signal.SIGABRT) or any(words in errors for words in OUT_OF_MEMORY):
        return f"out of memory beyond {limits.memory / 2**30:.0f} GiB"
    raise RuntimeError(f"a script failed: {errors[-3000:]}")


def script(name: str, folder: Path, limits: Limits) -> Ended:
    """One of the peers' scripts."""
    return ran([sys.executable, str(SCRIPTS), name, str(folder)], folder, limits)


def creditflow(folder: Path, limits: Limits, *arguments: str) -> Ended:
    """A creditflow command."""
    return ran([sys.executable, "-m", "flows.cli", *arguments], folder, limits)


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Alone:
    """Scoring alone: rows a second and the process's peak memory in MiB."""

    rate: float
    peak: float


@dataclass(frozen=True)
class Size:
    """One size of month: the whole processes, scoring alone, and how far ONNX's scores lie from ours.

    `asked` clients were simulated to begin with; the month has `clients`.
    """

    asked: int
    clients: int
    months: dict[str, Ended]
    alone: dict[str, Alone]
    differences: dict[str, float]


def measure(asked: int, folder: Path, limits: Limits) -> Size:
    """Simulates three months, trains all models, and runs the third month through every script.

    Raises:
        RuntimeError: creditflow failed, a script scored other than all clients, or ONNX scores otherwise.
    """
    for arguments in (
        ("simulate", "--months", "3", "--clients", str(asked)),
        ("run", "2026-01"),
        ("run", "2026-02"),
    ):
        _whole(creditflow(folder, limits, *arguments))
    _whole(script("prepare", folder, limits))
    with month_file(folder).open("rb") as file:
        clients = sum(1 for _ in file) - 1
    months = {OURS: _whole(creditflow(folder, limits, "run", MONTH))}
    _tell(clients, OURS, months[OURS])
    for name in MONTHS:
        months[name] = script(name, folder, limits)
        _tell(clients, name, months[name])
        _check_scores(name, months[name], clients)
    alone = {name: _alone(script(name, folder, limits)) for name in SCORINGS}
    differences = {peer: _difference(folder, ours, peer) for ours, peer in PAIRS.values() if peer in SAME}
    return Size(asked, clients, months, alone, differences)


def _tell(clients: int, name: str, ended: Ended) -> None:
    print(
        f"{clients:,} {name}: {ended.failure or f'{ended.seconds:.1f} s, {ended.peak:,.0f} MiB'}", flush=True
    )


def _whole(ended: Ended) -> Ended:
    if ended.failure:
        raise RuntimeError(f"creditflow, or what the peers need of it: {ended.failure}")
    return ended


def _check_scores(name: str, ended: Ended, clients: int) -> None:
    if ended.failure:
        return
    wanted, found = clients * (MODELS if name == "whole_month" else 1), _printed(ended)["scores"]
    if found != wanted:
        raise RuntimeError(f"{name} wrote {found:,} scores instead of {wanted:,}")


def _alone(ended: Ended) -> Alone:
    printed = _printed(_whole(ended))
    return Alone(printed["rows"] / printed["seconds"], ended.peak)


def _printed(ended: Ended) -> dict[str, Any]:
    return json.loads(ended.printed.splitlines()[-1])


def _difference(folder: Path, ours: str, peer: str) -> float:
    one, other = (np.load(theirs(folder, f"{name}.scores.npy")) for name in (ours, peer))
    largest = float(np.abs(one - other).max())
    if not largest <= LARGEST_DIFFERENCE:
        raise RuntimeError(f"{peer} scores otherwise than {ours}, by up to {largest:.3g}")
    return largest


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def page(sizes: Sequence[Size], limits: Limits) -> str:
    """The report, as Markdown."""
    command = " ".join(["python benchmarks/month_peers.py", *(str(size.asked) for size in sizes)])
    lines = [
        "# The monthly run beside its peers",
        "",
        f"Written by `{command}`; every figure is measured, none is typed.",
        "",
        f"{machine(PACKAGES)}, {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        "The same simulated month goes through every script, each a process of its own with its imports, on "
        "as many threads as its libraries take by themselves. The models were trained before, creditflow's "
        f"by its run of the month before, the others on {TRAINING_ROWS:,} clients at most. Peak memory is "
        f"that of the largest process. A script is stopped after {limits.seconds:,.0f} s, and gets "
        f"{limits.memory / 2**30:.0f} GiB.",
        "",
        "## What each does",
        "",
        *_things(),
        "",
        "*Notebook, one model*: pandas, checks in pandas, a few features, a scikit-learn model from joblib, "
        "`to_sql` into DuckDB through SQLAlchemy (duckdb-engine), a matplotlib histogram and an HTML table. "
        "*Notebook, the whole month*: Great Expectations with creditflow's rules over the pandas frame, the "
        "very seven estimators through scikit-learn's interface, `to_sql` of all their scores, Evidently "
        "on a sample of 50,000; still without what the table leaves empty. *scikit-learn pipeline*: pandas, "
        "encoders and histogram gradient boosting, Parquet. *PyOD VAE*, *LightGBM* and *ONNX Runtime* read "
        "with polars, take creditflow's features by its own code, and write Parquet.",
    ]
    for size in sizes:
        lines += ["", f"## {size.clients:,} clients, file to scores on disk", "", *_end_to_end(size)]
        lines += ["", f"## {size.clients:,} clients, scoring alone", "", *_scoring(size)]
    return "\n".join([*lines, ""])


def _things() -> list[str]:
    return [
        "| | " + " | ".join(TITLES.values()) + " |",
        "| --- |" + " :---: |" * len(TITLES),
        *(
            f"| {thing} | " + " | ".join("yes" if n in who else "no" for n in TITLES) + " |"
            for thing, who in THINGS.items()
        ),
        "| **of these** | " + " | ".join(f"**{_done(name)}**" for name in TITLES) + " |",
    ]


def _done(name: str) -> int:
    return sum(name in who for who in THINGS.values())


def _end_to_end(size: Size) -> list[str]:
    ours = size.months[OURS]
    rows = [_month_row(name, size.months[name], ours, size.clients) for name in TITLES]
    return [
        _in_short(size),
        "",
        "Of the things above, *done* counts those that a script does, and scores on disk, which all write. "
        "Ratios above 1 are slower than creditflow.",
        "",
        "| | wall, s | ratio | processor, s | peak memory, MiB | clients/s | client scores/s | done | wall a "
        "thing done, s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *rows,
    ]


def _in_short(size: Size) -> str:
    """Who is behind creditflow and who is ahead of it, by wall time."""
    ours, others = size.months[OURS], [name for name in TITLES if name != OURS]
    ratios = {n: size.months[n].seconds / ours.seconds for n in others if not size.months[n].failure}
    parts = {
        "More time": [n for n in ratios if ratios[n] > 1],
        "Less time, for less done": [n for n in ratios if ratios[n] <= 1],
        "Not to the end": [n for n in others if n not in ratios],
    }
    told = {
        what: ", ".join(_named(n, ratios.get(n)) for n in names) for what, names in parts.items() if names
    }
    return f"creditflow takes {ours.seconds:.1f} s. " + " ".join(
        f"{what}: {names}." for what, names in told.items()
    )


def _named(name: str, ratio: float | None) -> str:
    done = f"{_done(name) + 1} of {len(THINGS) + 1} things"
    return f"*{TITLES[name]}* ({done}" + (")" if ratio is None else f", {ratio:.2f} of its time)")


def _month_row(name: str, ended: Ended, ours: Ended, clients: int) -> str:
    if ended.failure:
        return f"| {TITLES[name]} | {ended.failure} | | {ended.processor:.1f} | {ended.peak:,.0f} | | | | |"
    models = MODELS if name in THINGS["scores by all seven models, with calibrated PDs"] else 1
    done = _done(name) + 1
    return (
        f"| {TITLES[name]} | {ended.seconds:.1f} | {ended.seconds / ours.seconds:.2f} | "
        f"{ended.processor:.1f} | {ended.peak:,.0f} | {clients / ended.seconds:,.0f} | "
        f"{models * clients / ended.seconds:,.0f} | "
        f"{done} of {len(THINGS) + 1} | {ended.seconds / done:.1f} |"
    )


def _scoring(size: Size) -> list[str]:
    return [
        f"One model, {min(size.clients, SCORED_ROWS):,} rows in memory, the best of {ROUNDS} rounds in one "
        "process. Ratios above 1 say that creditflow is faster.",
        "",
        "| | creditflow, rows/s | peer, rows/s | ratio | peak, MiB | peer's, MiB | largest difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_pair_row(what, *pair, size) for what, pair in PAIRS.items()),
    ]


def _pair_row(what: str, ours: str, peer: str, size: Size) -> str:
    mine, other = size.alone[ours], size.alone[peer]
    gap = f"{size.differences[peer]:.1e}" if peer in size.differences else "other model"
    return (
        f"| {what} | {mine.rate:,.0f} | {other.rate:,.0f} | {mine.rate / other.rate:.2f} | "
        f"{mine.peak:,.0f} | {other.peak:,.0f} | {gap} |"
    )


def main() -> None:
    """Measures the sizes given and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--patience", type=float, default=3600, help="wall seconds that a script may take")
    parser.add_argument("--memory", type=float, default=_three_quarters(), help="GiB that a script may take")
    chosen = parser.parse_args()
    limits, sizes = Limits(chosen.patience, int(chosen.memory * 2**30)), []
    for clients in chosen.sizes:
        with tempfile.TemporaryDirectory(prefix="creditflow-peers-", dir=chosen.folder) as folder:
            sizes.append(measure(clients, Path(folder), limits))
    chosen.page.write_text(page(sizes, limits), "utf-8")
    print(chosen.page.read_text("utf-8"))


def _three_quarters() -> float:
    """GiB: three quarters of this machine's memory, whole ones."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // 2**30


if __name__ == "__main__":
    main()
