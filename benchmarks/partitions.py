"""Measures scoring over Parquet partitions on Dask workers, and writes docs/many-machines.md.

    python benchmarks/partitions.py                        1,000,000 simulated clients
    python benchmarks/partitions.py --clients 100000       fewer
    python benchmarks/partitions.py --price 0.06           what a processor costs an hour, for the plan

Needs the extra dask. Workers are processes on this machine, each held to one processor, one partition at a
time; input and output are files. A plan for a billion clients follows from the rates that are measured.
"""

import argparse
import json
import math
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

# Before the libraries that read them, here and in the workers.
os.environ.update(OMP_NUM_THREADS="1", POLARS_MAX_THREADS="1", OMP_WAIT_POLICY="PASSIVE")

import polars as pl
from machine import machine

from creditflow.month import Month

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "many-machines.md"
PACKAGES = ("dask", "distributed", "fsspec", "polars", "prefect", "prefect-dask", "pyarrow", "s3fs", "torch")
# Of the portfolio whose models score; their size, and with it their speed, does not depend on it.
HOME_CLIENTS = 30_000
# Partitions of so many parts of all clients, and small ones, in which the fixed cost shows.
PARTS = 4
SMALL, SMALL_ROWS = 50, 2_000
KILLED_PARTS = 8
PLANNED = 1_000_000_000
PLANNED_ROWS = 1_000_000
DEADLINES = (1, 4, 12)
GB = 10**9

Entries = list[dict[str, Any]]


@dataclass(frozen=True)
class Measured:
    """One run on fresh workers.

    Args:
        seconds: wall time of the whole command.
        driver: processor seconds of this process meanwhile: the flow, and Dask's scheduler.
        pause: median seconds between two partitions of a worker: Prefect, Dask, the record.
        partitions: what the manifest says of each.
    """

    workers: int
    seconds: float
    driver: float
    pause: float
    partitions: Entries

    @property
    def warm(self) -> Entries:
        """Without each worker's first one, which loads the models."""
        first: dict[str, dict[str, Any]] = {}
        for entry in sorted(self.partitions, key=lambda e: e["seconds"], reverse=True):
            first.setdefault(entry["worker"], entry)
        return [entry for entry in self.partitions if entry not in first.values()]

    @property
    def peak(self) -> int:
        """The highest memory of a worker, in bytes."""
        return max(entry["peak_rss_bytes"] for entry in self.partitions)


@dataclass(frozen=True)
class Rates:
    """What the plan is made of.

    Args:
        row: processor seconds a client, in a worker that has its models.
        partition: processor seconds a partition, whatever its rows.
        pause: seconds of a worker between two partitions.
        models: seconds that a worker takes to load libraries and models.
        driver: processor seconds that the driver and the scheduler take for a partition, at most.
        bytes_in, bytes_out: a client, in the input and in the scores of all models.
        memory: bytes, the highest of a worker.
    """

    row: float
    partition: float
    pause: float
    models: float
    driver: float
    bytes_in: float
    bytes_out: float
    memory: int


# ── Setting up ──────────────────────────────────────────────────────────────────────────────────


@contextmanager
def home_in_force(root: Path) -> Iterator[None]:
    """A home with a champion, and one Prefect server: what Prefect keeps in this process stays with one."""
    os.environ.update(CREDITFLOW_HOME=str(root), CREDITFLOW_EVIDENTLY="false", CREDITFLOW_SEED="42")
    from flows.quiet import quiet_settings

    settings = quiet_settings()
    from flows import workflows
    from flows.start import prefect_at_hand

    workflows.simulate_demo(settings, workflows.DEMO_FIRST, 2, HOME_CLIENTS)
    with prefect_at_hand(settings.home):
        workflows.run_range(settings, Month(2026, 1), Month(2026, 2), "measurement of partitions")
        yield


def simulated(clients: int) -> pl.DataFrame:
    """Clients in the accepted schema, with their month."""
    from models.simulator import SimulationSettings, simulate

    (month,) = simulate(SimulationSettings(Month(2026, 3), 1, clients))
    return month.clients.with_columns(pl.lit("2026-03").alias("month"))


def write_parts(frame: pl.DataFrame, folder: Path, parts: int) -> Path:
    """The frame as so many partitions."""
    folder.mkdir(parents=True)
    rows = math.ceil(frame.height / parts)
    for number in range(parts):
        frame.slice(number * rows, rows).write_parquet(folder / f"part-{number:04}.parquet")
    return folder


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """Worker processes on this machine, each held to a processor of its own."""
    from distributed import Client, LocalCluster

    processors = sorted(os.sched_getaffinity(0))
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as started:
        with Client(started, set_as_default=False) as client:
            client.wait_for_workers(workers)
            for number, address in enumerate(sorted(client.scheduler_info(n_workers=-1)["workers"])):
                client.run(hold_to, processors[number % len(processors)], workers=[address])
        yield started


