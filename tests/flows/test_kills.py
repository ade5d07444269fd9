"""Runs are killed by SIGKILL, started again, and end as if nothing had happened.

The month that is killed has everything in it: a corrected client file, corrected outcomes of the month
before, a retraining, the gate, scores that supersede, reports, a publication. Moments are drawn within each
stage's share of an undisturbed run, so that short stages are struck as often as long ones. A disk that is
full from a stage on is held to the same.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import polars as pl
import pytest

from sql.publish import TABLES
from sql.warehouse import open_published, open_warehouse
from tasks.home import Home

pytestmark = [pytest.mark.flow, pytest.mark.slow]

MONTH = "2026-04"
STAGES = (
    "load clients",
    "load outcomes",
    "decide",
    "develop",
    "score",
    "monitor",
    "alert",
    "report",
    "publish",
)
BOUNDARIES = [f"{stage} {moment}" for stage in STAGES for moment in ("start", "end")]
SEED = 20260401
# Old enough that the run retrains.
SETTINGS = {"CREDITFLOW_MAX_MODEL_AGE_MONTHS": "2"}

# What differs between two runs that did the same: who ran, when, and how long it took.
PASSING = {
    "run_id",
    "superseded_by_run",
    "loaded_at",
    "scored_at",
    "trained_at",
    "decided_at",
    "evaluated_at",
    "started_at",
    "ended_at",
    "fit_seconds",
    "pid",
}
# A killed run stays on record, so that of runs only what the last one of a month found is compared. Who was
# told of an alert is written down after the publication, so that readers see it with the next one.
OF_RUNS = {"runs", "stage_timings", "alerts", "alert_messages"}
LAST_DONE = "SELECT arg_max(run_id, ended_at) FROM runs WHERE status = 'done' GROUP BY month"


def published(home):
    """Every table that readers see, and every Parquet file, without what names a run or a moment."""
    with open_published(home.published) as con:
        frames = {name: con.sql(f"FROM {name}").pl() for name in TABLES if name not in OF_RUNS}
        frames["runs"] = con.sql(f"FROM runs WHERE run_id IN ({LAST_DONE})").pl()
        frames["alerts"] = con.sql(f"FROM alerts WHERE run_id IN ({LAST_DONE})").pl()
    # What a run says of itself differs: the last one may find that all but the report was done.
    frames["runs"] = frames["runs"].drop("message")
    frames["alerts"] = frames["alerts"].drop("told")
    for path in home.published.parent.rglob("*.parquet"):
        frames[path.relative_to(home.root).as_posix()] = pl.read_parquet(path, hive_partitioning=False)
    return {name: _sorted(frame.drop(PASSING & set(frame.columns))) for name, frame in frames.items()}


def _sorted(frame):
    return frame.sort([name for name, kind in frame.schema.items() if not isinstance(kind, pl.List)])


def pages(home):
    return {path.relative_to(home.reports).as_posix() for path in home.reports.rglob("*")}


def require_same(home, undisturbed):
    """Everything published is equal, nothing runs any more, and no leftover lies about."""
    found = published(home)
    assert found.keys() == undisturbed.published.keys()
    for name, frame in undisturbed.published.items():
        assert frame.equals(found[name]), name
    assert pages(home) == undisturbed.pages
    with open_warehouse(home.warehouse) as con:
        running = "SELECT (SELECT count(*) FROM runs WHERE status = 'running')"
        assert con.execute(running).fetchall() == [(0,)]
    stay = (".lock", ".digests.json", ".creditflow.duckdb.crc32")
    hidden = [p for p in home.root.rglob(".*") if not p.name.startswith(stay) or p.suffix == ".new"]
    assert hidden == []
    assert list(home.work.iterdir()) == []


@dataclass(frozen=True)
class Undisturbed:
    """The run that nobody killed: where it began, what it published, and when its stages began and ended."""

    before: Home
    published: dict[str, pl.DataFrame]
    pages: set[str]
    journal: list[tuple[float, str]]

    def span(self, stage):
        """Seconds from a stage's start to its end."""
        at = {what: moment for moment, what in self.journal}
        return at[f"{stage} end"] - at[f"{stage} start"]

    def names_in(self, stage, kind):
        """The journal's changes of names within a stage."""
        entries = [what for _, what in self.journal]
        within = entries[entries.index(f"{stage} start") : entries.index(f"{stage} end")]
        return [what for what in within if what.startswith(f"{kind} ")]


