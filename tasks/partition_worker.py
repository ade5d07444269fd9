"""Scores one Parquet partition of clients: the part of `creditflow score` that goes on where the workers are.

A task is given keys alone; the job and its models are read from the output, checked by their sums, and kept
for the next task of the process.
"""

import ctypes
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.datatypes import DataType, DataTypeClass

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA
from creditflow.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ContentRefused,
    FileUnreadable,
    HeaderRefused,
    UsageError,
)
from creditflow.version import code_version
from tasks.measure import highest
from tasks.partitions import DONE, MODELS, RUN, Done, Job
from tasks.score import BATCH_ROWS, REPEATED, score_rows
from tasks.storage import UNFINISHED, Place, in_a_line

if TYPE_CHECKING:
    from models.develop import ClientScorer

MONTH = "month"


# ── The models ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LoadedSet:
    """The models of a job, ready to score.

    Args:
        columns: those that are read of a partition, and their types.
        cut_offs: the PD from which a client is flagged, by model, the champion first.
    """

    job: Job
    scorer: "ClientScorer"
    columns: Mapping[str, type[pl.DataType]]
    cut_offs: Mapping[str, float]


_loading = threading.Lock()
_loaded: dict[str, LoadedSet] = {}


def loaded_set(target: Place, digest: str, scratch: str | None = None) -> LoadedSet:
    """The models that a job scores by, loaded once in a process; another job's make way for them.

    Raises:
        ArtifactError: the job or an artifact is missing, or not as its sum says.
        UsageError: this worker runs other code than the job was given out by.
    """
    with _loading:
        if digest not in _loaded:
            _loaded.clear()
            _loaded[digest] = _load(target, digest, scratch)
        return _loaded[digest]


def _load(target: Place, digest: str, scratch: str | None) -> LoadedSet:
    from models.artifacts import load
    from models.develop import ClientScorer

    keep_freed_memory()
    job = _job(target, digest)
    shared: dict[str, Any] = {}
    order = sorted(job.manifests, key=lambda name: (name != job.champion, name))
    with TemporaryDirectory(prefix="creditflow-", dir=scratch) as folder:
        for name, content in target.read(list(target.files(MODELS))).items():
            copy = Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        with _of_the_output(target):
            models = {n: load(Path(folder) / MODELS / n, job.manifests[n], shared) for n in order}
    read = {CLIENT_ID, *models[job.champion].features.sources}
    columns = {name: dtype for name, dtype in CLIENT_SCHEMA.items() if name in read}
    return LoadedSet(job, ClientScorer(models), columns, {n: m.cut_off.cut_off for n, m in models.items()})


@contextmanager
def _of_the_output(target: Place) -> Iterator[None]:
    """Has an error of a copied artifact name what it is a copy of."""
    try:
        yield
    except ArtifactError as error:
        _, _, name = error.where.partition(f"/{MODELS}/")
        raise type(error)(
            f"{target.url}/{MODELS}/{name}",
            expected=error.expected,
            found=error.found,
            remedy=f"Remove {MODELS} from the output and score again: the home's models are copied anew.",
        ) from error


def _job(target: Place, digest: str) -> Job:
    content = target.read([RUN])[RUN]
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise ArtifactCorrupt(
            f"{target.url}/{RUN}",
            expected=f"SHA-256 {digest}",
            found=found,
            remedy="Another run has taken the output: let one run at a time write there.",
        )
    job = Job(**json.loads(content))
    if code_version() != job.code_version:
        raise UsageError(
            f"worker {_worker()}",
            expected=f"code {job.code_version}, as where the job was started",
            found=code_version(),
            remedy="Install the same creditflow on every machine, and restart its workers.",
        )
    return job


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


# What Dask's nanny sets for its workers; another value is somebody's wish.
_TRIM, _NANNYS = "MALLOC_TRIM_THRESHOLD_", "65536"
# Of glibc's malloc.h, with the values at which its own adjustment ends on a 64-bit machine.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _MMAP_THRESHOLD_MAX = -1, -3, 32 << 20


