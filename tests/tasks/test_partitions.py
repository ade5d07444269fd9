"""Jobs, plans and single partitions, with a stand-in for the models: score and PD follow from `bill_amt1`."""

import ctypes
import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from creditflow.columns import AMOUNT_NAMES, ATTRIBUTE_NAMES, CLIENT_SCHEMA, CODE_NAMES
from creditflow.errors import (
    ArtifactCorrupt,
    ContentRefused,
    FileMissing,
    FileUnreadable,
    HeaderRefused,
    OutputOccupied,
    ScoringIncomplete,
    UsageError,
)
from creditflow.version import code_version
from tasks import partition_worker
from tasks.home import Home
from tasks.options import Options
from tasks.partition_worker import LoadedSet, score_file, score_partition
from tasks.partitions import RUN, SUCCESS, Job, finish, job_of, plan
from tasks.score import BATCH_ROWS, score_rows
from tasks.storage import UNFINISHED, Place

CUT_OFFS = {"blend": 0.3, "logistic": 0.2}


def clients(rows, first=0):
    """Clients in the accepted schema."""
    rng = np.random.default_rng(first)
    columns = {name: rng.integers(0, 3, rows).astype(np.int16) for name in CODE_NAMES}
    columns |= {name: rng.uniform(0, 1, rows) for name in AMOUNT_NAMES}
    ids = [f"C{first + i:07}" for i in range(rows)]
    attributes = {name: columns.get(name, np.full(rows, 40, np.int16)) for name in ATTRIBUTE_NAMES}
    return pl.DataFrame({"client_id": ids} | attributes).cast(CLIENT_SCHEMA)


def scorer(frame):
    risk = frame["bill_amt1"]
    return {name: pl.DataFrame({"score": risk, "pd": risk}) for name in CUT_OFFS}


@pytest.fixture
def models():
    manifests = dict.fromkeys(CUT_OFFS, "0" * 64)
    job = Job("in", "2026-01-aaaa", "blend", manifests, code_version(), 600, 30, 20)
    return LoadedSet(job, scorer, CLIENT_SCHEMA, CUT_OFFS)


@pytest.fixture
def score(models, tmp_path):
    """Scores a frame, or a file, and gives rows in, rows out and the scores."""

    def run(given):
        source, target = tmp_path / "clients.parquet", tmp_path / "scores.parquet"
        if isinstance(given, bytes):
            source.write_bytes(given)
        else:
            given.write_parquet(source)
        return *score_file(source, target, models, "partition p of in"), pl.read_parquet(target)

    return run


# ── One partition ───────────────────────────────────────────────────────────────────────────────


def test_scores_are_those_of_the_monthly_run(score, models):
    frame = clients(BATCH_ROWS + 11)
    rows_in, rows_out, found = score(frame)
    assert (rows_in, rows_out, found.height) == (frame.height, 2 * frame.height, 2 * frame.height)
    for name, cut_off in CUT_OFFS.items():
        scored, is_champion = scorer(frame)[name], name == "blend"
        wanted = score_rows(frame["client_id"], name, scored, cut_off, is_champion, Options())
        of_model = found.filter(pl.col("model") == name)
        assert of_model.drop("version", "code_version").equals(wanted)
        assert of_model["version"].unique().to_list() == ["2026-01-aaaa"]
        assert of_model["code_version"].unique().to_list() == [code_version()]


def test_a_group_of_rows_is_of_one_model(score, tmp_path):
    score(clients(BATCH_ROWS + 11))
    meta = pq.read_metadata(tmp_path / "scores.parquet")
    column = meta.schema.names.index("model")
    stats = [meta.row_group(i).column(column).statistics for i in range(meta.num_row_groups)]
    assert [(s.min, s.max) for s in stats] == [("blend",) * 2, ("logistic",) * 2] * 2


def test_a_partition_without_clients_has_no_scores(score):
    rows_in, rows_out, found = score(clients(0))
    assert (rows_in, rows_out, found.height) == (0, 0, 0)
    assert {"client_id", "model", "score", "pd", "grade", "version"} <= set(found.columns)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64])
def test_integer_types_may_vary(score, dtype):
    frame = clients(50)
    again = frame.with_columns(pl.col(CODE_NAMES).cast(dtype), pl.col("pay_amt1").cast(pl.Decimal(18, 9)))
    assert score(again)[2].equals(score(frame)[2])


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Categorical])
def test_client_ids_may_be_numbers_or_categories(score, dtype):
    frame = clients(50).with_columns(pl.Series("client_id", [str(i) for i in range(50)]))
    assert score(frame.with_columns(pl.col("client_id").cast(dtype)))[2].equals(score(frame)[2])