def hold_to(processor: int) -> None:
    """Holds every thread of this process, and those to come, to one processor."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {processor})


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────


def scored(source: Path, target: Path, address: str | None) -> tuple[float, float]:
    """Scores a folder; returns wall seconds, and processor seconds of this process."""
    from flows import partitions
    from flows.settings import load_settings

    started, busy = time.perf_counter(), time.process_time()
    partitions.score(load_settings(dask=address), str(source), str(target))
    return time.perf_counter() - started, time.process_time() - busy


def manifest(target: Path) -> dict[str, Any]:
    """What a run says of itself."""
    return dict(json.loads((target / "_SUCCESS.json").read_text()))


def measured(source: Path, target: Path, workers: int) -> Measured:
    """One run on fresh workers."""
    with cluster(workers) as started:
        seconds, driver = scored(source, target, started.scheduler_address)
    entries = manifest(target)["partitions"]
    ends = {e["partition"]: (target / "_done" / f"{e['partition']}.json").stat().st_mtime for e in entries}
    print(f"{source.name}, {workers} worker(s): {seconds:.1f} s", flush=True)
    return Measured(workers, seconds, driver, pause_between(entries, ends), entries)


def pause_between(entries: Entries, ends: Mapping[str, float]) -> float:
    """The median of what lies between the end of a worker's partition and the begin of its next."""
    found = []
    for worker in {entry["worker"] for entry in entries}:
        own = sorted((ends[e["partition"]], e["seconds"]) for e in entries if e["worker"] == worker)
        found += [after - seconds - before for (before, _), (after, seconds) in pairwise(own)]
    return max(statistics.median(found), 0.0) if found else 0.0


def rates(whole: Measured, parts: Measured, small: Measured) -> Rates:
    """The line through a small and a large partition; the driver's share from small ones, start and all."""
    quick = statistics.median(entry["processor_seconds"] for entry in small.warm)
    slow = statistics.median(entry["processor_seconds"] for entry in parts.warm)
    rows_slow, rows_quick = parts.warm[0]["rows_in"], small.warm[0]["rows_in"]
    row = (slow - quick) / (rows_slow - rows_quick)
    clients = sum(entry["rows_in"] for entry in parts.partitions)
    return Rates(
        row=row,
        partition=max(quick - row * rows_quick, 0.0),
        pause=small.pause,
        models=max(entry["seconds"] for entry in small.partitions),
        driver=small.driver / len(small.partitions),
        bytes_in=sum(entry["bytes_in"] for entry in parts.partitions) / clients,
        bytes_out=sum(entry["bytes_out"] for entry in parts.partitions) / clients,
        memory=max(whole.peak, parts.peak),
    )


# ── A worker that is killed ─────────────────────────────────────────────────────────────────────