@pytest.fixture(scope="module")
def undisturbed(finished, forks, tmp_path_factory):
    import processes
    from prefect.settings import PREFECT_API_URL

    folder = tmp_path_factory.mktemp("undisturbed")
    before, after = Home(folder / "before"), Home(folder / "after")
    shutil.copytree(finished, before.root)
    for name, rows in ((f"clients_{MONTH}", 5), ("outcomes_2026-03", 7)):
        path = before.inbox / f"{name}.csv"
        path.write_text("\n".join(path.read_text().splitlines()[:-rows]) + "\n")
    shutil.copytree(before.root, after.root)
    env = {"CREDITFLOW_HOME": str(after.root), "CREDITFLOW_EVIDENTLY": "false"} | SETTINGS
    given = (env, PREFECT_API_URL.value(), ["run", MONTH], folder / "said", folder / "journal", *[None] * 4)
    process = forks.Process(target=processes.creditflow, args=given)
    process.start()
    process.join(240)
    assert process.exitcode == 0, (folder / "said").read_text()
    journal = processes.Journal(folder / "journal").read()
    assert {f"{stage} end" for stage in STAGES} <= {what for _, what in journal}
    return Undisturbed(before, published(after), pages(after), journal)


@pytest.fixture
def copy(undisturbed, tmp_path):
    """The home in which that run began, once more."""
    root = tmp_path / "home"
    shutil.copytree(undisturbed.before.root, root)
    return Home(root)


def strike(process, stage, after):
    """Kills a process so many seconds after it began a stage; says in which stage the blow fell."""
    begun = f"{stage} start"
    while process.is_alive() and not any(what == begun for _, what in process.journal()):
        time.sleep(0.001)
    time.sleep(after)
    process.kill()
    process.join()
    entries = [what for _, what in process.journal() if not what.startswith(("rename", "replace"))]
    last = entries[-1] if entries else "before the first stage"
    return last.removesuffix(" start") if last.endswith(" start") else f"after {last.removesuffix(' end')}"


# ── One kill after another ──────────────────────────────────────────────────────────────────────


def test_run_that_is_killed_again_and_again_ends_as_if_undisturbed(undisturbed, copy, creditflow, start):
    """One home, kills at moments within stages, then at the end of every stage; only the last run ends."""
    fell, moments = [], random.Random(SEED)
    for stage in ("load clients", "develop", "report", "publish"):
        process = start(copy, "run", MONTH, **SETTINGS)
        fell.append(strike(process, stage, moments.random() * undisturbed.span(stage)))
        assert process.exitcode == -9
    for stage in STAGES[:-1]:
        code, said = creditflow(copy, "run", MONTH, die_at=f"{stage} end", **SETTINGS)
        assert code == -9, said
        fell.append(f"after {stage}")
    code, said = creditflow(copy, "run", MONTH, **SETTINGS)
    assert code == 0, said
    require_same(copy, undisturbed)
    sys.stdout.write(f"\n{len(fell)} kills: {', '.join(fell)}\n")


def test_kill_between_the_two_renames_of_a_pack_leaves_the_earlier_one(undisturbed, copy, creditflow):
    second = undisturbed.names_in("report", "rename")[1]
    code, said = creditflow(copy, "run", MONTH, die_at=second, **SETTINGS)
    assert code == -9, said
    assert len(list(copy.reports.glob(".earlier-*"))) == 1
    code, said = creditflow(copy, "run", MONTH, **SETTINGS)
    assert code == 0, said
    require_same(copy, undisturbed)


# ── Kills that are each followed by one whole run ───────────────────────────────────────────────


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_run_killed_at_a_stage_boundary_ends_as_if_undisturbed(undisturbed, copy, creditflow, boundary):
    code, said = creditflow(copy, "run", MONTH, die_at=boundary, **SETTINGS)
    assert code == -9, said
    code, said = creditflow(copy, "run", MONTH, **SETTINGS)
    assert code == 0, said
    require_same(copy, undisturbed)


