import subprocess
import sys

import pytest

from creditflow.errors import HomeLocked, HomeUnusable, WarehouseCorrupt, WarehouseNewer
from sql.library import scripts
from sql.warehouse import execute, migrate, open_published, open_warehouse, storage_error, transaction


@pytest.fixture
def path(tmp_path):
    return tmp_path / "warehouse.duckdb"


def test_migrations_are_applied_once_and_on_record(path):
    names = [script.name for script in scripts("migrations")]
    with open_warehouse(path) as con:
        assert [n for (n,) in con.execute("SELECT name FROM migrations ORDER BY name").fetchall()] == names
        assert migrate(con, path) == []


def test_failed_migration_leaves_neither_tables_nor_record(path, monkeypatch):
    from sql import warehouse
    from sql.library import Script

    broken = Script("999_broken", "CREATE TABLE half (n INTEGER); SELECT * FROM nowhere;")
    monkeypatch.setattr(warehouse, "scripts", lambda shelf: [broken])
    with pytest.raises(Exception, match="nowhere"), open_warehouse(path):
        pass
    monkeypatch.undo()
    with open_warehouse(path) as con:
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == [
            (0,)
        ]


def test_newer_database_is_refused_by_name(path):
    with open_warehouse(path) as con:
        con.execute("INSERT INTO migrations VALUES ('997_future', now()::TIMESTAMP)")
    with pytest.raises(WarehouseNewer, match="997_future"), open_warehouse(path):
        pass


def test_file_that_is_no_database_is_named_with_the_way_to_recover(path):
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(WarehouseCorrupt, match=r"warehouse\.duckdb.*backfill"), open_warehouse(path):
        pass


def test_damaged_block_is_named(path):
    with open_warehouse(path) as con:
        con.execute(
            "INSERT INTO backfills BY NAME "
            "SELECT 'b' AS backfill_id, '2005-01' AS first_month, '2005-02' AS last_month, "
            "repeat('x', 90) AS reason, 'me' AS requested_by, now()::TIMESTAMP AS started_at "
            "FROM range(200000)"
        )
    with path.open("r+b") as file:
        for offset in range(12288, path.stat().st_size, 4096):
            file.seek(offset)
            file.write(b"\xff" * 512)
    with pytest.raises(WarehouseCorrupt), open_warehouse(path) as con:
        con.execute("SELECT max(length(reason)) FROM backfills").fetchall()


def test_database_open_elsewhere_is_named(path):
    with open_warehouse(path):
        code = (
            "from sql.warehouse import open_warehouse\nfrom pathlib import Path\n"
            f"with open_warehouse(Path({str(path)!r})): pass"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert HomeLocked.__name__ in other.stderr


@pytest.mark.parametrize(
    "text", ["IO Error: Could not write to file: No space left on device", "Read-only file system"]
)
def test_full_or_readonly_disk_is_named(path, text):
    assert isinstance(storage_error(path, text), HomeUnusable)


def test_transaction_is_all_or_nothing(path):
    with open_warehouse(path) as con:
        with pytest.raises(RuntimeError), transaction(con):
            con.execute("DELETE FROM migrations")
            raise RuntimeError
        assert con.execute("SELECT count(*) FROM migrations").fetchall() != [(0,)]


def test_values_are_bound_never_spliced(path):
    hostile = "'; DROP TABLE runs; --"
    with open_warehouse(path) as con:
        assert execute(con, "champion_before", month=hostile) == []
        assert con.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]


def test_nothing_published_yet_says_what_to_do(tmp_path):
    with pytest.raises(HomeUnusable, match="creditflow demo"), open_published(tmp_path / "none.duckdb"):
        pass


CUT_SHORT = """
from pathlib import Path
from sql.warehouse import open_warehouse

def rows(con):
    yield from con.cursor().sql("FROM range(500000)").to_arrow_reader(1000)

def read(batches):
    next(batches)
    raise OSError(27, "File too large")

def fail(path):
    with open_warehouse(path) as con:
        try:
            read(rows(con))
        except OSError as error:
            raise RuntimeError("the stage failed") from error

path = Path({path!r})
try:
    fail(path)
except RuntimeError as error:
    kept = error
    with open_warehouse(path):
        print("opened again")
"""


def test_database_opens_again_after_an_error_cut_a_stream_short(path):
    """In a process of its own, with an end: DuckDB waits for ever for a stream that an error still holds."""
    code = CUT_SHORT.format(path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "opened again\n", done.stderr
