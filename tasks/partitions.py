"""The scoring of a folder of Parquet partitions: what it is of, where it stands, what it comes to.

`tasks.partition_worker` scores one partition. The models leave the home as their artifacts, and everything
that workers need to know of a job lies in its output; a task is given keys alone. OUTPUT holds:

    _run.json           the job: input, models with their manifests' sums, settings, code. Written first.
    _models/MODEL/      the artifacts; their sums are checked where they are loaded.
    NAME.parquet        the scores of the input's NAME.parquet: clients times models rows.
    _done/NAME.parquet.json   what became of that partition; written once the partition is in place.
    _SUCCESS.json       all of these, added up. Written last, and only where they add up.

A partition's bytes follow from the job and its input alone, and are put in place as a whole. So a task that
is run twice, by a cluster that lost sight of a worker, leaves what one run leaves.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from creditflow.errors import FileMissing, FileUnreadable, OutputOccupied, ScoringIncomplete, UsageError
from creditflow.version import code_version
from sql.warehouse import execute, open_warehouse
from tasks.decide import Champion, champion_named
from tasks.home import Home
from tasks.ledger import NEVER_BEFORE
from tasks.options import Options
from tasks.storage import UNFINISHED, Place, in_a_line

FORMAT = 1
RUN, SUCCESS = "_run.json", "_SUCCESS.json"
MODELS, DONE = "_models", "_done"
OWN = (RUN, SUCCESS, MODELS, DONE, UNFINISHED)
SUFFIX = ".parquet"
# What a listing tells of a file's content, the surest first.
MARKS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")


# ── A job ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Job:
    """What scores follow from, but for the clients; an output belongs to one job.

    Args:
        source: folder or URL of the input.
        version: of the set of models.
        champion: the model whose scores have points, grade and flag.
        manifests: SHA-256 of each model's manifest, by the model's name.
    """

    source: str
    version: str
    champion: str
    manifests: Mapping[str, str]
    code_version: str
    base_points: int
    base_odds: float
    points_to_double: float
    format: int = FORMAT

    @cached_property
    def content(self) -> bytes:
        """The job as `_run.json`."""
        facts = {f.name: getattr(self, f.name) for f in fields(self)}
        return (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, by which workers know the job."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def options(self) -> Options:
        """The scale of points."""
        return Options(
            base_points=self.base_points, base_odds=self.base_odds, points_to_double=self.points_to_double
        )


@dataclass(frozen=True)
class Partition:
    """A file of the input: its name below the input, its size, and a mark that changes with its content."""

    name: str
    bytes: int
    mark: str


@dataclass(frozen=True)
class Done:
    """What became of a partition.

    Args:
        mark: of the input as it was listed.
        run: the job's digest.
        rows_out: clients times models.
        sha256: of the scores' file.
        worker: host and process.
        seconds: wall time on the worker, the first time with the loading of the models.
        processor_seconds: of the whole process meanwhile.
        peak_rss_bytes: the highest memory of the process so far.
    """

    partition: str
    mark: str
    run: str
    rows_in: int
    rows_out: int
    bytes_in: int
    bytes_out: int
    sha256: str
    worker: str
    seconds: float
    processor_seconds: float
    peak_rss_bytes: int


def job_of(home: Home, source: str, options: Options, memory_limit: str | None = None) -> Job:
    """The scoring of an input by the set of the newest champion; the caller holds the home's lock.

    Raises:
        UsageError: the home has no champion.
    """
    champion, rows = _champion_set(home, memory_limit)
    return Job(
        source,
        champion.version,
        champion.model,
        {name: manifest for name, _, manifest, _ in rows},
        code_version(),
        options.base_points,
        options.base_odds,
        options.points_to_double,
    )


def _champion_set(home: Home, memory_limit: str | None) -> tuple[Champion, list[tuple[Any, ...]]]:
    if home.warehouse.exists():
        with open_warehouse(home.warehouse, memory_limit=memory_limit) as con:
            champion = champion_named(con, execute(con, "champion_before", month=NEVER_BEFORE))
            if champion:
                return champion, execute(con, "models_of_version", version=champion.version)
    raise UsageError(
        str(home.root),
        expected="a champion in force",
        found="none",
        remedy="Run a month whose outcomes are known first: creditflow run MONTH.",
    )


# ── What is there, and what is to be done ───────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plan:
    """Where a job stands. `todo` partitions are missing in the output, or have another content now."""

    job: Job
    partitions: tuple[Partition, ...]
    todo: tuple[Partition, ...]
    done: tuple[Done, ...]
    complete: bool

    @property
    def rows(self) -> tuple[int, int]:
        """Clients in and rows out of the partitions that are done."""
        return sum(d.rows_in for d in self.done), sum(d.rows_out for d in self.done)


def partitions_of(source: Place) -> tuple[Partition, ...]:
    """The input's partitions by name; what begins with `_` or `.`, at any level, is none of them.

    Raises:
        FileMissing: there are none.
        FileUnreadable: another file lies among them, whose clients would be left out.
    """
    files = {name: facts for name, facts in source.files().items() if not _hidden(name)}
    other = [name for name in files if not name.endswith(SUFFIX)]
    if other:
        raise FileUnreadable(
            f"{source.url}/{other[0]}",
            expected=f"partitions alone, named *{SUFFIX}",
            found="another file",
            remedy="Move it elsewhere, or begin its name with _ where it holds no clients.",
        )
    if not files:
        raise FileMissing(
            source.url, expected=f"partitions named *{SUFFIX}", found="none", remedy="Correct the address."
        )
    return tuple(Partition(name, int(facts["size"]), _mark(facts)) for name, facts in files.items())


def _hidden(name: str) -> bool:
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _mark(facts: Mapping[str, Any]) -> str:
    return next((str(facts[key]).strip('"') for key in MARKS if facts.get(key)), "")


def plan(job: Job, target: Place, *, overwrite: bool = False) -> Plan:
    """Holds an output against a job; changes nothing.

    Args:
        overwrite: whatever an earlier run left counts for nothing.

    Raises:
        OutputOccupied: the output is of another job, or of no job at all.
        UsageError: the output lies within the input, or the input within the output.
        InputRefused: see `partitions_of`.
    """
    source = Place(job.source)
    _refuse_nested(source, target)
    partitions = partitions_of(source)
    files = target.files()
    earlier = None if overwrite and RUN in files else _earlier(target, files)
    if earlier is None:
        return Plan(job, partitions, partitions, (), False)
    _refuse_other(target, job, earlier)
    left = sorted({n for n in files if n.endswith(SUFFIX) and not _hidden(n)} - {p.name for p in partitions})
    if left:
        raise _occupied(target, "scores of the input's partitions alone", f"{left[0]}, which the input lacks")
    done = _done(target, job, files)
    found = {p.name: done.get(p.name) for p in partitions}
    kept = tuple(d for p in partitions if (d := found[p.name]) and (d.mark, d.bytes_in) == (p.mark, p.bytes))
    names = {d.partition for d in kept}
    todo = tuple(p for p in partitions if p.name not in names)
    return Plan(job, partitions, todo, kept, not todo and SUCCESS in files)


def _refuse_nested(source: Place, target: Place) -> None:
    ends = (f"{source.root}/", f"{target.root}/")
    if type(source.fs) is type(target.fs) and (ends[0].startswith(ends[1]) or ends[1].startswith(ends[0])):
        raise UsageError(
            f"the output {target.url}",
            expected="a folder apart from the input",
            found=f"the input {source.url}, or one within the other",
            remedy="Choose another folder: scores would be taken for clients.",
        )


def _earlier(target: Place, files: Mapping[str, Any]) -> dict[str, Any] | None:
    """The job that the output is of; None where the output is empty."""
    if RUN in files:
        try:
            return dict(json.loads(target.read([RUN])[RUN]))
        except ValueError as error:
            raise _occupied(target, f"a readable {RUN}", in_a_line(error)) from error
    # A run that is killed before it has written the job leaves no more than what it had begun of it.
    other = [name for name in files if not name.startswith(f"{UNFINISHED}/")]
    if other:
        raise OutputOccupied(
            target.url,
            expected="an empty folder, or the scores of an earlier run",
            found=f"{other[0]}, which no run has written",
            remedy="Choose another folder.",
        )
    return None


def _refuse_other(target: Place, job: Job, earlier: Mapping[str, Any]) -> None:
    wanted = json.loads(job.content)
    other = [key for key in wanted if wanted[key] != earlier.get(key)]
    if other:
        # The first by which a reader knows a job: the sums of models of another version differ as well.
        key = next((name for name in ("source", "version", "code_version") if name in other), other[0])
        raise _occupied(target, f"scores of {key} {wanted[key]}", f"those of {key} {earlier.get(key)}")


def _occupied(target: Place, expected: str, found: str) -> OutputOccupied:
    remedy = "Choose another folder, or give --overwrite to replace what is there."
    return OutputOccupied(target.url, expected=expected, found=found, remedy=remedy)


def _done(target: Place, job: Job, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Done]:
    """The partitions of this job that are in place, by name; a record that cannot be read counts for none."""
    records = target.read([name for name in files if name.startswith(f"{DONE}/")])
    found = {}
    for content in records.values():
        try:
            done = Done(**json.loads(content))
        except (ValueError, TypeError):
            continue
        stored = files.get(done.partition, {}).get("size")
        if done.run == job.digest and stored == done.bytes_out:
            found[done.partition] = done
    return found


def claim(home: Home, found: Plan, target: Place, *, overwrite: bool = False) -> None:
    """Makes the output ready for workers: the job, and the models of its set.

    Raises:
        ArtifactError: an artifact of the set is missing, damaged, or not of this version of the code.
    """
    files = target.files()
    if overwrite:
        # The job last: a run that is cut short here is still known by it.
        target.remove(n for n in files if n.endswith(SUFFIX) or (n.startswith(OWN) and n != RUN))
        files = {}
    target.remove(name for name in files if name == SUCCESS or name.startswith(f"{UNFINISHED}/"))
    target.write(found.job.content, RUN)
    for file, name in _artifact_files(home, found.job):
        if files.get(name, {}).get("size") != file.stat().st_size:
            with target.told():
                target.put(file, name)


def _artifact_files(home: Home, job: Job) -> Iterator[tuple[Path, str]]:
    """Every file of the set's artifacts, and its name in the output."""
    from models.artifacts import MANIFEST, read_manifest, verify

    with open_warehouse(home.warehouse) as con:
        rows = execute(con, "models_of_version", version=job.version)
    for model, folder, manifest, _ in rows:
        verify(home.root / folder, manifest)
        for name in (*read_manifest(home.root / folder, manifest)["files"], MANIFEST):
            yield home.root / folder / name, f"{MODELS}/{model}/{name}"


def finish(job: Job, target: Place) -> Plan:
    """Adds everything up, and writes the manifest.

    Raises:
        ScoringIncomplete: a partition is not in place, or the rows do not add up.
    """
    found = plan(job, target)
    if found.todo:
        raise _incomplete(target, f"all {len(found.partitions)} partitions", f"no {found.todo[0].name}")
    for done in found.done:
        if done.rows_out != done.rows_in * len(job.manifests):
            wanted = f"{done.rows_in:,} clients × {len(job.manifests)} models"
            raise _incomplete(target, wanted, f"{done.rows_out:,} rows in {done.partition}")
    rows_in, rows_out = found.rows
    facts = json.loads(job.content) | {
        "run": job.digest,
        "rows_in": rows_in,
        "rows_out": rows_out,
        "partitions": [asdict(done) for done in found.done],
    }
    target.write((json.dumps(facts, indent=2) + "\n").encode(), SUCCESS)
    target.remove(name for name in target.files() if name.startswith(f"{UNFINISHED}/"))
    return found


def _incomplete(target: Place, expected: str, found: str) -> ScoringIncomplete:
    remedy = "Score the same input into the same output again: what is in place is kept."
    return ScoringIncomplete(target.url, expected=expected, found=found, remedy=remedy)