def keep_freed_memory() -> None:
    """Has this process use freed memory again, where Dask's nanny has it given back at once.

    By what the nanny sets, glibc no longer adjusts its thresholds (`mallopt(3)`, M_MMAP_THRESHOLD): every
    block from 128 KiB on is fetched from the system anew and filled with zeros, and scoring, which works on
    such blocks, takes more than twice the processor time.
    """
    if os.environ.get(_TRIM) != _NANNYS:
        return
    # Elsewhere than with glibc there is no such function, and the setting has no effect.
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_MAX)
        mallopt(_M_TRIM_THRESHOLD, 2 * _MMAP_THRESHOLD_MAX)


# ── A partition ─────────────────────────────────────────────────────────────────────────────────


def score_partition(target_url: str, digest: str, name: str, mark: str, scratch: str | None = None) -> Done:
    """Scores one partition and puts its scores in place; again, it leaves the same.

    Args:
        target_url: the output, which holds the job.
        digest: the job's.
        name, mark: the partition's.
        scratch: a folder that is swept after a kill; else the output's own where it lies on this machine.

    Raises:
        InputRefused: the partition is damaged, lacks a column, or a value in it; the partition is named.
        ArtifactError, UsageError: see `loaded_set`.
        OSError: the storage fails; it may work again.
    """
    started, busy = time.perf_counter(), time.process_time()
    target = Place(target_url)
    scratch = scratch or _own_scratch(target)
    models = loaded_set(target, digest, scratch)
    source = Place(models.job.source)
    with TemporaryDirectory(prefix="creditflow-", dir=scratch) as folder:
        clients = source.fetch(name, Path(folder) / "clients")
        scores = Path(folder) / "scores"
        rows_in, rows_out = score_file(clients, scores, models, f"partition {name} of {source.url}")
        target.put(scores, name)
        done = Done(
            partition=name,
            mark=mark,
            run=digest,
            rows_in=rows_in,
            rows_out=rows_out,
            bytes_in=clients.stat().st_size,
            bytes_out=scores.stat().st_size,
            sha256=_sha256(scores),
            worker=_worker(),
            seconds=round(time.perf_counter() - started, 3),
            processor_seconds=round(time.process_time() - busy, 3),
            peak_rss_bytes=_peak(),
        )
    target.write((json.dumps(asdict(done), indent=2) + "\n").encode(), f"{DONE}/{name}.json")
    return done


