"""A home that an earlier version left works on, and one of a later version is refused."""

import shutil

import duckdb
import pytest

from flows.monthly import monthly
from sql.library import scripts
from sql.warehouse import open_warehouse
from tasks.home import Home

pytestmark = pytest.mark.flow

LAST = "2026-04"
# What only later versions write into tables that the earlier ones have.
LATER = {
    1: {"performance": "sample != 'estimated'", "derived": "product IN ('drift', 'performance', 'report')"},
    2: {"performance": "sample != 'estimated'", "derived": "product != 'estimates'"},
    3: {},
    4: {},
}


def set_back(home, version):
    """Makes the database what that version would have left: its tables, its columns, its rows."""
    earlier = home.warehouse.with_name("earlier.duckdb")
    with duckdb.connect(str(earlier)) as con:
        con.execute("CREATE TABLE migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)")
        con.execute(f"ATTACH '{home.warehouse}' AS newest (READ_ONLY)")
        tables = []
        for script in scripts("migrations")[:version]:
            con.execute(script.text)
            con.execute("INSERT INTO migrations VALUES ($name, now()::TIMESTAMP)", {"name": script.name})
        for (name,) in con.execute(
            "SELECT table_name FROM duckdb_tables() "
            "WHERE database_name = 'earlier' AND table_name != 'migrations'"
        ).fetchall():
            columns = con.execute(
                "SELECT string_agg(column_name, ', ' ORDER BY column_index) FROM duckdb_columns() "
                "WHERE database_name = 'earlier' AND table_name = $name",
                {"name": name},
            ).fetchall()[0][0]
            condition = LATER[version].get(name, "true")
            con.execute(f"INSERT INTO {name} SELECT {columns} FROM newest.{name} WHERE {condition}")
            tables.append(name)
        con.execute("DETACH newest")
    earlier.replace(home.warehouse)
    return tables


VERSIONS = range(1, len(scripts("migrations")))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_month_runs_on_a_home_of_an_earlier_version_as_on_one_of_this(
    home, monkeypatch, contents, ask, version
):
    path = home.inbox / f"clients_{LAST}.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-5]) + "\n")
    other = Home(home.root.parent / "other")
    shutil.copytree(home.root, other.root)
    assert "scores" in set_back(home, version)
    result = monthly(LAST)
    assert "accepted" in result.summary
    names = [name for (name,) in ask(home, "SELECT name FROM migrations ORDER BY name")]
    assert names == [script.name for script in scripts("migrations")]
    monkeypatch.setenv("CREDITFLOW_HOME", str(other.root))
    monthly(LAST)
    here, there = contents(home), contents(other)
    # Models of version 1 know all attributes: a set is developed anew, and figures are those of another.
    kept = ("files", "clients", "outcomes", "quarantine", "expectation_results")
    compared = set(kept) if version == 1 else set(there) - {"performance"}
    for name in compared:
        # Which files a set learned from was not written down by earlier versions.
        mine, other_s = (frames[name].drop("training_files", strict=False) for frames in (here, there))
        assert mine.equals(other_s), name


@pytest.mark.parametrize(
    "command",
    [("run", LAST), ("backfill", "2026-03", LAST, "--reason", "x"), ("status",), ("backup", "kept")],
)
def test_home_of_a_later_version_is_refused_in_one_line(home, creditflow, tmp_path, command):
    with open_warehouse(home.warehouse) as con:
        con.execute("INSERT INTO migrations VALUES ('997_future', now()::TIMESTAMP)")
    before = home.warehouse.read_bytes()
    command = [str(tmp_path / "kept") if word == "kept" else word for word in command]
    code, said = creditflow(home, *command)
    assert code == 1, said
    assert len(said.strip().splitlines()) == 1
    assert "997_future" in said
    assert home.warehouse.read_bytes() == before
