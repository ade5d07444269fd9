import json
import threading

import duckdb
import pytest

from sql.glossary import _glossary
from sql.publish import TABLES, publish
from sql.warehouse import open_published, open_warehouse


@pytest.fixture
def con(tmp_path):
    with open_warehouse(tmp_path / "w.duckdb") as opened:
        yield opened


def test_every_table_view_and_column_carries_its_meaning(con, tmp_path):
    publish(con, tmp_path / "p.duckdb")
    with open_published(tmp_path / "p.duckdb") as reader:
        bare = reader.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        )
        assert bare.fetchall() == []
        tables = {
            t
            for (t,) in reader.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        }
        used = {
            c
            for (c,) in reader.execute(
                "SELECT column_name FROM duckdb_columns() WHERE NOT internal"
            ).fetchall()
        }
    assert tables == set(TABLES)
    unused = {name for name in _glossary()[1] if name.rpartition(".")[2] not in used}
    assert unused == set()


def test_storage_is_that_of_older_clients(con, tmp_path):
    publish(con, tmp_path / "p.duckdb")
    with open_published(tmp_path / "p.duckdb") as reader:
        tags = reader.execute("SELECT tags FROM duckdb_databases() WHERE NOT internal").fetchall()
    assert "v1.4.0" in json.dumps(tags[0][0])


def test_views_do_not_remember_the_name_of_the_new_file(con, tmp_path):
    publish(con, tmp_path / "it's a name.duckdb")
    (tmp_path / "it's a name.duckdb").rename(tmp_path / "renamed.duckdb")
    with open_published(tmp_path / "renamed.duckdb") as reader:
        assert reader.execute("SELECT count(*) FROM portfolio_by_month").fetchall() == [(0,)]


def test_reader_never_fails_and_never_sees_less_while_it_is_replaced(con, tmp_path):
    target = publish(con, tmp_path / "p.duckdb")
    seen, stop, faults = [], threading.Event(), []

    def poll():
        while not stop.is_set():
            try:
                with duckdb.connect(str(target), read_only=True) as reader:
                    seen.append(reader.execute("SELECT count(*) FROM backfills").fetchall()[0][0])
            except duckdb.Error as error:
                faults.append(error)

    thread = threading.Thread(target=poll)
    thread.start()
    for _ in range(8):
        con.execute("INSERT INTO backfills SELECT 'b', '1', '2', 'r', 'w', now()::TIMESTAMP, NULL, NULL")
        publish(con, target)
    stop.set()
    thread.join()
    assert faults == []
    assert len(seen) > 3
    assert seen == sorted(seen)


def test_failure_leaves_the_published_file_and_no_leftover(con, tmp_path, monkeypatch):
    from sql import publish as module

    target = publish(con, tmp_path / "p.duckdb")
    before = target.read_bytes()
    monkeypatch.setattr(module, "TABLES", (*TABLES, "nowhere"))
    with pytest.raises(duckdb.Error):
        publish(con, target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if ".new" in p.name] == []
