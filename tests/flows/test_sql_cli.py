"""The command `sql` as an analyst calls it: forms of the answer, worked queries, and its start."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from sql.library import scripts
from sql.publish import publish
from sql.warehouse import open_warehouse
from tasks.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which three reasons are published."""
    home = Home(tmp_path_factory.mktemp("home"))
    with open_warehouse(home.root / "warehouse.duckdb") as con:
        con.execute("INSERT INTO reason_texts SELECT 'R' || i, 'a, \"b\"', 'é' FROM range(3) AS r (i)")
        publish(con, home.published)
    return home.root


def test_without_a_query_the_tables_are_listed_with_what_they_hold(home: Path) -> None:
    listed = creditflow(home).stdout
    assert "portfolio_by_month" in listed
    assert "One row a month, client and model." in listed
    rows = json.loads(creditflow(home, "--json").stdout)
    assert {
        row["name"]: row["rows"] for row in rows if row["name"] in ("scores", "scorings", "reason_texts")
    } == {
        "scores": None,
        "scorings": 0,
        "reason_texts": 3,
    }


def test_forms_of_one_answer_agree(home: Path, tmp_path: Path) -> None:
    text = "SELECT code, reason, meaning FROM reason_texts ORDER BY code"
    expected = [{"code": f"R{n}", "reason": 'a, "b"', "meaning": "é"} for n in range(3)]
    assert json.loads(creditflow(home, text, "--json").stdout) == expected
    assert list(csv.DictReader(io.StringIO(creditflow(home, text, "--csv").stdout))) == expected
    target = tmp_path / "answer.parquet"
    assert creditflow(home, text, "--parquet", str(target)).stdout == f"{target}: 3 rows\n"
    assert pl.read_parquet(target).to_dicts() == expected
    table = creditflow(home, text)
    assert [line.split()[0] for line in table.stdout.splitlines() if line.strip()][2:] == ["R0", "R1", "R2"]
    assert table.stderr == "3 rows\n"


def test_worked_queries_are_listed_and_run_by_name(home: Path) -> None:
    listed = json.loads(creditflow(home, "--examples", "--json").stdout)
    assert [row["example"] for row in listed] == [script.name for script in scripts("examples")]
    for name in ("04_gains", "gains"):
        assert creditflow(home, "--example", name, "--csv").stdout.startswith("decile,clients,")


def test_table_shows_the_first_thousand_rows_and_says_so(home: Path) -> None:
    shown = creditflow(home, "SELECT i FROM range(1001) AS r (i)")
    assert len(shown.stdout.split()) == 1000 + 2
    assert "the first 1,000 rows; all of them with --csv" in shown.stderr
    assert len(creditflow(home, "SELECT i FROM range(1001) AS r (i)", "--csv").stdout.split()) == 1002


def test_reader_that_has_seen_enough_ends_the_stream_quietly(home: Path) -> None:
    command = f"{sys.executable} -m flows.cli sql 'FROM range(3000000)' --csv | head -2"
    env = {"CREDITFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"}
    piped = subprocess.run(command, shell=True, capture_output=True, text=True, env=env)
    assert piped.stdout == "range\n0\n"
    assert piped.stderr == ""


HEAVY = {"great_expectations", "pandas", "polars", "prefect", "pyarrow", "sklearn", "torch"}


def test_start_pays_for_no_heavy_library(home: Path) -> None:
    """Which is what keeps it below half a second on an idle machine."""
    code = (
        "import sys; sys.argv[1:] = ['sql', 'SELECT 1']; from flows import cli; import os\n"
        "os._exit = lambda code: None\n"
        "cli.main()\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    env = {"CREDITFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"}
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert imported.stdout.splitlines()[-1] == "[]"


def creditflow(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"CREDITFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "flows.cli", "sql", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done
