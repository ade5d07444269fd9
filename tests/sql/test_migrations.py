"""A database that an earlier version of creditflow left behind works on, with its history."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from sql import warehouse
from sql.library import scripts
from sql.publish import TABLES, publish
from sql.warehouse import execute, open_published, open_warehouse


def test_models_of_version_one_know_all_attributes_and_were_calibrated_by_platt(version_one):
    with open_warehouse(version_one) as con:
        found = con.execute(
            "SELECT version, attributes, calibrator, cut_off FROM models ORDER BY 1"
        ).fetchall()
    assert found == [("v1", "all", "platt", None), ("v2", "all", "platt", None)]


def test_scores_and_their_history_stay_and_carry_no_flag(version_one):
    with open_warehouse(version_one) as con:
        for table in ("scores", "scores_history"):
            assert con.execute(f"SELECT client_id, pd, grade, flagged FROM {table}").fetchall() == [
                ("c1", 0.2, "B", None)
            ]
        assert con.execute("FROM derived").fetchall() == [("2005-04", "drift", "run")]


def test_changes_of_champion_are_on_record_from_the_first_month_on(version_one):
    with open_warehouse(version_one) as con:
        changes = con.execute(
            "SELECT month, action, version, from_version, reason, decided_by, run_id "
            "FROM promotions ORDER BY month"
        ).fetchall()
        assert execute(con, "champion_before", month="2005-05") == [("logistic", "v2", "2005-04")]
    assert changes == [
        ("2005-02", "first", "v1", None, "Why 2005-02.", "creditflow", "run-2005-02"),
        ("2005-04", "replacement", "v2", "v1", "Why 2005-04.", "creditflow", "run-2005-04"),
    ]


def test_champions_of_version_one_are_shown_to_readers(version_one, tmp_path):
    with open_warehouse(version_one) as con:
        publish(con, tmp_path / "p.duckdb")
    with open_published(tmp_path / "p.duckdb") as con:
        found = con.execute("SELECT month, last_month, version, action FROM champions").fetchall()
    assert found == [("2005-02", "2005-03", "v1", "first"), ("2005-04", "2005-04", "v2", "replacement")]


# ── Every earlier version, with rows in every table ─────────────────────────────────────────────

HOMES = Path(__file__).resolve().parent / "homes"
VERSIONS = sorted(int(path.stem.removeprefix("version_")) for path in HOMES.glob("version_*.sql"))
MIGRATIONS = [script.name for script in scripts("migrations")]
# What a migration adds to rows that are there: table, column and the value they get.
ADDED = {
    ("models", "attributes"): "all",
    ("models", "calibrator"): "platt",
    ("models", "cut_off"): None,
    ("models", "training_files"): None,
    ("scores", "flagged"): None,
    ("scores_history", "flagged"): None,
    ("runs", "facts"): None,
    ("backfills", "as_of"): "then",
}
# Tables in which a migration writes rows of its own.
FILLED = {"migrations", "promotions", "scores_history"}


@pytest.fixture
def frozen(tmp_path):
    """Makes a database as a version left it."""

    def make(version):
        path = tmp_path / f"version_{version}.duckdb"
        with duckdb.connect(str(path)) as con:
            con.execute((HOMES / f"version_{version}.sql").read_text("utf-8"))
        return path

    return make


def rows(con, database=""):
    """The rows of every table, and of `scores` where it is a view, as dicts, each sorted."""
    names = con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
    frames = {name: con.sql(f"FROM {name}").pl().to_dicts() for name in {*(n for (n,) in names), "scores"}}
    return {name: sorted(found, key=repr) for name, found in frames.items()}


def stored(path):
    with duckdb.connect(str(path)) as con:
        return rows(con)


def test_every_version_but_the_newest_is_frozen():
    assert list(range(1, len(MIGRATIONS))) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_frozen_home_is_of_that_version_with_rows_in_every_table(frozen, version):
    path = frozen(version)
    found = stored(path)
    assert sorted(row["name"] for row in found["migrations"]) == MIGRATIONS[:version]
    assert all(found.values())
    bare = path.with_name("bare.duckdb")
    with duckdb.connect(str(bare)) as con:
        con.execute("CREATE TABLE migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)")
        for script in scripts("migrations")[:version]:
            con.execute(script.text)
        shape = (
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
        )
        expected = con.execute(shape).fetchall()
    with duckdb.connect(str(path)) as con:
        assert con.execute(shape).fetchall() == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_of_an_earlier_version_is_there_after_the_migration(frozen, version):
    path = frozen(version)
    before = stored(path)
    # What is made from other rows is made again where a version measures more: 004 asks for realised figures.
    if version < 4:
        before["derived"] = [row for row in before["derived"] if row["product"] != "performance"]
    with open_warehouse(path) as con:
        after = rows(con)
    # Where the rows of a month were of different scorings, 005 counts all but the newest as replaced.
    before["scores"], after["scores"] = (scores_ever_made(found) for found in (before, after))
    assert [row["name"] for row in sorted(after["migrations"], key=lambda r: r["name"])] == MIGRATIONS
    for table, earlier in before.items():
        kept = [{name: row[name] for name in earlier[0]} for row in after[table]]
        if table in FILLED:
            assert all(row in kept for row in earlier), table
        else:
            assert sorted(kept, key=repr) == earlier, table
        for name in after[table][0].keys() - earlier[0].keys():
            assert {row[name] for row in after[table]} == {ADDED[table, name]}, (table, name)


def scores_ever_made(found):
    made = [*found["scores"], *found["scores_history"]]
    return sorted(({k: v for k, v in row.items() if k != "superseded_by_run"} for row in made), key=repr)


MADE_BY = ("version", "basis", "run_id", "file_sha256", "code_version", "scored_at")


@pytest.mark.parametrize("version", VERSIONS)
def test_scores_of_a_month_s_newest_scoring_stay_and_others_count_as_replaced(frozen, version):
    path = frozen(version)
    before = [{"flagged": None, **row} for row in stored(path)["scores"]]
    newest = {row["month"]: row for row in sorted(before, key=lambda row: row["scored_at"])}
    kept = [row for row in before if all(row[name] == newest[row["month"]][name] for name in MADE_BY)]
    # No version has written months whose rows differ, as those of the first frozen homes do.
    assert (kept == before) == (version > 3)
    with open_warehouse(path) as con:
        after = rows(con)
    assert by_key(after["scores"]) == by_key(kept)
    for row in (row for row in before if row not in kept):
        assert {**row, "superseded_by_run": newest[row["month"]]["run_id"]} in after["scores_history"]
    champions = {row["month"]: row["champion"] for row in after["scorings"]}
    assert champions.keys() == newest.keys()
    assert all(row["is_champion"] == (row["model"] == champions[row["month"]]) for row in kept)


def by_key(scores):
    return sorted(scores, key=lambda row: (row["month"], row["client_id"], row["model"]))


def test_many_scores_keep_their_order(frozen):
    """A reader of one model skips the blocks of the others, as long as they lie model by model."""
    path, many = frozen(4), 600_000
    with duckdb.connect(str(path)) as con:
        con.execute(
            "INSERT INTO scores SELECT * EXCLUDE (i) REPLACE (printf('%07d', i) AS client_id) "
            "FROM (SELECT s.*, i FROM (FROM scores WHERE month = '2005-05' LIMIT 1) AS s, range(?) AS r (i))",
            [many],
        )
    with open_warehouse(path, threads=4) as con:
        ids = con.sql("SELECT client_id FROM score_rows").pl()["client_id"].tail(many)
    assert ids.is_sorted()
    assert ids.n_unique() == many


def test_scores_have_the_columns_that_they_had_as_a_table(frozen):
    path = frozen(4)
    described = "SELECT column_name, column_type FROM (DESCRIBE scores)"
    with duckdb.connect(str(path)) as con:
        before = con.execute(described).fetchall()
    with open_warehouse(path) as con:
        assert con.execute(described).fetchall() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_migrated_database_has_the_shape_of_a_new_one(frozen, version, tmp_path):
    shape = (
        "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() WHERE NOT internal "
        "UNION ALL SELECT table_name, constraint_text, constraint_type, true FROM duckdb_constraints() "
        "ORDER BY ALL"
    )
    with open_warehouse(frozen(version)) as con:
        migrated = con.execute(shape).fetchall()
    with open_warehouse(tmp_path / "new.duckdb") as con:
        assert con.execute(shape).fetchall() == migrated


@pytest.mark.parametrize("version", VERSIONS)
def test_published_database_of_a_migrated_one_holds_every_row(frozen, version, tmp_path):
    with open_warehouse(frozen(version)) as con:
        publish(con, tmp_path / "p.duckdb")
        counts = {table: con.execute(f"SELECT count(*) FROM {table}").fetchall() for table in TABLES}
    with open_published(tmp_path / "p.duckdb") as con:
        assert {t: con.execute(f"SELECT count(*) FROM {t}").fetchall() for t in TABLES} == counts


BROKEN = "SELECT * FROM nowhere;"


POSITIONS = [
    (version, number)
    for version in VERSIONS
    for number in range(len(duckdb.extract_statements(scripts("migrations")[version].text)) + 1)
]


@pytest.mark.parametrize(("version", "after"), POSITIONS)
def test_error_anywhere_in_a_migration_rolls_all_of_it_back(frozen, monkeypatch, version, after):
    path, real = frozen(version), scripts("migrations")
    before = stored(path)
    text = _broken(real[version].text, after)
    monkeypatch.setattr(
        warehouse, "scripts", lambda shelf: [*real[:version], replace(real[version], text=text)]
    )
    with pytest.raises(duckdb.Error, match="nowhere"), open_warehouse(path):
        pass
    assert stored(path) == before


def _broken(text, after):
    statements = [statement.query for statement in duckdb.extract_statements(text)]
    return ";\n".join([*statements[:after], BROKEN.rstrip(";"), *statements[after:]]) + ";"


KILL = """
import os, signal, sys
from pathlib import Path
from sql import warehouse
from sql.library import scripts

real = warehouse._apply
def apply(con, script):
    if script.name != {name!r}:
        return real(con, script)
    con.execute("BEGIN")
    con.execute(script.text)
    con.execute("INSERT INTO migrations VALUES ($name, now()::TIMESTAMP)", {{"name": script.name}})
    os.kill(os.getpid(), signal.SIGKILL)

warehouse._apply = apply
with warehouse.open_warehouse(Path({path!r})):
    pass
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_kill_before_the_commit_of_a_migration_leaves_the_version_before(frozen, version):
    path, newest = frozen(version), MIGRATIONS[-1]
    code = KILL.format(name=newest, path=str(path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert sorted(row["name"] for row in stored(path)["migrations"]) == MIGRATIONS[:-1]
    with open_warehouse(path) as con:
        migrated = rows(con)
    path.rename(path.with_name("killed.duckdb"))
    with open_warehouse(frozen(version)) as con:
        undisturbed = rows(con)
    assert {t: r for t, r in migrated.items() if t != "migrations"} == {
        t: r for t, r in undisturbed.items() if t != "migrations"
    }
