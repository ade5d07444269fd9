"""A database that an earlier version of creditflow left behind works on, with its history."""

from sql.publish import publish
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
