"""A database as version 1 left it, and one that holds a little history."""

import duckdb
import pytest

from sql.library import scripts
from sql.warehouse import open_warehouse

MOMENT = "TIMESTAMP '2005-06-01 06:00:00'"
SCORE = "('{month}', 'c1', 'logistic', 'v1', true, 0.5, 0.2, 600, 'B', 'live', 'run', 'sha', 'code', {at})"


@pytest.fixture
def version_one(tmp_path):
    """The path of a database in which version 1 decided four months and scored one."""
    path = tmp_path / "one.duckdb"
    con = duckdb.connect(str(path))
    con.execute("CREATE TABLE migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)")
    con.execute(next(s.text for s in scripts("migrations") if s.name == "001_spine"))
    con.execute("INSERT INTO migrations VALUES ('001_spine', now()::TIMESTAMP)")
    for version, month in (("v1", "2005-02"), ("v2", "2005-04")):
        con.execute(
            f"INSERT INTO models VALUES ('logistic', '{version}', '{month}', ['2005-01'], 9, 3, 'd', 'm', "
            f"'artifacts/{version}/logistic', 42, 1.0, 'code', 'run', {MOMENT})"
        )
    for month, verdict, champion in (
        ("2005-01", "wait", "NULL, NULL"),
        ("2005-02", "retrain", "'logistic', 'v1'"),
        ("2005-03", "reuse", "'logistic', 'v1'"),
        ("2005-04", "retrain", "'logistic', 'v2'"),
    ):
        con.execute(
            f"INSERT INTO decisions VALUES ('{month}', '{verdict}', 'age', '1', '6', 'Why {month}.', "
            f"{champion}, 'run-{month}', {MOMENT})"
        )
    row = SCORE.format(month="2005-04", at=MOMENT)
    con.execute(f"INSERT INTO scores VALUES {row}")
    con.execute(f"INSERT INTO scores_history VALUES {row[:-1]}, 'run-0')")
    con.execute("INSERT INTO derived VALUES ('2005-04', 'drift', 'run')")
    con.close()
    return path


@pytest.fixture
def con(tmp_path):
    with open_warehouse(tmp_path / "w.duckdb") as opened:
        yield opened


@pytest.fixture
def decided():
    """Writes that a month's run named a champion."""

    def write(con, month, champion, at, verdict="reuse"):
        model, version = champion or (None, None)
        con.execute(
            "INSERT INTO decisions VALUES (?, ?, 'age', '1', '6', ?, ?, ?, 'run', ?::TIMESTAMP)",
            [month, verdict, f"Decided {month}.", model, version, at],
        )

    return write


@pytest.fixture
def promoted():
    """Writes a change of champion."""

    def write(con, month, action, champion, at, by="ada"):
        con.execute(
            "INSERT INTO promotions VALUES (?, ?, ?, ?, ?, NULL, NULL, ?, ?, ?::TIMESTAMP, NULL)",
            [f"{action}-{at}", month, action, *champion, f"{action} of {month}", by, at],
        )

    return write
