import errno
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from creditflow.errors import CreditflowError
from flows import cli

HEAVY = (
    "torch",
    "sklearn",
    "prefect",
    "great_expectations",
    "evidently",
    "pandas",
    "polars",
    "duckdb",
    "matplotlib",
)
COMMANDS = (
    "demo",
    "simulate",
    "import-uci",
    "run",
    "backfill",
    "rebuild",
    "alerts",
    "study",
    "sql",
    "status",
    "serve",
    "deploy",
    "backup",
    "restore",
    "report",
    "ui",
    "score",
)


def creditflow(*arguments, home, **settings):
    """The command as a person runs it, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env={"CREDITFLOW_HOME": str(home), "PATH": "/usr/bin:/bin", "COLUMNS": "200"} | settings,
        capture_output=True,
        text=True,
    )


def test_help_pays_for_no_heavy_import():
    code = f"import sys; from flows import cli; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# What is seldom needed to answer; a query and a look at what is up to date are of a few tenths of a second.
LATE = ("torch", "sklearn", "scipy", "prefect", "great_expectations", "evidently", "pandas", "matplotlib")


@pytest.mark.parametrize(
    ("arguments", "words", "imported"),
    [
        (["sql", "SELECT 1 AS one"], "one", []),
        (["status"], "2026-01", []),
        (["status", "--timings"], "between stages", []),
        # What is raised is read by the module of the stage that raises it.
        (["run", "2026-04"], "2026-04: nothing to do", ["prefect"]),
        (["backfill", "2026-01", "2026-04", "--reason", "again"], "2026-04: nothing to do", ["prefect"]),
    ],
)
def test_what_has_nothing_to_run_pays_for_no_heavy_import(home, arguments, words, imported):
    code = f"""import atexit, sys
from flows import cli
atexit.register(lambda: print(sorted(set({LATE!r}) & set(sys.modules)), file=sys.stderr))
sys.argv = ["creditflow", *{arguments!r}]
cli.main()"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode in (0, cli.CRITICAL), found.stderr
    assert words in found.stdout
    assert str(imported) in found.stderr.splitlines(), found.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["--month", "2026-01"], 2, "--timings"), (["--timings", "--month", "May"], 1, "May")],
)
def test_timings_of_a_month_need_both(arguments, code, words, tmp_path):
    result = creditflow("status", *arguments, home=tmp_path / "home")
    assert result.returncode == code
    assert words in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "2005-13"], 1, "2005-13"),
        (["run", "2005-04"], 1, "clients_2005-04"),
        (["run"], 2, "MONTH"),
        (["nonsense"], 2, "nonsense"),
        (["backfill", "2005-04", "2005-05"], 2, "--reason"),
        (["backfill", "2005-04", "2005-05", "--reason", " "], 2, "--reason"),
        (["backfill", "2005-05", "2005-04", "--reason", "x"], 2, "2005-05 to 2005-04"),
        (["sql", "SELECT 1", "--file", "q.sql"], 2, "a query and --file"),
        (["sql", "--example", "04_gains", "--examples"], 2, "--example and --examples"),
        (["sql", "SELECT 1", "--csv", "--json"], 2, "--csv and --json"),
        (["sql", "SELECT 1", "--json", "--parquet", "p.parquet"], 2, "--json and --parquet"),
        (["sql", "SELECT 1", "--overwrite"], 2, "--overwrite alone"),
        (["sql", "--examples", "--parquet", "p.parquet"], 2, "a query for --parquet"),
        (["sql", "--example", "nothing"], 2, "01_portfolio_by_month"),
        (["sql", "SELECT 1"], 1, "creditflow demo"),
        (["sql", "--file", "nowhere.sql"], 2, "nowhere.sql"),
        (["import-uci", "nowhere.csv"], 1, "nowhere.csv"),
        (["backup", "kept"], 1, "nothing to keep"),
        (["restore", "nowhere"], 1, "manifest.json"),
        (["restore", "nowhere", "--check"], 1, "manifest.json"),
        (["restore", "nowhere", "--check", "--replace"], 2, "--check or --replace"),
        (["study", "nowhere.csv"], 1, "nowhere.csv"),
    ],
)
def test_refusals_are_one_line_and_an_exit_code(arguments, code, words, tmp_path):
    result = creditflow(*arguments, home=tmp_path / "home")
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    if code == 1:
        assert len(result.stderr.strip().splitlines()) == 1


def test_status_of_an_empty_home_says_how_to_begin(tmp_path):
    result = creditflow("status", home=tmp_path / "home")
    assert (result.returncode, result.stdout) == (0, "")
    assert "creditflow demo" in result.stderr


def test_bad_setting_is_a_usage_error(tmp_path):
    result = creditflow("status", home=tmp_path, CREDITFLOW_MAX_QUARANTINE_SHARE="7")
    assert result.returncode == 2
    assert "CREDITFLOW_MAX_QUARANTINE_SHARE" in result.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_disk_faults_become_one_line(number):
    error = cli._storage_error(OSError(number, "a fault of the disk", "var/file"))
    assert isinstance(error, CreditflowError)
    assert "var/file" in str(error)
    assert "a fault of the disk" in str(error)


def test_a_bug_is_one_line_too_with_the_traceback_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert cli._storage_error(OSError(errno.ENXIO, "odd")) is None
    error = cli._unexpected(ValueError("odd"))
    assert "ValueError: odd" in str(error)
    (report,) = tmp_path.iterdir()
    assert str(report) in str(error)
    assert "ValueError: odd" in report.read_text()
