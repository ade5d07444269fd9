"""What the pages tell of a month equals what the warehouse holds."""

from collections.abc import Callable

import duckdb
import polars as pl
import pytest

from creditflow.columns import ATTRIBUTE_NAMES
from creditflow.month import Month
from tasks.reports.gather import Expectation, earlier_row, gather_month, gather_overview, sample

REALISED, LIVE = Month(2005, 4), Month(2005, 5)


def one(con: duckdb.DuckDBPyConnection, query: str) -> object:
    return con.execute(query).fetchall()[0][0]


def test_the_overview_has_every_month_in_order(con: duckdb.DuckDBPyConnection) -> None:
    rows = gather_overview(con)
    assert [(r.month, r.status) for r in rows] == [
        ("2005-03", "awaiting a first model"),
        ("2005-04", "scored"),
        ("2005-05", "scored"),
    ]


def test_the_overview_figures_are_those_of_the_tables(con: duckdb.DuckDBPyConnection) -> None:
    row = next(r for r in gather_overview(con) if r.month == "2005-04")
    mean_pd = one(con, "SELECT avg(pd) FROM scores WHERE month = '2005-04' AND is_champion")
    rate = one(con, "SELECT avg(defaulted) FROM outcomes WHERE month = '2005-04'")
    assert (row.received, row.accepted, row.quarantined) == (403, 400, 3)
    assert (row.champion, row.basis, row.scored) == ("logistic", "live", 400)
    assert row.mean_pd == pytest.approx(mean_pd, abs=1e-12)
    assert row.default_rate == pytest.approx(rate, abs=1e-12)
    assert (row.auc_held_out, row.auc_realised) == (pytest.approx(0.7744), pytest.approx(0.7684))
    assert row.auc_estimated == pytest.approx(0.7724)
    assert (row.checks, row.checks_failed, row.checks_noted, row.checks_not_run) == (6, 2, 1, 1)


def test_a_live_month_has_the_held_out_auc_of_its_version_and_no_realised_one(
    con: duckdb.DuckDBPyConnection,
) -> None:
    row = gather_overview(con)[-1]
    assert (row.auc_held_out, row.auc_realised, row.default_rate) == (pytest.approx(0.7744), None, None)
    assert row.moved == ["pay_amt5", "pay_amt2", "bill_amt5", "bill_amt2", "limit_bal"]


@pytest.mark.parametrize(("value", "counted"), [(0.2499, 0), (0.25, 1), (0.2501, 1)])
def test_an_attribute_counts_as_moved_from_a_quarter_on(
    con: duckdb.DuckDBPyConnection, value: float, counted: int
) -> None:
    con.execute("UPDATE drift SET value = 0 WHERE month = '2005-05'")
    con.execute("UPDATE drift SET value = ? WHERE month = '2005-05' AND name = 'age'", [value])
    assert len(gather_overview(con)[-1].moved) == counted


def test_the_month_equals_its_line_of_the_overview(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, REALISED)
    assert facts is not None
    assert facts.row == gather_overview(con)[1]


def test_grades_and_histogram_hold_every_scored_client_once(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, REALISED)
    assert facts is not None
    assert sum(g.clients for g in facts.grades) == 400
    assert sum(b.clients for b in facts.pd_bins) == 400
    assert [g.mean_pd for g in facts.grades] == sorted(g.mean_pd for g in facts.grades)
    assert sum(g.credit_limit for g in facts.grades) == pytest.approx(
        one(con, "SELECT sum(limit_bal) FROM clients WHERE month = '2005-04'")
    )


