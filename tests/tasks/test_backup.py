"""A backup is whole or not there; a restore gives back what was kept, or leaves the home as it was."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from creditflow.errors import (
    BackupCorrupt,
    BackupUnusable,
    FileUnreadable,
    HomeOccupied,
    HomeUnusable,
    WarehouseNewer,
)
from sql.warehouse import open_warehouse
from tasks import backup as module
from tasks.backup import back_up, check, in_words, restore
from tasks.home import KEPT, Home, Swap, locked

NOTE = "INSERT INTO backfills BY NAME SELECT '{}' AS backfill_id, '2026-01' AS first_month, "
NOTE += "'2026-02' AS last_month, 'r' AS reason, 'ada' AS requested_by, now()::TIMESTAMP AS started_at"


def note(home, text):
    """A fact by which a database is known again."""
    with open_warehouse(home.warehouse) as con:
        con.execute(NOTE.format(text))


def notes(home):
    with open_warehouse(home.warehouse) as con:
        return [name for (name,) in con.execute("SELECT backfill_id FROM backfills ORDER BY 1").fetchall()]


def tree(root):
    """Every kept file and its content."""
    paths = [p for part in KEPT for p in (root / part, *sorted((root / part).rglob("*"))) if p.is_file()]
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}


@pytest.fixture
def home(tmp_path):
    """A home with a database, an inbox in two formats, an artifact, a page and what is under way."""
    home = Home(tmp_path / "home").prepare()
    note(home, "first")
    (home.inbox / "clients_2026-01.csv").write_text("ID\n1\n")
    (home.inbox / "clients_2026-02.parquet").write_bytes(bytes(range(256)) * 40)
    (home.inbox / "sub folder").mkdir()
    (home.inbox / "sub folder" / "Übersicht.txt").write_text("kept too")
    (home.inbox / ".delivery-1").mkdir()
    (home.inbox / ".delivery-1" / "half.csv").write_text("ID")
    (home.artifacts / "v1" / "logistic").mkdir(parents=True)
    (home.artifacts / "v1" / "logistic" / "manifest.json").write_text("{}")
    home.published.write_bytes(b"published")
    (home.reports / "2026-01").mkdir()
    (home.reports / "2026-01" / "index.html").write_text("<p>page</p>")
    return home


@pytest.fixture
def kept(home, tmp_path):
    """The folder of a backup of that home."""
    return back_up(home, tmp_path / "kept", 0).folder


def rewritten(kept, change, *, sealed=True):
    """Changes the manifest; `sealed` gives it the sum that belongs to its new content."""
    path = kept / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("sum")
    change(content)
    path.write_text(json.dumps(content | {"sum": module._sum(content) if sealed else "0" * 64}))


# ── Backup ──────────────────────────────────────────────────────────────────────────────────────


def test_backup_holds_every_file_and_nothing_that_is_under_way(home, kept):
    assert tree(kept) == {name: data for name, data in tree(home.root).items() if "/." not in name}
    manifest = check(kept).manifest
    assert [f.path for f in manifest.files] == [
        "inbox/clients_2026-01.csv",
        "inbox/clients_2026-02.parquet",
        "inbox/sub folder/Übersicht.txt",
        "artifacts/v1/logistic/manifest.json",
        "published/creditflow.duckdb",
        "published/reports/2026-01/index.html",
        "warehouse.duckdb",
    ]
    assert manifest.migrations[0] == "001_spine"
    assert manifest.bytes == sum(len(data) for data in tree(kept).values())


def test_backup_is_for_its_owner_alone(kept):
    modes = {oct(path.stat().st_mode & 0o777) for path in (kept.parent, kept, kept / "inbox")}
    assert modes == {"0o700"}
    assert {oct(p.stat().st_mode & 0o777) for p in kept.rglob("*") if p.is_file()} == {"0o600"}


def test_what_is_remembered_of_the_files_stays_behind(home, tmp_path):
    # Their copies have other inodes and change times: it would say nothing of them.
    home.digests.write_text("{}")
    kept = back_up(home, tmp_path / "kept", 0).folder
    assert [path.name for path in kept.rglob(".*")] == []


def test_backup_shares_no_file_with_the_home(home, kept):
    assert all(path.stat().st_nlink == 1 for path in kept.rglob("*") if path.is_file())


def test_committed_rows_of_the_log_are_in_the_backup(home, tmp_path):
    """A run that was killed after a commit leaves rows in the write-ahead log alone."""
    import subprocess
    import sys

    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom sql.warehouse import open_warehouse\n"
        f"with open_warehouse(Path({str(home.warehouse)!r})) as con:\n"
        f"    con.execute({NOTE.format('logged')!r})\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert home.warehouse.with_name("warehouse.duckdb.wal").stat().st_size > 0
    kept = back_up(home, tmp_path / "kept", 0).folder
    other = Home(tmp_path / "other")
    restore(other, kept, 0, replace=False)
    assert notes(other) == ["first", "logged"]


def test_backup_of_an_earlier_version_is_not_upgraded(home, version_one_at, tmp_path):
    home.warehouse.unlink()
    version_one_at(home.warehouse)
    kept = back_up(home, tmp_path / "kept", 0)
    assert kept.manifest.migrations == ("001_spine",)
    assert check(kept.folder).manifest.migrations == ("001_spine",)


@pytest.fixture
def version_one_at():
    from sql.library import scripts

    def make(path):
        import duckdb

        with duckdb.connect(str(path)) as con:
            con.execute("CREATE TABLE migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)")
            con.execute(scripts("migrations")[0].text)
            con.execute("INSERT INTO migrations VALUES ('001_spine', now()::TIMESTAMP)")

    return make


def test_two_backups_in_a_second_have_names_of_their_own(home, tmp_path):
    made = [back_up(home, tmp_path / "kept", 0).folder for _ in range(2)]
    assert len(set(made)) == 2
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == sorted(p.name for p in made)


@pytest.mark.parametrize("where", ["home", "home/kept", "home/inbox", "link"])
def test_folder_inside_the_home_is_refused(home, tmp_path, where):
    (tmp_path / "link").symlink_to(home.root)
    before = sorted(home.root.rglob("*"))
    with pytest.raises(BackupUnusable, match="outside of the home"):
        back_up(home, tmp_path / where, 0)
    assert sorted(home.root.rglob("*")) == before


def test_home_with_nothing_in_it_is_refused_and_not_created(tmp_path):
    with pytest.raises(HomeUnusable, match="nothing to keep"):
        back_up(Home(tmp_path / "none"), tmp_path / "kept", 0)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file_is_refused(home, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackupUnusable):
        back_up(home, tmp_path / "file", 0)


def test_folder_without_the_space_is_refused_before_anything_is_written(home, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(BackupUnusable, match="of free space, found 0 bytes"):
        back_up(home, tmp_path / "kept", 0)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("at", range(0, 9, 2))
def test_disk_fault_in_the_middle_leaves_nothing(home, tmp_path, monkeypatch, number, at):
    calls, fsync = [], os.fsync

    def fails(handle):
        calls.append(handle)
        if len(calls) > at:
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(BackupUnusable, match=os.strerror(number)):
        back_up(home, tmp_path / "kept", 0)
    assert list((tmp_path / "kept").iterdir()) == []


def test_leftover_of_a_killed_backup_is_swept_by_the_next(home, tmp_path):
    kept = back_up(home, tmp_path / "kept", 0).folder
    building = module._begin(home, tmp_path / "kept")
    (building / "half").write_text("x")
    other = back_up(home, tmp_path / "kept", 0).folder
    assert sorted((tmp_path / "kept").iterdir()) == sorted([kept, other])


def test_file_that_is_being_written_is_copied_again_and_then_refused(home, tmp_path, monkeypatch):
    growing = home.inbox / "clients_2026-01.csv"
    real, rounds = module.copy, []

    def copies(source, target, mode):
        done = real(source, target, mode)
        if source == growing and len(rounds) < times:
            rounds.append(1)
            growing.write_text(growing.read_text() + "2\n")
        return done

    monkeypatch.setattr(module, "copy", copies)
    times = 2
    assert (
        back_up(home, tmp_path / "kept", 0).folder / "inbox" / growing.name
    ).read_text() == "ID\n1\n2\n2\n"
    rounds.clear()
    times = 99
    with pytest.raises(FileUnreadable, match="changed while it was copied"):
        back_up(home, tmp_path / "other", 0)
    assert list((tmp_path / "other").iterdir()) == []


def test_what_is_no_file_is_named_and_not_left_out(home, tmp_path):
    os.mkfifo(home.inbox / "pipe.csv")
    with pytest.raises(FileUnreadable, match=r"pipe\.csv"):
        back_up(home, tmp_path / "kept", 0)


# ── Checking ────────────────────────────────────────────────────────────────────────────────────


def drop(kept):
    (kept / "inbox/clients_2026-01.csv").unlink()


def change(kept):
    path = kept / "inbox/clients_2026-02.parquet"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)


def add(kept):
    (kept / "inbox/clients_2026-03.csv").write_text("ID\n")


def link(kept):
    (kept / "inbox/clients_2026-01.csv").unlink()
    (kept / "inbox/clients_2026-01.csv").symlink_to("/etc/hostname")


def link_folder(kept):
    shutil.move(kept / "inbox", kept.parent / "elsewhere")
    (kept / "inbox").symlink_to(kept.parent / "elsewhere")


def cut_manifest(kept):
    path = kept / "manifest.json"
    path.write_text(path.read_text()[:-40])


def no_manifest(kept):
    (kept / "manifest.json").unlink()


def unsealed(kept):
    rewritten(kept, lambda content: content.update(months=["1999-01"]), sealed=False)


def twice(kept):
    rewritten(kept, lambda content: content["files"].append(content["files"][0]))


def odd_field(kept):
    rewritten(kept, lambda content: content["files"][0].update(owner="root"))


FAULTS = (drop, change, add, link, link_folder, cut_manifest, no_manifest, unsealed, twice, odd_field)


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_backup_is_refused_and_the_home_stays(home, kept, fault):
    before = tree(home.root)
    fault(kept)
    for action in (lambda: check(kept), lambda: restore(home, kept, 0, replace=True)):
        with pytest.raises(BackupCorrupt):
            action()
    assert tree(home.root) == before


ESCAPES = (
    "../evil",
    "/etc/evil",
    "inbox/../../evil",
    "inbox//evil",
    "./inbox/evil",
    "elsewhere/evil",
    "",
    ".",
)


@pytest.mark.parametrize("name", [*ESCAPES, "inbox/\0evil", 7, None])
def test_name_that_leads_out_of_the_backup_is_refused(home, kept, tmp_path, name):
    rewritten(kept, lambda content: content["files"][0].update(path=name))
    with pytest.raises(BackupCorrupt, match="names of files in the home"):
        restore(Home(tmp_path / "other"), kept, 0, replace=False)
    assert not list(tmp_path.rglob("evil"))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(alphabet="./\\ ai\0", max_size=12).map(lambda tail: f"inbox/{tail}"))
def test_accepted_names_stay_inside(tmp_path, name):
    try:
        module._require_inside(tmp_path, name)
    except BackupCorrupt:
        return
    assert Path(os.path.normpath(tmp_path / name)).is_relative_to(tmp_path / "inbox")


@pytest.mark.parametrize(
    "newer",
    [lambda c: c.update(format=2), lambda c: c.update(migrations=[*c["migrations"], "997_future"])],
)
def test_backup_of_a_newer_creditflow_is_refused(kept, newer):
    rewritten(kept, newer)
    with pytest.raises(WarehouseNewer, match="newer"):
        check(kept)


def test_backup_in_words(kept):
    assert in_words(check(kept).manifest).startswith("7 files of ")


# ── Restore ─────────────────────────────────────────────────────────────────────────────────────


def test_restore_gives_back_every_file_with_its_time(home, kept, tmp_path):
    other = Home(tmp_path / "other")
    done = restore(other, kept, 0, replace=False)
    assert done.aside is None
    assert tree(other.root) == tree(kept)
    for name in tree(kept):
        assert (other.root / name).stat().st_mtime_ns == (kept / name).stat().st_mtime_ns
    assert not [p.name for p in other.root.iterdir() if p.name.startswith(".rest")]


def test_home_in_use_is_refused_unless_asked_for(home, kept):
    note(home, "second")
    before = tree(home.root)
    with pytest.raises(HomeOccupied, match="--replace"):
        restore(home, kept, 0, replace=False)
    assert tree(home.root) == before


def test_what_was_there_lies_aside_whole(home, kept):
    note(home, "second")
    (home.inbox / "clients_2026-03.csv").write_text("ID\n9\n")
    before = tree(home.root)
    done = restore(home, kept, 0, replace=True)
    assert tree(home.root) == tree(kept)
    assert tree(done.aside) == before
    assert notes(home) == ["first"]
    again = restore(home, kept, 0, replace=True)
    assert again.aside != done.aside


def test_log_of_the_database_that_gives_way_is_not_applied_to_the_restored_one(home, kept):
    home.warehouse.write_bytes(b"damaged" * 999)
    home.warehouse.with_name("warehouse.duckdb.wal").write_bytes(b"its log")
    done = restore(home, kept, 0, replace=True)
    assert notes(home) == ["first"]
    assert (done.aside / "warehouse.duckdb.wal").read_bytes() == b"its log"


def test_home_whose_part_is_a_link_is_refused(kept, tmp_path):
    other = Home(tmp_path / "other")
    (tmp_path / "drop").mkdir()
    other.root.mkdir()
    other.inbox.symlink_to(tmp_path / "drop")
    with pytest.raises(HomeUnusable, match="a link or a mount"):
        restore(other, kept, 0, replace=True)
    assert other.inbox.is_symlink()


def test_disk_that_is_too_small_changes_nothing(home, kept, monkeypatch):
    before = tree(home.root)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(HomeUnusable, match="found 0 bytes"):
        restore(home, kept, 0, replace=True)
    assert tree(home.root) == before
    assert not (home.root / ".restored").exists()


class Killed(BaseException):
    """Stands in for the end of a process, between two renames: nothing after it is carried out."""


@pytest.mark.parametrize("at", range(12))
def test_swap_that_was_cut_short_at_any_rename_is_finished_by_the_next_command(home, kept, monkeypatch, at):
    note(home, "second")
    before = tree(home.root)
    steps, rename = [], Path.rename

    def dies(self, target):
        if len(steps) == at:
            raise Killed
        steps.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dies)
    try:
        restore(home, kept, 0, replace=True)
    except Killed:
        monkeypatch.undo()
        # A file is delivered before the next command: it is not in the way, and not lost.
        (home.prepare().inbox / "clients_2026-09.csv").write_text("ID\n")
        with locked(home, "the next command", 0):
            pass
        assert len(list(home.root.rglob("clients_2026-09.csv"))) == 1
    else:
        assert at >= len(KEPT) * 2
    (aside,) = home.root.glob("replaced-*")
    assert tree(kept).items() <= tree(home.root).items()
    assert before.items() <= tree(aside).items()
    assert not list(home.root.glob(".rest*"))


def test_swap_of_an_empty_home_keeps_what_arrives_meanwhile(home, kept, tmp_path, monkeypatch):
    """A file that is dropped into the inbox between the look and the swap lies aside."""
    other = Home(tmp_path / "other").prepare()
    begin = Swap.begin.__func__

    def begins(cls, home):
        (home.inbox / "clients_2026-09.csv").write_text("ID\n")
        return begin(cls, home)

    monkeypatch.setattr(Swap, "begin", classmethod(begins))
    done = restore(other, kept, 0, replace=False)
    assert (done.aside / "inbox/clients_2026-09.csv").is_file()
    assert tree(other.root) == tree(kept)
