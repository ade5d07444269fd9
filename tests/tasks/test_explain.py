"""One client in words, from the published database alone."""

import json
import subprocess
import sys
from collections.abc import Callable
from math import exp, log
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from creditflow.columns import CLIENT_SCHEMA
from creditflow.errors import HomeUnusable, UsageError
from creditflow.month import Month
from sql.library import scripts
from tasks.explain import Explanation, explain, in_words

MONTH, LATER = Month(2005, 8), Month(2005, 9)
VERSION = "2005-07-0a1b2c3d"
SCORE = 0.4
_CLIENT = {
    "client_id": "0000007", "limit_bal": 50_000.0, "sex": 2, "education": 2, "marriage": 1, "age": 35,
    **{f"pay_{n}": 2 if n == 1 else 0 for n in range(1, 7)},
    **{f"bill_amt{n}": 40_000.0 for n in range(1, 7)},
    **{f"pay_amt{n}": 1_000.0 for n in range(1, 7)},
}  # fmt: skip
_INSERT_REASONS = """
INSERT INTO reasons VALUES
('2005-08', '0000007', 'blend', ?, -1.25, 'R01', 0.9, 'R06', 0.15, NULL, NULL, NULL, NULL,
 'bill_amt1', -4.25, 'status_1', 3.5, NULL, NULL)
"""
_INSERT_MODEL = """
INSERT INTO models VALUES
('blend', ?, '2005-07', ['2005-06'], 6000, 1300, 'd', 'm', 'artifacts/x', 42, 20.0, 'c0de', 'run-7',
 '2005-08-01', 'unprotected', 'platt', 0.16667, NULL)
"""
_INSERT_SCORE = """
INSERT INTO score_rows VALUES
('2005-08', ?, 'blend', ?, ?, 0.4321, 512, 'E', ?)
"""
_INSERT_SCORING = """
INSERT INTO scorings VALUES
('2005-08', 'blend', ?, 'live', 'run-8', 'sha', 'c0de', '2005-09-01 06:00:00')
"""


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A database with one explained client, one that is not, and no outcome."""
    path = tmp_path / "published" / "creditflow.duckdb"
    path.parent.mkdir()
    with duckdb.connect(str(path)) as con:
        for script in scripts("migrations"):
            con.execute(script.text)
        columns = ", ".join(CLIENT_SCHEMA)
        con.execute(
            f"INSERT INTO clients (month, {columns}, row_number, file_sha256) "
            f"VALUES ('2005-08', {', '.join('?' * len(CLIENT_SCHEMA))}, 1, 'sha')",
            [_CLIENT[name] for name in CLIENT_SCHEMA],
        )
        con.execute(_INSERT_MODEL, [VERSION])
        for client in ("0000007", "<b>8</b>"):
            con.execute(_INSERT_SCORE, [client, True, SCORE, True])
        con.execute(_INSERT_SCORE, ["0000009", False, SCORE, None])
        con.execute(_INSERT_SCORING, [VERSION])
        con.execute(_INSERT_REASONS, [VERSION])
    return path


@pytest.fixture
def change(published: Path) -> Callable[[str], None]:
    """Runs a statement on the published database."""

    def run(statement: str) -> None:
        with duckdb.connect(str(published)) as con:
            con.execute(statement)

    return run


def test_the_figures_are_those_of_the_tables(published: Path) -> None:
    found = explain(published, MONTH, "0000007")
    assert (found.model, found.version, found.basis) == ("blend", VERSION, "live")
    assert (found.pd, found.grade, found.points, found.flagged) == (0.4321, "E", 512, True)
    assert [r.text for r in found.reasons] == [
        "The latest payment is late: it is 2 months behind.",
        "The balance is high against the limit: 80 % of it is used, 80 % on average over six months.",
    ]
    assert [(u.name, u.deformation) for u in found.unusual] == [("bill_amt1", -4.25), ("status_1", 3.5)]


def test_contributions_add_up_to_the_log_odds_of_the_score(published: Path) -> None:
    found = explain(published, MONTH, "0000007")
    assert found.log_odds == pytest.approx(log(SCORE / (1 - SCORE)), abs=1e-12)
    assert found.base_log_odds is not None
    assert found.other_columns is not None
    total = found.base_log_odds + found.other_columns + sum(r.contribution for r in found.reasons)
    assert total == pytest.approx(log(SCORE / (1 - SCORE)), abs=1e-12)
    assert found.reasons[0].odds_factor == pytest.approx(exp(0.9), abs=1e-12)


_MEANING = "amount of the bill; negative when the client is in credit, statement 1 (1 = newest)"
_NOT_COMPUTED = "not computed, the set has no one-class VAE or the client is not explained."
_NOT_ASKED = "the settings asked for none for this client (CREDITFLOW_EXPLAIN_UP_TO, _SHARE)."
_GONE = "R99  Reason R99, which is no longer in the list of reasons."
_OUTCOME = "INSERT INTO outcomes VALUES ('2005-08', '0000007', {}, 'outcomes', 'o')"


@pytest.mark.parametrize(
    ("statement", "lines"),
    [
        ("SELECT 1", ["Client 0000007, 2005-08", "  PD        43.21%, grade E, 512 points"]),
        ("SELECT 1", ["  Flag      flagged: the PD reaches the cut-off of 16.67%"]),
        ("SELECT 1", ["  Outcome   not known: outcomes of 2005-08 not received for this client"]),
        ("SELECT 1", ["   +0.90  odds ×  2.46  R01  The latest payment is late: it is 2 months behind."]),
        ("SELECT 1", ["   -1.25  where every client begins", "   -0.21  all other columns together"]),
        ("SELECT 1", ["   -0.41  together: a score of 40.00%; platt calibration turns it into the PD"]),
        ("SELECT 1", [f"    -4.2 SD  bill_amt1  {_MEANING}"]),
        (_OUTCOME.format(1), ["  Outcome   defaulted"]),
        (_OUTCOME.format(0), ["  Outcome   did not default"]),
        ("UPDATE score_rows SET flagged = NULL", ["  Flag      not judged: scored by an earlier release"]),
        (
            "UPDATE score_rows SET flagged = FALSE",
            ["  Flag      not flagged: the PD is below the cut-off of 16.67%"],
        ),
        ("DELETE FROM models", ["  Flag      flagged", "   -0.41  together: a score of 40.00%"]),
        (
            "UPDATE reasons SET reason_1 = NULL, reason_2 = NULL",
            ["No reason: nothing raised this score enough to be told."],
        ),
        ("UPDATE reasons SET reason_1 = 'R99'", [f"   +0.90  odds ×  2.46  {_GONE}"]),
        ("UPDATE reasons SET unusual_1 = NULL, unusual_2 = NULL", [f"Unusual columns: {_NOT_COMPUTED}"]),
        ("DELETE FROM reasons", [f"No reasons: {_NOT_ASKED}"]),
    ],
)
def test_the_words_say_what_is_known_and_why_the_rest_is_not(
    published: Path, change: Callable[[str], None], statement: str, lines: list[str]
) -> None:
    change(statement)
    told = in_words(explain(published, MONTH, "0000007"))
    assert [line for line in lines if line not in told] == []


@pytest.mark.parametrize(
    ("month", "client", "told"),
    [
        (
            LATER,
            "0000007",
            "month 2005-09: expected a scored month from 2005-08 to 2005-08, found no score of it.",
        ),
        (MONTH, "7", "client '7' in 2005-08: expected one of the 2 clients scored"),
        (MONTH, "0000009", "client '0000009' in 2005-08"),
        (MONTH, "' OR 1 = 1 --", "found no such client"),
    ],
)
def test_an_unknown_month_or_client_is_one_clear_line(
    published: Path, month: Month, client: str, told: str
) -> None:
    with pytest.raises(UsageError) as raised:
        explain(published, month, client)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_nothing_scored_nothing_published_and_an_earlier_release_are_told(
    published: Path, change: Callable[[str], None], tmp_path: Path
) -> None:
    for table in ("score_rows", "scorings"):
        change(f"DELETE FROM {table}")
    with pytest.raises(UsageError, match=r"expected a scored month, found none at all\."):
        explain(published, MONTH, "0000007")
    change("DROP TABLE reasons")
    with pytest.raises(UsageError, match="one that an earlier release published"):
        explain(published, MONTH, "0000007")
    with pytest.raises(HomeUnusable, match="expected a published database, found none"):
        explain(tmp_path / "absent.duckdb", MONTH, "0000007")


def test_json_holds_every_figure(published: Path) -> None:
    found = explain(published, MONTH, "0000007")
    table = json.loads(json.dumps(found.as_dict()))
    assert set(table) == {*Explanation.__dataclass_fields__, "log_odds", "other_columns"}
    assert table["reasons"][0] == {
        "code": "R01",
        "contribution": 0.9,
        "text": "The latest payment is late: it is 2 months behind.",
        "odds_factor": pytest.approx(exp(0.9)),
    }
    assert table["scored_at"] == "2005-09-01 06:00:00"
    assert table["defaulted"] is None


def test_a_score_at_the_edge_has_no_sum(published: Path, change: Callable[[str], None]) -> None:
    change("UPDATE score_rows SET score = 1.0")
    found = explain(published, MONTH, "0000007")
    assert (found.log_odds, found.other_columns) == (None, None)
    assert not any("together" in line for line in in_words(found))


# ── The command ─────────────────────────────────────────────────────────────────────────────────


def test_the_command_prints_words_or_json(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.cli import app

    monkeypatch.setenv("CREDITFLOW_HOME", str(published.parent.parent))
    spoken = CliRunner().invoke(app, ["explain", "2005-08", "<b>8</b>"])
    assert spoken.exit_code == 0
    told = CliRunner().invoke(app, ["explain", "2005-08", "0000007", "--json"])
    assert json.loads(told.stdout)["client_id"] == "0000007"


def test_explaining_imports_no_learning_library(published: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from creditflow.month import Month;"
        "from tasks.explain import explain, in_words;"
        f"in_words(explain(Path({str(published)!r}), Month(2005, 8), '0000007'));"
        "print(sorted({'torch', 'sklearn', 'prefect', 'evidently', 'great_expectations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