def test_month_goes_with_the_scores(score):
    frame = clients(50).with_columns(pl.lit("2026-01").alias("month"), pl.lit(1).alias("other"))
    found = score(frame)[2]
    assert found["month"].unique().to_list() == ["2026-01"]
    assert "other" not in found.columns


def test_scored_twice_the_bytes_are_the_same(score, tmp_path):
    score(clients(5000))
    first = (tmp_path / "scores.parquet").read_bytes()
    score(clients(5000))
    assert (tmp_path / "scores.parquet").read_bytes() == first


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        (lambda f: f.drop("pay_3"), HeaderRefused, "partition p of in, column pay_3: .* no such column"),
        (lambda f: f.drop("client_id"), HeaderRefused, "column client_id"),
        (lambda f: f.cast({"pay_1": pl.Float64}), HeaderRefused, "column pay_1: .*whole numbers.*Float64"),
        (lambda f: f.cast({"limit_bal": pl.String}), HeaderRefused, "column limit_bal: .*numbers.*String"),
        (lambda f: with_value(f, "age", None), ContentRefused, "column age, row 65,541: .*Int16, found none"),
        (lambda f: with_value(f, "bill_amt2", float("nan")), ContentRefused, "bill_amt2, row 65,541.*finite"),
        (lambda f: with_value(f.cast({"sex": pl.Int64}), "sex", 10**6), ContentRefused, "sex.*too large"),
        (lambda f: with_value(f, "client_id", None), ContentRefused, "column client_id, row 65,541"),
    ],
)
def test_what_cannot_be_scored_is_named_by_partition_and_column(score, changed, kind, words):
    with pytest.raises(kind, match=words):
        score(changed(clients(BATCH_ROWS + 11)))


def with_value(frame, column, value, row=BATCH_ROWS + 4):
    values = frame[column].to_list()
    values[row] = value
    return frame.with_columns(pl.Series(column, values, frame.schema[column]))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"ID,LIMIT_BAL\n1,2\n",
        # The footer is whole, the pages are not.
        lambda content: content[:2000] + bytes(20_000) + content[22_000:],
    ],
    ids=["cut off", "empty", "CSV", "zeros in it"],
)
def test_a_damaged_partition_is_named(score, damage, tmp_path):
    clients(5000).write_parquet(tmp_path / "whole")
    with pytest.raises(FileUnreadable, match="partition p of in: expected a whole Parquet file"):
        score(damage((tmp_path / "whole").read_bytes()))


def test_a_full_disk_is_not_taken_for_damage(models, tmp_path, monkeypatch):
    clients(50).write_parquet(tmp_path / "clients")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        score_file(tmp_path / "clients", tmp_path / "scores", models, "partition p")


def test_rows_that_were_lost_on_the_way_are_noticed(models, tmp_path, monkeypatch):
    clients(BATCH_ROWS + 11).write_parquet(tmp_path / "clients")
    blocks = partition_worker._blocks
    monkeypatch.setattr(partition_worker, "_blocks", lambda *given: list(blocks(*given))[:1])
    with pytest.raises(FileUnreadable, match="65,547 clients, found 65,536"):
        score_file(tmp_path / "clients", tmp_path / "scores", models, "partition p")


# ── A job and where it stands ───────────────────────────────────────────────────────────────────


class Office:
    """An input of three partitions, an output, and a job whose models are stand-ins."""

    def __init__(self, url, models):
        self.source, self.target = Place(f"{url}/in"), Place(f"{url}/out")
        self.job = replace(models.job, source=self.source.url)
        self.models = replace(models, job=self.job)

    def give(self, name, frame):
        self.source.write(parquet(frame), name)

    def claim(self):
        self.target.write(self.job.content, RUN)

    def score(self, *names):
        for partition in plan(self.job, self.target).partitions:
            if partition.name in names:
                score_partition(self.target.url, self.job.digest, partition.name, partition.mark)

    @property
    def todo(self):
        return [partition.name for partition in plan(self.job, self.target).todo]


NAMES = ("a.parquet", "b.parquet", "month=2026-01/c.parquet")