def test_the_highest_pd_falls_into_the_last_class(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("UPDATE score_rows SET pd = 1.0 WHERE month = '2005-05' AND is_champion")
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert [(b.bin, b.clients) for b in facts.pd_bins] == [(39, 400)]


def test_codes_are_counted_over_their_columns(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, REALISED)
    assert facts is not None
    found = {(c.attribute, c.code): (c.occurrences, c.cells) for c in facts.codes}
    zeros = one(con, "SELECT count(*) FROM clients WHERE month = '2005-04' AND education = 0")
    revolving = one(
        con,
        "SELECT sum((pay_1 = 0)::INT + (pay_2 = 0)::INT + (pay_3 = 0)::INT + (pay_4 = 0)::INT"
        " + (pay_5 = 0)::INT + (pay_6 = 0)::INT)::BIGINT FROM clients WHERE month = '2005-04'",
    )
    assert found["education", "0"] == (zeros, 400)
    assert found["pay_1 … pay_6", "0"] == (revolving, 2400)


def test_only_the_revision_in_use_is_told(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO files BY NAME SELECT * REPLACE (2 AS revision, 'b' AS file_sha256, 400 AS received,"
        " 0 AS quarantined) FROM files WHERE month = '2005-05'"
    )
    con.execute("UPDATE files SET is_current = FALSE WHERE month = '2005-05' AND revision = 1")
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert (len(facts.files), len(facts.current_files)) == (2, 1)
    assert (facts.expectations, facts.quarantine_rules, facts.quarantine_rows) == ([], [], [])
    assert facts.row.checks == 0


def test_at_most_two_hundred_quarantined_rows_leave_the_warehouse(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO quarantine SELECT month, kind, file_sha256, 1000 + n, client_id, rule, column_name, "
        "value, violations, raw_row FROM quarantine, range(300) r(n)"
        " WHERE month = '2005-05' AND row_number = 17"
    )
    con.execute("UPDATE files SET received = received + 300, quarantined = 303 WHERE month = '2005-05'")
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert (len(facts.quarantine_rows), facts.quarantined) == (200, 303)
    assert sum(r.row_count for r in facts.quarantine_rules) == 303


def test_a_month_that_nobody_ran_has_no_facts(con: duckdb.DuckDBPyConnection) -> None:
    assert gather_month(con, Month(1999, 1)) is None


def test_the_sample_is_the_same_whatever_the_threads(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SET threads = 1")
    first = sample(con, REALISED, rows=50, seed=1)
    con.execute("SET threads = 4")
    assert sample(con, REALISED, rows=50, seed=1).equals(first)
    assert not sample(con, REALISED, rows=50, seed=2).equals(first)
    assert first.columns == [*ATTRIBUTE_NAMES, "score", "pd", "defaulted"]


def test_the_sample_takes_each_client_once_and_only_known_outcomes_on_request(
    con: duckdb.DuckDBPyConnection, add: Callable[..., None]
) -> None:
    con.execute("DELETE FROM outcomes WHERE client_id > '0000200'")
    everyone = sample(con, REALISED, rows=10_000, seed=1)
    known = sample(con, REALISED, rows=10_000, seed=1, known_only=True)
    assert everyone.height == 400
    assert everyone["defaulted"].null_count() == 400 - known.height
    assert known["defaulted"].null_count() == 0
    assert 0 < known.height < 400
    assert everyone["defaulted"].dtype == pl.Int8


@pytest.mark.parametrize(
    ("examples", "texts"),
    [
        ('["-5", "0"]', ["-5", "0"]),
        ("[]", []),
        ("", []),
        ("not JSON", ["not JSON"]),
        ('{"a": 1}', ['{"a": 1}']),
        ("[1, null]", ["1", "null"]),
        ('[{"row_number": 17, "column": "age", "value": "x"}]', ["row 17: x"]),
        ('[{"row_number": 17, "column": "age", "value": 0}]', ["row 17: 0"]),
    ],
)
def test_examples_are_shown_as_they_were_stored(examples: str, texts: list[str]) -> None:
    check = Expectation("clients", "s", 0, "r", "e", None, "info", "m", "failed", 3, 1, examples, None)
    assert check.example_texts == texts


# --- Decisions and reasons --------------------------------------------------------------------------


def test_rules_checks_and_changes_come_in_their_order(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert [(r.rule, r.met) for r in facts.rules] == [
        ("no_champion", False),
        ("asked_for", False),
        ("champion_age", True),
        ("score_drift", None),
    ]
    assert [c.passed for c in facts.gate] == [True, False, True, True, None]
    assert facts.promotions == []


def test_flags_are_counted_against_the_outcomes(con: duckdb.DuckDBPyConnection) -> None:
    facts, live = gather_month(con, REALISED), gather_month(con, LIVE)
    assert facts is not None
    assert live is not None
    joined = (
        "FROM scores s JOIN outcomes o USING (month, client_id) WHERE s.is_champion AND s.month = '2005-04'"
    )
    assert facts.flags.judged == 400
    assert facts.flags.flagged == one(con, "SELECT count(*) FROM scores WHERE flagged AND month = '2005-04'")
    assert facts.flags.flagged_known == one(con, f"SELECT count(*) {joined} AND flagged")
    assert facts.flags.flagged_defaulters == one(
        con, f"SELECT count(*) {joined} AND flagged AND defaulted = 1"
    )
    assert facts.flags.defaulters == one(con, f"SELECT count(*) {joined} AND defaulted = 1")
    assert (live.flags.flagged_known, live.flags.defaulters) == (0, 0)


def test_the_mix_counts_each_client_once_a_reason(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, LIVE)
    assert facts is not None
    named = one(
        con,
        "SELECT count(reason_1) + count(reason_2) + count(reason_3) + count(reason_4) FROM reasons"
        " WHERE month = '2005-05'",
    )
    assert sum(c.clients for c in facts.reason_mix) == named
    assert sum(c.first for c in facts.reason_mix) == 400
    assert sum(g.explained for g in facts.explained) == sum(g.clients for g in facts.explained) == 400
    assert [g.grade for g in facts.explained] == [g.grade for g in facts.grades]
    assert all(c.reason for c in facts.reason_mix)


def test_worked_clients_stand_at_both_ends_and_on_both_sides_of_the_cut_off(
    con: duckdb.DuckDBPyConnection,
) -> None:
    facts = gather_month(con, REALISED)
    assert facts is not None
    pds = [client.pd for client in facts.worked]
    assert len(pds) == 10
    assert pds == sorted(pds, reverse=True)
    assert pds[0] == one(con, "SELECT max(pd) FROM scores WHERE month = '2005-04' AND is_champion")
    assert pds[-1] == one(con, "SELECT min(pd) FROM scores WHERE month = '2005-04' AND is_champion")
    by_place = {client.chosen_for: client for client in facts.worked}
    above, below = by_place["the last at or above the cut-off"], by_place["the first below the cut-off"]
    assert above.pd >= 0.18 > below.pd
    assert (above.flagged, below.flagged) == (True, False)
    paid, defaulted = by_place["the riskiest who paid"], by_place["the safest who defaulted"]
    for client, outcome, end in ((paid, 0, "max"), (defaulted, 1, "min")):
        assert client.defaulted == outcome
        assert client.pd == one(
            con,
            f"SELECT {end}(s.pd) FROM scores AS s INNER JOIN outcomes AS o USING (month, client_id) "
            f"WHERE s.month = '2005-04' AND s.is_champion AND o.defaulted = {outcome}",
        )
    assert all(client.defaulted in (0, 1) for client in facts.worked)


def test_reasons_of_a_worked_client_are_its_own_in_words(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "UPDATE reasons SET reason_1 = 'R01', contribution_1 = 0.6931471805599453, reason_2 = NULL,"
        " reason_3 = NULL, reason_4 = NULL"
    )
    con.execute("UPDATE clients SET pay_1 = 2")
    facts = gather_month(con, LIVE)
    assert facts is not None
    for client in facts.worked:
        (reason,) = client.reasons
        assert reason.text == "The latest payment is late: it is 2 months behind."
        assert reason.odds_factor == pytest.approx(2.0, abs=1e-12)
        assert len(client.unusual) == 3


def test_fewer_explained_clients_than_places_are_told_once(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("DELETE FROM reasons WHERE client_id NOT IN ('0000007', '0000008')")
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert sorted(c.client_id for c in facts.worked) == ["0000007", "0000008"]
    con.execute("DELETE FROM reasons")
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert (facts.worked, facts.reason_mix, facts.unusual) == ([], [], [])


def test_unusual_columns_are_counted_over_all_three_places(con: duckdb.DuckDBPyConnection) -> None:
    facts = gather_month(con, LIVE)
    assert facts is not None
    assert sum(c.clients for c in facts.unusual) == 1200
    assert sum(c.first for c in facts.unusual) == 400
    largest = one(con, "SELECT max(abs(deformation_1)) FROM reasons WHERE month = '2005-05'")
    assert max(c.largest for c in facts.unusual) == largest


def test_a_change_by_hand_is_told_in_the_row(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO promotions VALUES ('p9', '2005-05', 'rollback', 'vae_anomaly', 'v0', 'logistic', 'v1',"
        " 'it failed',"
        " 'me', '2005-07-01 00:00:00', NULL)"
    )
    assert [r.by_hand for r in gather_overview(con)] == [
        [],
        [],
        ["Rolled back to vae_anomaly v0 by me (it failed)."],
    ]


def test_sample_of_a_month_without_outcomes_is_no_larger_than_asked(
    con: duckdb.DuckDBPyConnection, add: Callable[..., None]
) -> None:
    """DuckDB 2.0.0 drops a LIMIT above 5,000 over a LEFT JOIN whose right side it knows to be empty."""
    add("2005-06", 9_000, seed=3, outcomes=False)
    con.execute("DELETE FROM outcomes WHERE month > '2005-04'")
    assert sample(con, Month(2005, 6), rows=5_500, seed=1).height == 5_500
    assert sample(con, Month(2005, 6), rows=5_500, seed=1, known_only=True).is_empty()


def test_month_before_is_the_newest_with_a_file_or_a_run(con: duckdb.DuckDBPyConnection) -> None:
    before = earlier_row(con, "2005-05")
    assert before is not None
    assert before == gather_overview(con)[1]
    assert earlier_row(con, "2005-03") is None
