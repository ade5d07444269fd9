import subprocess
import sys

import duckdb
import pytest

from creditflow.errors import HomeLocked, HomeUnusable, MemoryLimitReached, WarehouseCorrupt, WarehouseNewer
from sql.library import scripts
from sql.warehouse import (
    LEAST_MEMORY,
    STORAGE_VERSION,
    execute,
    holding_less,
    migrate,
    open_published,
    open_warehouse,
    storage_error,
    storage_version,
    transaction,
)


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


def test_memory_limit_that_is_reached_is_named_with_what_to_do(tmp_path):
    with (
        pytest.raises(MemoryLimitReached, match=r"CREDITFLOW_MEMORY_LIMIT=8MB: .* Set it higher"),
        open_warehouse(tmp_path / "w.duckdb", memory_limit="8MB") as con,
    ):
        con.execute("SELECT list(repeat('x', 1000) || i) FROM range(100_000) AS numbers (i)").fetchall()


# ── Storage ─────────────────────────────────────────────────────────────────────────────────────


def of_an_earlier_creditflow(path):
    """A database in the storage version that DuckDB takes by itself, with a month of clients."""
    with duckdb.connect(str(path), config={"storage_compatibility_version": "latest"}) as con:
        con.execute("CREATE TABLE migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)")
        for script in scripts("migrations"):
            con.execute(script.text)
            con.execute(
                "INSERT INTO migrations VALUES ($name, TIMESTAMP '2026-01-01')", {"name": script.name}
            )
        con.execute("INSERT INTO reason_texts SELECT i::VARCHAR, 'r', 'm' FROM range(1000) AS t (i)")
        assert storage_version(con) != STORAGE_VERSION


def shape(con):
    """Columns, constraints and views."""
    return [
        con.execute(f"SELECT {columns} FROM {source}() WHERE NOT internal ORDER BY ALL").fetchall()
        for source, columns in (
            (
                "duckdb_columns",
                "table_name, column_name, column_index, data_type, is_nullable, column_default",
            ),
            ("duckdb_views", "view_name, sql"),
            ("duckdb_tables", "table_name, estimated_size, check_constraint_count"),
        )
    ]


def test_a_new_database_is_in_the_storage_version_of_publications(path):
    with open_warehouse(path) as con:
        assert storage_version(con) == STORAGE_VERSION


def test_an_earlier_storage_version_is_replaced_once_and_nothing_is_lost(path):
    of_an_earlier_creditflow(path)
    with duckdb.connect(str(path), read_only=True) as con:
        before, rows = shape(con), con.execute("FROM reason_texts ORDER BY ALL").fetchall()
    with open_warehouse(path) as con:
        assert storage_version(con) == STORAGE_VERSION
        assert shape(con) == before
        assert con.execute("FROM reason_texts ORDER BY ALL").fetchall() == rows
    moment = path.stat().st_mtime_ns
    with open_warehouse(path):
        pass
    assert path.stat().st_mtime_ns == moment
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("how", [{"read_only": True}, {"as_it_is": True}])
def test_a_look_leaves_the_storage_version(path, how):
    of_an_earlier_creditflow(path)
    with open_warehouse(path, **how) as con:
        assert storage_version(con) != STORAGE_VERSION


def test_a_fault_while_it_is_replaced_leaves_the_earlier_file(path, monkeypatch):
    of_an_earlier_creditflow(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sql.warehouse.put_in_place", full)
    with pytest.raises(HomeUnusable, match="No space left"), open_warehouse(path):
        pass
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def memory_limit(con):
    return con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]


def test_less_memory_is_held_for_a_block_and_then_as_much_as_before(path):
    with open_warehouse(path, memory_limit="1GiB") as con:
        with pytest.raises(KeyError), holding_less(con):
            assert memory_limit(con) == "244.1 MiB"
            raise KeyError
        assert memory_limit(con) == "1.0 GiB"


def test_more_than_that_in_use_is_kept_until_it_is_given_up(path):
    with open_warehouse(path, memory_limit="1GiB") as con:
        con.execute("SET temp_directory = ''")
        con.execute("CREATE TEMP TABLE held AS SELECT random() AS n FROM range(50_000_000)")
        with holding_less(con):
            assert memory_limit(con) == "1.0 GiB"
            assert con.execute("SELECT count(*) FROM held").fetchall() == [(50_000_000,)]


def test_the_least_memory_is_the_least_that_settings_allow(monkeypatch):
    from flows.settings import Settings

    monkeypatch.setenv("CREDITFLOW_MEMORY_LIMIT", LEAST_MEMORY)
    assert Settings().memory_limit == LEAST_MEMORY
    monkeypatch.setenv("CREDITFLOW_MEMORY_LIMIT", "255MB")
    with pytest.raises(ValueError, match="at least 256MB"):
        Settings()