def parquet(frame):
    sink = pa.BufferOutputStream()
    pq.write_table(frame.to_arrow(), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(params=["file", "memory"])
def office(request, models, tmp_path, monkeypatch):
    office = Office(str(tmp_path) if request.param == "file" else f"memory://{uuid4()}", models)
    for number, name in enumerate(NAMES):
        office.give(name, clients(100 + number, first=1000 * number))
    monkeypatch.setattr(partition_worker, "_loaded", {office.job.digest: office.models})
    office.claim()
    return office


def test_partitions_are_scored_once_and_added_up(office):
    assert office.todo == list(NAMES)
    office.score(*NAMES[:2])
    assert office.todo == [NAMES[2]]
    office.score(NAMES[2])
    found = finish(office.job, office.target)
    assert (found.todo, found.rows) == ((), (303, 606))
    manifest = json.loads(office.target.read([SUCCESS])[SUCCESS])
    assert (manifest["rows_in"], manifest["rows_out"], manifest["version"]) == (303, 606, "2026-01-aaaa")
    assert [entry["partition"] for entry in manifest["partitions"]] == list(NAMES)
    assert plan(office.job, office.target).complete


def test_what_is_in_place_holds_every_client_once(office, tmp_path):
    office.score(*NAMES, *NAMES)
    found = pl.concat(pl.read_parquet(office.target.fetch(name, tmp_path / name)) for name in NAMES).filter(
        pl.col("is_champion")
    )
    assert found["client_id"].n_unique() == found.height == 303


def test_a_partition_scored_twice_leaves_what_one_leaves(office):
    office.score(NAMES[0])
    first = office.target.read([NAMES[0]])
    office.score(NAMES[0])
    assert office.target.read([NAMES[0]]) == first


def test_a_partition_that_changed_is_scored_again(office):
    office.score(*NAMES)
    finish(office.job, office.target)
    office.give(NAMES[1], clients(400, first=50_000))
    assert office.todo == [NAMES[1]]
    assert not plan(office.job, office.target).complete


@pytest.mark.parametrize("lost", [NAMES[1], f"_done/{NAMES[1]}.json"])
def test_a_partition_without_its_scores_or_its_record_is_scored_again(office, lost):
    office.score(*NAMES)
    office.target.remove([lost])
    assert office.todo == [NAMES[1]]
    with pytest.raises(ScoringIncomplete, match=f"all 3 partitions, found no {NAMES[1]}"):
        finish(office.job, office.target)


def test_a_record_that_is_cut_off_counts_for_none(office):
    office.score(*NAMES)
    office.target.write(b'{"partition": "b.par', f"_done/{NAMES[1]}.json")
    assert office.todo == [NAMES[1]]


def test_rows_that_do_not_add_up_are_refused(office):
    office.score(*NAMES)
    record = f"_done/{NAMES[0]}.json"
    facts = json.loads(office.target.read([record])[record]) | {"rows_out": 199}
    office.target.write(json.dumps(facts).encode(), record)
    with pytest.raises(ScoringIncomplete, match=r"100 clients × 2 models, found 199 rows in a.parquet"):
        finish(office.job, office.target)
    assert SUCCESS not in office.target.files()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "2026-02-bbbb"}, "of version 2026-02-bbbb, found those of version 2026-01-aaaa"),
        ({"code_version": "ffffffffffff"}, "of code_version ffffffffffff"),
        ({"base_points": 500}, "of base_points 500, found those of base_points 600"),
        ({"champion": "logistic"}, "of champion logistic, found those of champion blend"),
    ],
)
def test_an_output_of_another_job_is_refused_by_name(office, change, words):
    with pytest.raises(OutputOccupied, match=f"out: expected scores {words}.*--overwrite"):
        plan(replace(office.job, **change), office.target)
    assert len(plan(replace(office.job, **change), office.target, overwrite=True).todo) == 3


def test_an_output_of_another_input_is_refused_by_name(office):
    other = Place(f"{office.source.url}-2")
    other.write(parquet(clients(5)), "a.parquet")
    with pytest.raises(OutputOccupied, match=r"scores of source .*in-2, found those of source .*in"):
        plan(replace(office.job, source=other.url), office.target)


def test_scores_of_a_partition_that_is_gone_are_refused(office):
    office.score(*NAMES)
    office.source.remove([NAMES[1]])
    with pytest.raises(OutputOccupied, match=r"found b.parquet, which the input lacks"):
        plan(office.job, office.target)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_never_taken(office, overwrite):
    office.target.remove([RUN])
    office.target.write(b"mine", "notes.txt")
    with pytest.raises(OutputOccupied, match=r"found notes.txt, which no run has written. Choose another"):
        plan(office.job, office.target, overwrite=overwrite)