KILLS_A_STAGE = 6


@pytest.mark.parametrize("stage", STAGES)
def test_run_killed_at_random_moments_of_a_stage_ends_as_if_undisturbed(
    undisturbed, tmp_path, creditflow, start, stage
):
    """54 kills in all, each followed by one run that ends."""
    moments, fell = random.Random(f"{SEED} {stage}"), []
    for number in range(KILLS_A_STAGE):
        home = Home(tmp_path / str(number))
        shutil.copytree(undisturbed.before.root, home.root)
        process = start(home, "run", MONTH, **SETTINGS)
        fell.append(strike(process, stage, moments.random() * undisturbed.span(stage)))
        assert process.exitcode == -9
        code, said = creditflow(home, "run", MONTH, **SETTINGS)
        assert code == 0, said
        require_same(home, undisturbed)
        shutil.rmtree(home.root)
    sys.stdout.write(f"\n{len(fell)} kills: {', '.join(fell)}\n")
    # A stage of a millisecond is over before a blow can fall into it; its boundaries are struck above.
    assert stage in fell or undisturbed.span(stage) < 0.2, fell


@pytest.mark.parametrize("kind", ["rename", "replace"])
def test_run_killed_before_every_change_of_a_name_ends_as_if_undisturbed(undisturbed, copy, creditflow, kind):
    """Each run gets one change further than the one before."""
    number, code = 0, -9
    while code == -9:
        number += 1
        code, said = creditflow(copy, "run", MONTH, die_at=f"{kind} {number}", **SETTINGS)
        assert number < 60
    assert code == 0, said
    assert number > 3
    require_same(copy, undisturbed)
    sys.stdout.write(f"\n{number - 1} kills before a {kind}\n")


# ── Publication ─────────────────────────────────────────────────────────────────────────────────


def kill_once(process, there):
    """Kills a process as soon as something is there."""
    while process.is_alive() and not there():
        time.sleep(0.0005)
    process.kill()
    process.join()
    assert process.exitcode == -9


@pytest.mark.parametrize("pattern", [".creditflow.duckdb.*", "scores/**/.*"])
def test_kill_while_a_publication_is_written_leaves_one_publication_to_readers(
    undisturbed, copy, creditflow, start, pattern
):
    before, known = published(copy), set(copy.published.parent.glob(pattern))
    process = start(copy, "run", MONTH, **SETTINGS)
    kill_once(process, lambda: set(copy.published.parent.glob(pattern)) - known)
    found = published(copy)
    tables = [name for name in before if "/" not in name]
    assert any(
        all(found[name].equals(whole[name]) for name in tables) for whole in (before, undisturbed.published)
    )
    for name in found.keys() - set(tables):
        assert any(name in w and found[name].equals(w[name]) for w in (before, undisturbed.published)), name
    code, said = creditflow(copy, "run", MONTH, **SETTINGS)
    assert code == 0, said
    require_same(copy, undisturbed)


# ── Backup and restore ──────────────────────────────────────────────────────────────────────────


def tree(root):
    names = ("inbox", "artifacts", "published", "warehouse.duckdb")
    paths = [p for name in names for p in (root / name, *(root / name).rglob("*")) if p.is_file()]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in paths if not p.name.startswith(".")}


def files_in(folder):
    # A walk does not mind what comes and goes under its feet.
    return sum(len(names) for _, _, names in os.walk(folder))


@pytest.fixture
def kept(copy, creditflow, tmp_path):
    code, said = creditflow(copy, "backup", str(tmp_path / "kept"))
    assert code == 0, said
    (folder,) = (tmp_path / "kept").iterdir()
    return folder


def test_restored_home_has_nothing_to_do(home, creditflow, tmp_path):
    assert creditflow(home, "backup", str(tmp_path / "kept"))[0] == 0
    (folder,) = (tmp_path / "kept").iterdir()
    other = Home(tmp_path / "other")
    code, said = creditflow(other, "restore", str(folder))
    assert code == 0, said
    assert tree(other.root) == tree(home.root)
    for command in (("status",), ("sql", "FROM portfolio_by_month")):
        assert creditflow(other, *command)[0] == 0
    code, said = creditflow(other, "run", MONTH)
    assert (code, said[:22]) == (0, f"{MONTH}: nothing to do"), said