@dataclass
class Journal:
    """What happened when, in seconds since the start."""

    started: float = field(default_factory=time.perf_counter)
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Writes a line down."""
        self.lines.append(f"{time.perf_counter() - self.started:6.1f} s  {text}")


def survived(source: Path, folder: Path) -> list[str]:
    """Scores with two workers of which one is killed, and without; returns the events.

    Raises:
        SystemExit: a row is lost, doubled or different.
    """
    journal, ended = Journal(), threading.Event()
    with cluster(2) as started:
        journal.note(f"{len(list(source.iterdir()))} partitions, workers {_pids(started)}")
        watch = threading.Thread(target=_watch, args=(started, folder / "killed", journal, ended))
        watch.start()
        try:
            scored(source, folder / "killed", started.scheduler_address)
        finally:
            ended.set()
            watch.join()
    found = manifest(folder / "killed")
    journal.note(f"{found['rows_in']:,} clients in, {found['rows_out']:,} rows out: they add up")
    scored(source, folder / "alone", None)
    _require_same(folder / "alone", folder / "killed")
    journal.note("scored again by one process on one machine: every partition is the same, byte by byte")
    return journal.lines


def _pids(started: Any) -> str:
    return " and ".join(str(nanny.pid) for nanny in started.workers.values())


def _watch(started: Any, target: Path, journal: Journal, ended: threading.Event) -> None:
    """Notes partitions as they come, and kills a worker at its work once two are in place."""
    seen: set[str] = set()
    known, killed = {nanny.pid for nanny in started.workers.values()}, False
    while True:
        last = ended.is_set()
        for record in sorted(set(map(str, (target / "_done").glob("*.json"))) - seen):
            facts = json.loads(Path(record).read_text())
            worker = facts["worker"].rpartition(":")[2]
            journal.note(
                f"{facts['partition']} is in place, by {worker}: {facts['rows_in']:,} clients in "
                f"{facts['seconds']:.1f} s"
            )
            seen.add(record)
        for pid in {n.pid for n in list(started.workers.values()) if n.pid} - known:
            journal.note(f"worker {pid} is started in its place")
            known.add(pid)
        killed = killed or (len(seen) >= 2 and _kill(started, journal))
        if last:
            break
        time.sleep(0.02)


def _kill(started: Any, journal: Journal) -> bool:
    """Kills a worker that is at work; stopped first, so that it cannot finish meanwhile."""
    for nanny in list(started.workers.values()):
        os.kill(nanny.pid, signal.SIGSTOP)
        time.sleep(0.3)
        state = started.scheduler.workers.get(nanny.worker_address)
        if state and state.processing:
            journal.note(f"worker {nanny.pid} is killed (SIGKILL) with {len(state.processing)} tasks on it")
            os.kill(nanny.pid, signal.SIGKILL)
            return True
        os.kill(nanny.pid, signal.SIGCONT)
    return False


def _require_same(one: Path, other: Path) -> None:
    sums = [{e["partition"]: e["sha256"] for e in manifest(folder)["partitions"]} for folder in (one, other)]
    files = [{path.name: path.read_bytes() for path in folder.glob("*.parquet")} for folder in (one, other)]
    if sums[0] != sums[1] or files[0] != files[1]:
        sys.exit("the scores of the run with a killed worker are not those of one machine")


# ── The plan ────────────────────────────────────────────────────────────────────────────────────


def plan(found: Rates, price: float, models: int) -> list[str]:
    """What a billion clients take, line by line."""
    partitions = math.ceil(PLANNED / PLANNED_ROWS)
    fixed = found.partition + found.pause
    each = fixed + found.row * PLANNED_ROWS
    hours = partitions * each / 3600
    size_in, size_out = PLANNED * found.bytes_in, PLANNED * found.bytes_out
    facts = {
        "partitions": f"{partitions:,} of {PLANNED_ROWS:,} clients",
        "a partition, in and out": f"{PLANNED_ROWS * found.bytes_in / 1e6:,.0f} MB and "
        f"{PLANNED_ROWS * found.bytes_out / 1e6:,.0f} MB",
        "rows of scores": f"{PLANNED * models:,} ({models} models)",
        "storage in": f"{size_in / GB:,.0f} GB",
        "storage out": f"{size_out / GB:,.0f} GB",
        "time of a partition": f"{each:.1f} s on one processor, {100 * fixed / each:.2f} % of it "
        "whatever its size",
        "work": f"{hours:,.1f} processor-hours",
        "memory a worker": f"{found.memory / 2**20:,.0f} MiB at the highest",
        "driver and scheduler": f"{partitions * found.driver / 60:,.1f} minutes of another processor, "
        "at most",
        "objects": f"{partitions:,} read, {2 * partitions + 2:,} written",
        "cost of the processors": f"{hours:,.1f} × {price:g} = {hours * price:,.2f}",
    }
    return [
        "| | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        "",
        "| deadline, h | workers | partitions each, at most | read, MB/s together | "
        "written, MB/s together | memory together, GiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_deadline(found, each, partitions, deadline) for deadline in DEADLINES),
    ]


def _deadline(found: Rates, each: float, partitions: int, hours: float) -> str:
    """Whole partitions fit into the time that is left after start; so a worker more is better than a half."""
    per_worker = math.floor((hours * 3600 - found.models) / each)
    workers = math.ceil(partitions / per_worker)
    rows_a_second = workers * PLANNED_ROWS / each
    cells = (
        f"{hours:g}",
        f"{workers:,}",
        f"{per_worker:,}",
        f"{rows_a_second * found.bytes_in / 1e6:,.1f}",
        f"{rows_a_second * found.bytes_out / 1e6:,.1f}",
        f"{workers * found.memory / 2**30:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


# ── The page ────────────────────────────────────────────────────────────────────────────────────

USE = """## How to use it