def test_what_a_killed_run_had_begun_is_in_nobodys_way_and_removed(office):
    office.target.remove([RUN])
    office.target.write(b"half", f"{UNFINISHED}/scores")
    assert office.todo == list(NAMES)
    office.claim()
    office.score(*NAMES)
    finish(office.job, office.target)
    assert not any(name.startswith(UNFINISHED) for name in office.target.files())


def test_clients_lie_only_where_they_are_swept_after_a_kill(office, monkeypatch, tmp_path):
    made, real = [], partition_worker.TemporaryDirectory
    monkeypatch.setattr(
        partition_worker, "TemporaryDirectory", lambda **given: made.append(given["dir"]) or real(**given)
    )
    office.score(NAMES[0])
    (tmp_path / "dask").mkdir()
    score_partition(office.target.url, office.job.digest, NAMES[1], "", str(tmp_path / "dask"))
    own = office.target.path(UNFINISHED) if office.target.is_local else None
    assert made == [own, str(tmp_path / "dask")]
    assert not list((tmp_path / "dask").iterdir())


@pytest.mark.parametrize(("source", "target"), [("in", "in"), ("in", "in/scores"), ("in/clients", "in")])
def test_output_and_input_stand_apart(models, tmp_path, source, target):
    place = Place(str(tmp_path / source))
    place.write(parquet(clients(5)), "a.parquet")
    with pytest.raises(UsageError, match="apart from the input"):
        plan(replace(models.job, source=place.url), Place(str(tmp_path / target)))


def test_an_input_without_partitions_is_refused(models, tmp_path):
    job = replace(models.job, source=str(tmp_path / "none"))
    with pytest.raises(FileMissing, match="none: expected partitions"):
        plan(job, Place(str(tmp_path / "out")))


def test_other_files_among_partitions_are_refused_and_hidden_ones_left_out(office):
    office.source.write(b"", "_SUCCESS")
    office.source.write(b"", "month=2026-01/.part.crc")
    assert office.todo == list(NAMES)
    office.source.write(b"", "d.csv")
    with pytest.raises(FileUnreadable, match=r"d\.csv: expected partitions alone"):
        plan(office.job, office.target)


# ── What a worker checks ────────────────────────────────────────────────────────────────────────


def test_a_worker_refuses_a_job_that_was_changed(office, monkeypatch):
    monkeypatch.setattr(partition_worker, "_loaded", {})
    with pytest.raises(ArtifactCorrupt, match=r"_run.json: expected SHA-256 ffff"):
        score_partition(office.target.url, "f" * 64, NAMES[0], "")


def test_a_worker_of_other_code_is_refused(office, monkeypatch):
    monkeypatch.setattr(partition_worker, "_loaded", {})
    monkeypatch.setattr(partition_worker, "code_version", lambda: "another")
    with pytest.raises(UsageError, match=r"worker .*: expected code .*, found another"):
        score_partition(office.target.url, office.job.digest, NAMES[0], "")


# How often memory is fetched anew, a page at a time, for 200 blocks of 512 KiB, each freed before the next.
FAULTS = """
import resource, sys
import numpy as np
from tasks.partition_worker import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(1 << 16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    np.ones(1 << 16)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
GLIBC = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not GLIBC, reason="the thresholds are glibc's")
def test_a_worker_of_dask_uses_freed_memory_again():
    # Importing it makes its settings known.
    pytest.importorskip("distributed")
    from dask import config

    set_by_dask = config.get("distributed.nanny.pre-spawn-environ")
    env = os.environ | {name: str(value) for name, value in set_by_dask.items()}
    kept, left = (
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, how], env=env, capture_output=True, check=True
            ).stdout
        )
        for how in ("kept", "left")
    )
    # 128 pages of 4 KiB a block, where it is fetched anew; blocks this small never lie in huge pages.
    assert 0 <= 20 * kept < left


@pytest.mark.parametrize("value", [None, "131072"])
def test_another_setting_of_the_memory_is_left_alone(monkeypatch, value):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    if value:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", value)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("the allocator was set"))
    partition_worker.keep_freed_memory()


def test_a_home_without_a_champion_says_so_and_stays_as_it_is(tmp_path):
    with pytest.raises(UsageError, match="expected a champion in force, found none"):
        job_of(Home(tmp_path / "home"), "in", Options())
    assert not (tmp_path / "home").exists()
