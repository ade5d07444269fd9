"""Scoring over Parquet partitions, with a home's real models: on this machine, and on a Dask cluster."""

import os
import signal
import threading
import time

import polars as pl
import pytest
from typer.testing import CliRunner

from creditflow.errors import (
    ArtifactCorrupt,
    ClusterUnreachable,
    FileUnreadable,
    HeaderRefused,
    OutputOccupied,
    ScoringIncomplete,
)
from flows import cli
from flows.settings import load_settings
from sql.warehouse import open_warehouse
from tasks.partitions import SUCCESS
from tasks.storage import Place

pytestmark = pytest.mark.flow

MONTH = "2026-04"
STORED = (
    *("client_id", "model", "is_champion", "score", "pd", "points", "grade", "flagged"),
    *("month", "version"),
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setenv("CREDITFLOW_STAGE_RETRY_SECONDS", "0")


def score(source, target, overwrite=False, dask=None):
    from flows import partitions

    settings = load_settings(dask=dask)
    (line,) = partitions.score(settings, str(source), str(target), overwrite)
    return line


def accepted(home):
    """The accepted clients of the newest month, which the newest champion has scored."""
    with open_warehouse(home.warehouse) as con:
        statement = f"SELECT * EXCLUDE file_sha256 FROM clients WHERE month = '{MONTH}' ORDER BY client_id"
        return con.sql(statement).pl()


def stored(home):
    with open_warehouse(home.warehouse) as con:
        found = con.sql(f"SELECT {', '.join(STORED)} FROM scores WHERE month = '{MONTH}'").pl()
    return found.sort("client_id", "model")


def parts(frame, count):
    rows = -(-frame.height // count)
    return {f"part-{i}.parquet": frame.slice(i * rows, rows) for i in range(count)}


@pytest.fixture
def source(home, tmp_path):
    """The month in three partitions."""
    folder = tmp_path / "clients"
    folder.mkdir()
    for name, frame in parts(accepted(home), 3).items():
        frame.write_parquet(folder / name)
    return folder


def scores_in(folder):
    return pl.read_parquet(sorted(folder.glob("*.parquet"))).sort("client_id", "model")


# ── On this machine ─────────────────────────────────────────────────────────────────────────────


def test_scores_are_those_of_the_monthly_run_and_are_made_once(home, source, tmp_path):
    target = tmp_path / "scores"
    assert score(source, target).startswith("3 scored, 0 were in place: 3 partitions, ")
    found = scores_in(target)
    assert found.select(STORED).equals(stored(home))
    assert found["code_version"].n_unique() == 1
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*")}
    assert score(source, target).startswith("nothing to do: 3 partitions, ")
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*")} == before


def test_a_damaged_partition_is_named_and_the_others_are_kept(home, source, tmp_path):
    target, damaged = tmp_path / "scores", source / "part-1.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-100])
    with pytest.raises(FileUnreadable, match=r"partition part-1.parquet .* Of the others, 2 are in place"):
        score(source, target)
    assert sorted(path.name for path in target.glob("*.parquet")) == ["part-0.parquet", "part-2.parquet"]
    assert not (target / SUCCESS).exists()
    damaged.write_bytes(whole)
    assert score(source, target).startswith("1 scored, 2 were in place")
    assert scores_in(target).select(STORED).equals(stored(home))


def test_the_command_ends_with_one_line_and_exit_code_1(home, source, tmp_path, capsys):
    frame = pl.read_parquet(source / "part-2.parquet")
    frame.drop("pay_2").write_parquet(source / "part-2.parquet")
    result = CliRunner().invoke(cli.app, ["score", str(source), str(tmp_path / "scores")])
    assert isinstance(result.exception, HeaderRefused)
    assert result.exception.exit_code == 1
    said = str(result.exception)
    assert "partition part-2.parquet" in said
    assert "column pay_2" in said
    assert "\n" not in said


def test_several_failures_are_told_together(source, tmp_path, home):
    for name, column in [("part-0.parquet", "age"), ("part-2.parquet", "client_id")]:
        pl.read_parquet(source / name).drop(column).write_parquet(source / name)
    words = r"all 3 partitions scored, found 2 .*part-0.parquet.*column age.*part-2.parquet.*column client_id"
    with pytest.raises(ScoringIncomplete, match=words):
        score(source, tmp_path / "scores")


def test_another_input_is_refused_unless_overwritten(home, source, tmp_path):
    target, other = tmp_path / "scores", tmp_path / "others"
    score(source, target)
    other.mkdir()
    accepted(home).head(50).write_parquet(other / "few.parquet")
    with pytest.raises(OutputOccupied, match="clients"):
        score(other, target)
    assert scores_in(target).select(STORED).equals(stored(home))
    score(other, target, overwrite=True)
    assert [path.name for path in target.glob("*.parquet")] == ["few.parquet"]
    assert scores_in(target)["client_id"].n_unique() == 50


def test_models_are_checked_where_they_are_loaded(home, source, tmp_path):
    from tasks import partition_worker

    target = tmp_path / "scores"
    (source / "part-1.parquet").rename(source / "_part-1.parquet")
    score(source, target)
    (source / "_part-1.parquet").rename(source / "part-1.parquet")
    changed = target / "_models" / "blend" / "cut_off.json"
    changed.write_bytes(changed.read_bytes().replace(b"0", b"1", 1))
    partition_worker._loaded.clear()
    with pytest.raises(ArtifactCorrupt, match=r"_models/blend/cut_off.json.*Remove _models"):
        score(source, target)


def test_a_fault_of_the_storage_is_tried_again(home, source, tmp_path, monkeypatch):
    put, failed = Place.put, []

    def faulty(place, file, name):
        if name == "part-1.parquet" and len(failed) < 2:
            failed.append(name)
            raise OSError("the network is gone")
        put(place, file, name)

    monkeypatch.setattr(Place, "put", faulty)
    score(source, tmp_path / "scores")
    assert len(failed) == 2
    assert scores_in(tmp_path / "scores").select(STORED).equals(stored(home))


def test_no_cluster_at_the_address_is_one_line(home, source, tmp_path, monkeypatch):
    from flows import partitions
    from flows.server import free_port

    monkeypatch.setattr(partitions, "CONNECT_SECONDS", 1)
    with pytest.raises(ClusterUnreachable, match="expected an answer within 1 s"):
        score(source, tmp_path / "scores", dask=f"tcp://127.0.0.1:{free_port()}")
    assert not (tmp_path / "scores").exists()


# ── On a Dask cluster, from and to an S3-compatible server ──────────────────────────────────────


@pytest.fixture
def bucket(monkeypatch):
    """The URL of a bucket on a server of the test's own; credentials are in the environment alone."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("portfolio", create_parents=True)
    yield "s3://portfolio"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def cluster(home, monkeypatch):
    """Two worker processes, on loopback and without a dashboard."""
    from distributed import LocalCluster

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        worker_dashboard_address=None,
    ) as cluster:
        yield cluster


def test_workers_without_prefects_server_are_refused_at_once(cluster, source, tmp_path):
    from flows import partitions
    from flows.server import free_port

    with pytest.raises(ClusterUnreachable, match=r"Dask worker tcp://127.0.0.1:.*PREFECT_API_URL"):
        partitions.require_workers(cluster.scheduler_address, f"http://127.0.0.1:{free_port()}/api")


def in_the_middle(cluster, target, killed):
    """Kills a worker once a partition is in place, while it works on another one."""
    while not any(name.startswith("_done/") for name in target.files()):
        time.sleep(0.05)
    while not killed:
        for nanny in list(cluster.workers.values()):
            # A worker that is stopped cannot finish what the scheduler says it is at.
            os.kill(nanny.pid, signal.SIGSTOP)
            time.sleep(0.3)
            state = cluster.scheduler.workers.get(nanny.worker_address)
            if state and state.processing:
                killed.append((list(state.processing), list(target.files())))
                os.kill(nanny.pid, signal.SIGKILL)
                return
            os.kill(nanny.pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_and_doubles_nothing(home, bucket, cluster, tmp_path):
    month = accepted(home)
    # Enough of them that a partition takes a while.
    clients = pl.concat(
        month.with_columns(pl.format("{}-{}", "client_id", pl.lit(copy)).alias("client_id"))
        for copy in range(200)
    )
    source, target = Place(f"{bucket}/clients"), Place(f"{bucket}/scores")
    (tmp_path / "clients").mkdir()
    for name, frame in parts(clients, 12).items():
        frame.write_parquet(tmp_path / "clients" / name)
        source.put(tmp_path / "clients" / name, name)
    killed = []
    watcher = threading.Thread(target=in_the_middle, args=(cluster, target, killed))
    watcher.start()
    line = score(source.url, target.url, dask=cluster.scheduler_address)
    watcher.join()

    ((processing, in_place),) = killed
    assert processing
    assert SUCCESS not in in_place
    assert line.startswith("12 scored, 0 were in place: 12 partitions, ")
    done = pl.read_json(target.fetch(SUCCESS, tmp_path / "manifest"))["partitions"][0].struct.unnest()
    assert done["partition"].n_unique() == done.height == 12
    assert done["rows_in"].sum() == clients.height
    workers = set(done["worker"].str.split(":").list.last().cast(pl.Int64))
    assert len(workers) >= 2

    # The same as on one machine, partition by partition and byte by byte.
    score(tmp_path / "clients", tmp_path / "scores")
    for name in done["partition"]:
        assert target.read([name])[name] == (tmp_path / "scores" / name).read_bytes()
    found = scores_in(tmp_path / "scores")
    assert found.select("client_id", "model").is_duplicated().sum() == 0
    assert found["client_id"].n_unique() == clients.height
    # And as in the monthly run.
    of_month = stored(home)
    of_copy = found.filter(pl.col("client_id").str.ends_with("-7"))
    of_copy = of_copy.with_columns(pl.col("client_id").str.strip_suffix("-7")).sort("client_id", "model")
    assert of_copy.select(STORED).equals(of_month)

    assert score(source.url, target.url).startswith("nothing to do")
