"""Who is champion of which month, from decisions and persons' choices; and what readers see of it."""

import duckdb
import polars as pl
import pytest

from sql.library import scripts
from sql.warehouse import execute, transaction

A, B, C = ("blend", "v1"), ("blend", "v2"), ("logistic", "v2")


@pytest.fixture
def views(con):
    for view in scripts("views"):
        con.execute(view.text)
    return con


def champion(con, month):
    return [row[:2] for row in execute(con, "champion_before", month=month)]


def test_newest_decision_before_the_month_counts(con, decided):
    decided(con, "2005-04", None, "2005-06-01", "wait")
    decided(con, "2005-05", A, "2005-06-02")
    decided(con, "2005-06", B, "2005-06-03")
    assert champion(con, "2005-05") == []
    assert champion(con, "2005-06") == [A]
    assert champion(con, "2005-09") == [B]


@pytest.mark.parametrize(
    ("choice_at", "expected"),
    [
        ("2005-06-09", C),  # chosen after the month was decided: the choice counts
        ("2005-06-01", B),  # the run that followed could not use the choice: its decision counts
    ],
)
def test_in_one_month_the_newer_of_choice_and_decision_counts(con, decided, promoted, choice_at, expected):
    decided(con, "2005-05", B, "2005-06-02")
    promoted(con, "2005-05", "promote", C, choice_at)
    assert champion(con, "2005-06") == [expected]


def test_later_month_decides_otherwise(con, decided, promoted):
    decided(con, "2005-05", A, "2005-06-02")
    promoted(con, "2005-05", "promote", C, "2005-06-09")
    decided(con, "2005-06", B, "2005-06-03")
    assert champion(con, "2005-07") == [B]


def test_choice_is_that_of_the_month_alone_and_the_newest(con, promoted):
    promoted(con, "2005-05", "promote", C, "2005-06-01")
    promoted(con, "2005-05", "rollback", A, "2005-06-02")
    promoted(con, "2005-05", "gate", B, "2005-06-03", by="creditflow")
    assert execute(con, "chosen_for", month="2005-05") == [(*A, "rollback", "rollback of 2005-05")]
    assert execute(con, "chosen_for", month="2005-06") == []


def test_runs_forget_their_own_changes_but_not_what_a_person_answered_to(con, promoted):
    for month in ("2005-04", "2005-05"):
        promoted(con, month, "gate", B, "2005-06-01", by="creditflow")
    promoted(con, "2005-05", "rollback", A, "2005-06-02")
    for month in ("2005-04", "2005-05"):
        execute(con, "delete_promotions", month=month, replaced=False)
    left = con.execute("SELECT month, action FROM promotions ORDER BY ALL").fetchall()
    assert left == [("2005-05", "gate"), ("2005-05", "rollback")]
    execute(con, "delete_promotions", month="2005-05", replaced=True)
    assert con.execute("SELECT action FROM promotions").fetchall() == [("rollback",)]


def test_reigns_follow_decisions_and_choices_with_their_reasons(views, decided, promoted):
    for month, who, at in (("04", A, "01"), ("05", A, "02"), ("06", B, "03"), ("07", B, "04")):
        decided(views, f"2005-{month}", who, f"2005-08-{at}")
    promoted(views, "2005-04", "first", A, "2005-08-01", by="creditflow")
    promoted(views, "2005-06", "gate", B, "2005-08-03", by="creditflow")
    promoted(views, "2005-07", "rollback", A, "2005-08-09")
    columns = "month, last_month, model, version, action, reason, decided_by"
    assert views.execute(f"SELECT {columns} FROM champions").fetchall() == [
        ("2005-04", "2005-05", *A, "first", "first of 2005-04", "creditflow"),
        ("2005-06", "2005-06", *B, "gate", "gate of 2005-06", "creditflow"),
        ("2005-07", "2005-07", *A, "rollback", "rollback of 2005-07", "ada"),
    ]