def _own_scratch(target: Place) -> str | None:
    """Clients must not stay where nobody looks for them: what lies here, the next run removes."""
    if not target.is_local:
        return None
    folder = Path(target.path(UNFINISHED))
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _peak() -> int:
    """The highest memory of this process, in bytes."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), flags=re.M)
        if found:
            return int(found[1]) * 1024
    # Elsewhere this may be that of the process that started this one.
    return highest()


def score_file(clients: Path, scores: Path, models: LoadedSet, where: str) -> tuple[int, int]:
    """Streams a Parquet file of clients into one of scores; returns clients in and rows out.

    A group of rows is of one model, so that who reads one model's scores skips the others.

    Raises:
        InputRefused: as in `score_partition`.
    """
    from models.threads import in_threads

    with _opened(clients, where) as file:
        columns = _checked_columns(file.schema_arrow, models, where)
        tables = in_threads(lambda part: _scored(part, models, where), _blocks(file, columns, where))
        rows = dict.fromkeys(models.cut_offs, 0)
        writer = None
        try:
            for model, table in (pair for block in tables for pair in block.items()):
                writer = writer or _writer(scores, table.schema)
                writer.write_table(table)
                rows[model] += table.num_rows
        finally:
            if writer:
                writer.close()
        expected = file.metadata.num_rows
    if set(rows.values()) != {expected} or pq.read_metadata(scores).num_rows != expected * len(rows):
        raise _damaged(where, f"{expected:,} clients", f"{max(rows.values()):,}")
    return expected, expected * len(rows)


def _writer(target: Path, schema: pa.Schema) -> pq.ParquetWriter:
    repeated = [name for name in (*REPEATED, MONTH, "version", "code_version") if name in schema.names]
    return pq.ParquetWriter(target, schema, use_dictionary=repeated, compression="zstd")


def _opened(clients: Path, where: str) -> pq.ParquetFile:
    with _readable(where):
        return pq.ParquetFile(clients)


def _blocks(file: pq.ParquetFile, columns: Sequence[str], where: str) -> Iterator[tuple[int, pl.DataFrame]]:
    """The rows before a block, and the block; an empty one where there are no rows."""
    start = 0
    with _readable(where):
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield start, pl.DataFrame(pl.from_arrow(batch))
            start += batch.num_rows
    if not start:
        yield 0, pl.DataFrame(pl.from_arrow(file.schema_arrow.empty_table())).select(columns)


def _scored(part: tuple[int, pl.DataFrame], models: LoadedSet, where: str) -> dict[str, pa.Table]:
    start, frame = part
    clients = frame.with_columns(
        _typed(frame[name], dtype, where, start) for name, dtype in models.columns.items()
    )
    more = [
        pl.lit(models.job.version).alias("version"),
        pl.lit(models.job.code_version).alias("code_version"),
    ]
    month = [clients[MONTH]] if MONTH in clients.columns else []
    scored = models.scorer(clients)
    tables = {}
    for name, cut_off in models.cut_offs.items():
        champion, options = name == models.job.champion, models.job.options
        rows = score_rows(clients[CLIENT_ID], name, scored[name], cut_off, champion, options)
        tables[name] = rows.with_columns(*month, *more).to_arrow()
    return tables


# ── What is no partition of clients ─────────────────────────────────────────────────────────────


def _checked_columns(schema: pa.Schema, models: LoadedSet, where: str) -> list[str]:
    """The columns to read, after a look at all that clients have."""
    found = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
    for name, dtype in CLIENT_SCHEMA.items():
        if name not in found or not _suits(found[name], dtype):
            raise HeaderRefused(
                f"{where}, column {name}",
                expected=_WANTED[dtype],
                found=str(found[name]) if name in found else "no such column",
                remedy="Write the partition anew with client_id and the 23 attributes; nothing of it was "
                "scored.",
            )
    return [name for name in found if name in models.columns or name == MONTH]


_WANTED: dict[type[pl.DataType], str] = {
    pl.String: "text or whole numbers",
    pl.Float64: "numbers",
    pl.Int16: "whole numbers",
}


def _suits(found: DataType | DataTypeClass, wanted: type[pl.DataType]) -> bool:
    if wanted is pl.Float64:
        return found.is_numeric()
    texts = (pl.String, pl.Categorical, pl.Enum) if wanted is pl.String else ()
    return found.is_integer() or isinstance(found, texts)


def _typed(values: pl.Series, dtype: type[pl.DataType], where: str, start: int) -> pl.Series:
    """The values in the type of the contract; one that is missing or does not fit is named by its row."""
    typed = values.cast(dtype, strict=False)
    bad = typed.is_null() | (~typed.is_finite() if dtype is pl.Float64 else False)
    if not bad.any():
        return typed
    row = int(bad.arg_max() or 0)
    raise ContentRefused(
        f"{where}, column {values.name}, row {start + row + 1:,}",
        expected=f"a value of {dtype.__name__}",
        # The value itself may be a client's.
        found="none" if values.is_null()[row] else "one that is not finite, or too large",
        remedy="Correct the partition; nothing of it was scored.",
    )


@contextmanager
def _readable(where: str) -> Iterator[None]:
    """Tells damage from other faults: what is read here lies on this machine."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _damaged(where, "a whole Parquet file", in_a_line(error)) from error


def _damaged(where: str, expected: str, found: str) -> FileUnreadable:
    remedy = "Write the partition anew; nothing of it was scored."
    return FileUnreadable(where, expected=expected, found=found, remedy=remedy)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