def test_backup_that_is_killed_leaves_no_backup_and_no_harm(copy, creditflow, start, tmp_path):
    before, kept = tree(copy.root), tmp_path / "kept"
    for seen in range(4):
        process = start(copy, "backup", str(kept))
        kill_once(process, lambda few=12 * seen: files_in(kept) > few)
        assert [p.name for p in kept.iterdir() if not p.name.startswith(".")] == []
    assert creditflow(copy, "backup", str(kept), die_at="rename 1")[0] == -9
    assert creditflow(copy, "backup", str(kept))[0] == 0
    (folder,) = kept.iterdir()
    assert tree(folder) == before == tree(copy.root)
    assert creditflow(copy, "restore", "--check", str(folder))[0] == 0


def test_restore_that_is_killed_at_any_rename_is_finished_by_the_next_command(copy, kept, creditflow):
    whole, number, code = tree(kept), 0, -9
    whole.pop("manifest.json", None)
    while code == -9:
        number += 1
        (copy.inbox / f"later-{number}.txt").write_text("arrived after the backup")
        code, said = creditflow(copy, "restore", str(kept), "--replace", die_at=f"rename {number}")
        # Any command that takes the lock finishes what the killed one began.
        assert creditflow(copy, "backup", str(kept.parent))[0] == 0
        assert whole.items() <= tree(copy.root).items()
        assert len(list(copy.root.rglob(f"later-{number}.txt"))) == 1
        assert not (copy.root / ".restored.json").exists()
    assert code == 0, said
    assert number > 8
    assert not (copy.root / ".restored").exists()


# ── A full disk ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def require_one_line(said):
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1, said
    assert lines[0].startswith("creditflow: ")
    assert any(word in said for word in ("space", "too large", "Too large")), said


FULL_AT = [
    f"{stage} start" for stage in ("load clients", "load outcomes", "develop", "score", "report", "publish")
]


def require_whole(home, before, creditflow, undisturbed):
    """What readers saw is what they see; the next run ends as if the disk had never been full."""
    found = published(home)
    for name, frame in before.items():
        assert frame.equals(found[name]) or "/" in name, name
    code, said = creditflow(home, "run", MONTH, **SETTINGS)
    assert code == 0, said
    require_same(home, undisturbed)


@pytest.mark.parametrize("at", FULL_AT)
def test_file_that_may_not_grow_is_one_line_and_harms_nothing(undisturbed, copy, creditflow, at):
    before = published(copy)
    code, said = creditflow(copy, "run", MONTH, full_at=at, **SETTINGS)
    assert code == 1, said
    require_one_line(said)
    require_whole(copy, before, creditflow, undisturbed)


@pytest.mark.parametrize("at", FULL_AT)
def test_disk_that_is_full_is_one_line_and_harms_nothing(undisturbed, small_disk, creditflow, at):
    home, filler = Home(small_disk / "home"), small_disk / "filler"
    shutil.copytree(undisturbed.before.root, home.root)
    before = published(home)
    code, said = creditflow(home, "run", MONTH, full_at=at, filler=filler, **SETTINGS)
    assert code == 1, said
    require_one_line(said)
    filler.unlink()
    require_whole(home, before, creditflow, undisturbed)


def test_backup_to_a_full_disk_is_one_line_and_leaves_nothing(copy, small_disk, creditflow):
    before = tree(copy.root)
    with (small_disk / "filler").open("wb") as file:
        file.write(b"x" * (255 << 20))
    code, said = creditflow(copy, "backup", str(small_disk / "kept"))
    assert code == 1, said
    require_one_line(said)
    assert not (small_disk / "kept").exists()
    assert tree(copy.root) == before


def test_backup_whose_file_may_not_grow_is_one_line_and_leaves_nothing(copy, creditflow, tmp_path):
    before = tree(copy.root)
    code, said = creditflow(copy, "backup", str(tmp_path / "kept"), limit=200_000)
    assert code == 1, said
    require_one_line(said)
    assert list((tmp_path / "kept").iterdir()) == []
    assert tree(copy.root) == before