```sh
pip install 'creditflow[dask]'                         # here and on every worker; s3fs is in it

# on this machine, one partition after another
creditflow score s3://bank/clients/month=2026-03 s3://bank/scores/month=2026-03

# on a cluster that is there, given by its scheduler's address
prefect server start --host 10.0.0.5                   # one that every worker reaches
dask scheduler --no-dashboard                          # on 10.0.0.5
dask worker tcp://10.0.0.5:8786 --nthreads 1 --no-dashboard   # on every machine
export PREFECT_API_URL=http://10.0.0.5:4200/api CREDITFLOW_DASK=tcp://10.0.0.5:8786
creditflow score s3://bank/clients/month=2026-03 s3://bank/scores/month=2026-03
```

Prefect keeps the states of tasks on its server, so workers have to reach it; a command without
`PREFECT_API_URL` brings one of its own, which workers of other machines do not reach: that is refused
before anything is begun, as is a worker with other code.

INPUT is a folder of Parquet files with the accepted clients: `client_id` and the 23 attributes, `month`
where there is one. OUTPUT gets a file of scores for each, under the same name: the columns of the view
`scores` that follow from models and clients alone, and `version` and `code_version`. Both are paths or
URLs that fsspec reads: `s3://`, `gs://` (with gcsfs), `abfs://` (with adlfs), `sftp://`, `file://`;
every worker has to reach them. Credentials come from the environment; a URL with a password is refused,
since URLs are written down.

The models are those of the home's champion and its set. Their artifacts are copied to `OUTPUT/_models`,
each worker checks every sum and scores reference rows before it uses them, and a task carries nothing
but keys: the output, the job's sum, the partition's name. Whether one machine or a hundred: the same
function scores a partition, and its bytes are the same.

A worker takes one partition at a time and streams it in blocks, by as many threads as it may use
processors, at most four: start one for every four processors, or hold one to each (`taskset -c 0 dask
worker …`). Clients are taken as the contract accepted them; whether one stands in two partitions is not
looked at.

Dask starts its workers with `MALLOC_TRIM_THRESHOLD_=65536`, which more than doubles the processor time of
scoring; a worker that finds this very value uses freed memory again, as outside of Dask. Another value, set
in Dask's `distributed.nanny.pre-spawn-environ`, is kept.

While a partition is scored, its copy and its scores lie in the worker's folder of Dask
(`--local-directory`), which Dask sweeps after a kill. The artifacts in `_models` hold a sample of
attributes without identifiers: keep OUTPUT as closed as the home.

### What is in OUTPUT

| file | what |
| --- | --- |
| `NAME.parquet` | the scores of the input's `NAME.parquet` |
| `_SUCCESS.json` | the manifest: of each partition rows, SHA-256, worker, seconds; written last |
| `_run.json` | what the scores are of: input, models with their sums, settings, code |
| `_models/` | the artifacts |
| `_done/` | a record of each partition, from which a later run knows what it need not do |

An output of another input, version or code is refused by name, unless `--overwrite` is given. A
partition that is damaged, or lacks a column or a value, is named in one line; the others are kept, the
exit code is 1, and the next run does what is missing.

### Whom a cluster trusts