def test_reasons_of_a_client_are_rows_in_words(views, tmp_path):
    texts = pl.DataFrame(
        {
            "code": ["R1", "R2"],
            "reason": ["Payments are late", "Limit is used up"],
            "meaning": ["status", "utilisation"],
        }
    )
    for _ in range(2):
        views.register("results", texts)
        execute(views, "replace_reason_texts")
        views.unregister("results")
    path = tmp_path / "reasons.parquet"
    # In another order than that of the table.
    pl.DataFrame(
        {
            "model": ["blend", "blend"],
            "client_id": ["1", "2"],
            "base_log_odds": [-1.3, -1.3],
            "contribution_1": [0.9, None],
            "reason_1": ["R2", None],
            "reason_2": ["R1", None],
            "contribution_2": [0.4, None],
            "unusual_1": ["bill_amt1", "limit_bal"],
            "deformation_1": [3.5, -2.0],
        },
        schema_overrides={"reason_1": pl.String},
    ).write_parquet(path)
    execute(views, "insert_reasons", month="2005-04", version="v1", path=str(path))
    columns = "client_id, rank, code, reason, contribution, unusual, deformation"
    assert views.execute(f"SELECT {columns} FROM client_reasons ORDER BY client_id, rank").fetchall() == [
        ("1", 1, "R2", "Limit is used up", 0.9, "bill_amt1", 3.5),
        ("1", 2, "R1", "Payments are late", 0.4, None, None),
        ("2", 1, None, None, None, "limit_bal", -2.0),
    ]
    execute(views, "delete_reasons", month="2005-04")
    assert views.execute("SELECT count(*) FROM client_reasons").fetchall() == [(0,)]
    assert views.execute("SELECT count(*) FROM reason_texts").fetchall() == [(2,)]


def test_scores_are_inserted_and_archived_by_name(con, tmp_path):
    path = tmp_path / "scores.parquet"
    row = {"flagged": True, "pd": 0.4, "score": 0.1, "is_champion": True, "model": "blend", "client_id": "1"}
    pl.DataFrame([row | {"grade": "C", "points": 500}]).write_parquet(path)
    execute(con, "insert_scores", month="2005-04", paths=[str(path)])
    execute(
        con,
        "insert_scoring",
        month="2005-04",
        champion="blend",
        version="v1",
        basis="live",
        run_id="r",
        sha256="s",
        code_version="c",
        scored_at="2005-05-01",
    )
    execute(con, "archive_scores", month="2005-04", run_id="next")
    kept = "client_id, model, pd, points, grade, flagged"
    expected = ("1", "blend", 0.4, 500, "C", True)
    assert con.execute(f"SELECT {kept} FROM scores").fetchall() == [expected]
    assert con.execute(f"SELECT {kept}, superseded_by_run FROM scores_history").fetchall() == [
        (*expected, "next")
    ]


def test_leaderboard_names_calibrator_and_attributes(views):
    views.execute(
        "INSERT INTO models BY NAME SELECT 'blend' AS model, 'v1' AS version, '2005-04' AS month, "
        "['2005-03'] AS training_months, 9 AS training_rows, 3 AS training_defaulters, "
        "'d' AS training_sha256, "
        "'m' AS manifest_sha256, 'a' AS artifact, 1 AS seed, 1.0 AS fit_seconds, 'c' AS code_version, "
        "'r' AS run_id, now()::TIMESTAMP AS trained_at, 'unprotected' AS attributes, 'none' AS calibrator"
    )
    views.execute(
        "INSERT INTO performance VALUES "
        "('2005-04', 'blend', 'v1', 'held_out', 'held_out', 'roc_auc', 0.79, 5, 2, NULL)"
    )
    found = views.execute("SELECT model, calibrator, attributes, roc_auc FROM model_leaderboard").fetchall()
    assert found == [("blend", "none", "unprotected", 0.79)]


def test_a_month_has_one_scoring(con):
    made = {"month": "2005-04", "version": "v1", "basis": "live", "run_id": "r", "sha256": "s"}
    made |= {"code_version": "c", "scored_at": "2005-05-01"}
    execute(con, "insert_scoring", champion="blend", **made)
    with pytest.raises(duckdb.ConstraintException, match="2005-04"):
        execute(con, "insert_scoring", champion="logistic", **made)
    with transaction(con):
        execute(con, "delete_scoring", month="2005-04")
        execute(con, "insert_scoring", champion="logistic", **made)
    assert con.execute("SELECT month, champion FROM scorings").fetchall() == [("2005-04", "logistic")]