Dask sends functions and arguments between its processes by pickle: who reaches a scheduler or a worker
can run code there. That is the cluster's own matter, as a shell is; creditflow reads no pickle from any
file or storage. So keep a cluster to one owner: a network of its own, and [TLS with
certificates](https://distributed.dask.org/en/stable/tls.html) on scheduler, workers and driver, whose
address then begins with `tls://`. Dask reports to nobody; its dashboard is left off by `--no-dashboard`.
Prefect's server holds names of partitions and states of tasks, no client.

## When a worker dies

Dask gives its tasks to another one. A partition is put in place as a whole, by a rename or, on an object
store, by one complete upload, and its record follows; what a killed worker had begun is under no name
that anybody reads. Work that two workers come to do leaves the same bytes. A storage that fails for a
while is tried again (`CREDITFLOW_STAGE_RETRIES`). A partition that kills its workers one after the other
is given up and named, after as many as Dask's `allowed-failures` allows (3) and one more. If the driver
itself dies, run the same command again.
"""


def page(
    runs: Sequence[Measured], found: Rates, events: Sequence[str], arguments: argparse.Namespace, models: int
) -> str:
    """The page, as Markdown."""
    command = f"python benchmarks/partitions.py --clients {arguments.clients} --price {arguments.price:g}"
    lines = [
        "# Many machines",
        "",
        f"Written by `{command}`; every figure is measured, or follows from measured ones; none is typed.",
        "",
        USE,
        "Two worker processes, and one of them killed in the middle:",
        "",
        "```",
        *events,
        "```",
        "",
        "## Measured",
        "",
        f"{machine(PACKAGES)}.",
        "",
        f"{models} models and {arguments.clients:,} simulated clients; each worker a fresh process held to "
        "one processor; input, as polars writes it, and output on the machine's disk. Rates are without "
        "each worker's first partition, which loads libraries and models. Wall time is of the whole run, "
        "loading included, with a Prefect server that is there.",
        "",
        "| workers | partitions | clients each | wall, s | clients/s of a worker | "
        "clients a processor-second | peak memory of a worker, MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *map(_run_row, runs),
        "",
        *_scaling(runs),
        "",
        "| | |",
        "| --- | ---: |",
        f"| a client | {1e6 * found.row:.1f} µs of a processor |",
        f"| a partition, whatever its rows | {1e3 * found.partition:.0f} ms of a processor |",
        f"| a worker between two partitions | {1e3 * found.pause:.0f} ms |",
        f"| driver and scheduler, a partition | {1e3 * found.driver:.0f} ms of another processor, at most |",
        f"| libraries and models, once a worker | {found.models:.1f} s |",
        f"| a client in the input | {found.bytes_in:.1f} bytes |",
        f"| a client's {models} scores | {found.bytes_out:.1f} bytes |",
        "",
        f"## {PLANNED:,} clients",
        "",
        "A calculation from the figures above, on processors like this one; nothing of this size was run. It "
        "assumes storage and network that keep up with what the last table asks of them, and workers of one "
        f"processor each. Cost = processor-hours × price; the price, {arguments.price:g} an hour of a "
        "processor with its memory, is an assumption (`--price`), and storage, requests and traffic are not "
        "in it.",
        "",
        *plan(found, arguments.price, models),
        "",
    ]
    return "\n".join(lines)


def _run_row(run: Measured) -> str:
    entries = run.warm or run.partitions
    rows = sum(entry["rows_in"] for entry in entries)
    cells = (
        f"{run.workers}",
        f"{len(run.partitions)}",
        f"{run.partitions[0]['rows_in']:,}",
        f"{run.seconds:.1f}",
        f"{rows / sum(entry['seconds'] for entry in entries):,.0f}" + ("" if run.warm else " (with loading)"),
        f"{rows / sum(entry['processor_seconds'] for entry in entries):,.0f}",
        f"{run.peak / 2**20:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _scaling(runs: Sequence[Measured]) -> list[str]:
    """One worker against two on the same partitions."""
    pair = {run.workers: run for run in runs if len(run.partitions) == 2 * PARTS}
    if set(pair) != {1, 2}:
        return []
    wall, busy = (2 * _rate(pair[2], "seconds") / _rate(pair[1], "seconds")), _busy(pair[2]) / _busy(pair[1])
    return [
        f"On the same {2 * PARTS} partitions two workers score {wall:.2f} times as many clients a second as "
        f"one, and {busy:.2f} times as many with a second of a processor. Where the first is well below "
        "twice the second, the machine's processors had other work to do."
    ]


def _busy(run: Measured) -> float:
    return _rate(run, "processor_seconds")


def _rate(run: Measured, seconds: str) -> float:
    return sum(e["rows_in"] for e in run.warm) / sum(e[seconds] for e in run.warm)


def main() -> None:
    """Measures, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--price", type=float, default=0.05, help="of an hour of a processor")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="partitions-") as name:
        folder = Path(name)
        with home_in_force(folder / "home"):
            text = _measure(folder, arguments)
    arguments.page.write_text(text, "utf-8")
    print(text)


def _measure(folder: Path, arguments: argparse.Namespace) -> str:
    frame = simulated(arguments.clients)
    given = {
        "whole": write_parts(frame, folder / "whole", 1),
        "parts": write_parts(frame, folder / "parts", PARTS),
        "halves": write_parts(frame, folder / "halves", 2 * PARTS),
        "small": write_parts(frame.head(SMALL * SMALL_ROWS), folder / "small", SMALL),
        "few": write_parts(frame.head(frame.height // 2), folder / "few", KILLED_PARTS),
    }
    asked = (("whole", 1), ("parts", 1), ("small", 1), ("halves", 1), ("halves", 2))
    runs = [measured(given[name], folder / f"out-{name}-{n}", n) for name, n in asked]
    events = survived(given["few"], folder)
    models = len(manifest(folder / "out-whole-1")["manifests"])
    return page(runs, rates(*runs[:3]), events, arguments, models)


if __name__ == "__main__":
    main()
