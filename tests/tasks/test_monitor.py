import numpy as np
import polars as pl
import pytest

from creditflow.errors import WarehouseCorrupt
from creditflow.month import Month
from models.estimate import estimated_metrics
from models.stability import psi, reference_bins
from tasks.assess import _joined, _OtherOrder, _segments, _side_by_side, realised_rows, truths
from tasks.monitor import drift_of, monitor


def test_drift_over_batches_is_drift_over_the_whole():
    rng = np.random.default_rng(1)
    bins = {
        "limit_bal": reference_bins(rng.gamma(2, 100, 5000), "amount"),
        "sex": reference_bins([1, 2, 2], "code"),
    }
    month = pl.DataFrame({"limit_bal": rng.gamma(2, 120, 3000), "sex": rng.integers(1, 4, 3000)})
    whole = {name: psi(bins[name], month[name]) for name in bins}
    parts = drift_of(bins, (month.slice(start, 700) for start in range(0, 3000, 700)))
    for name, result in whole.items():
        assert parts[name].value == pytest.approx(result.value, abs=1e-12)
        assert parts[name].bins.equals(result.bins)


def test_month_of_one_class_has_reasons_instead_of_figures():
    truth = pl.DataFrame({"pd": [0.1, 0.2, 0.3], "defaulted": [0, 0, 0]})
    rows = realised_rows(Month(2005, 4), [("logistic", "v", "live", truth)])
    by_metric = {row["metric"]: row for row in rows}
    assert by_metric["roc_auc"]["value"] is None
    assert by_metric["roc_auc"]["reason"]
    assert by_metric["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    assert {row["defaulters"] for row in rows} == {0}


def test_no_outcome_known_gives_no_row():
    assert realised_rows(Month(2005, 4), []) == []


# ── Estimates ───────────────────────────────────────────────────────────────────────────────────

PERFORMANCE = (
    "SELECT sample, model, metric, value, clients, defaulters FROM performance "
    "WHERE month = '2005-04' AND sample != 'held_out' ORDER BY ALL"
)


@pytest.fixture
def monitored(two_sets, monkeypatch):
    """The home of two sets; `monitor` without drift, whose bins would need an artifact with a manifest."""
    monkeypatch.setattr("tasks.monitor._store_drift", lambda *_: None)
    limits = {"limit_bal": reference_bins([10_000.0, 50_000.0, 200_000.0], "amount")}
    monkeypatch.setattr("tasks.monitor._frozen_bins", lambda *_: limits)

    def watch():
        monitor.fn(two_sets.run("2005-04"))
        return {(s, model, metric): rest for s, model, metric, *rest in two_sets.ask(PERFORMANCE)}

    return watch


def add_challenger(office):
    with office.warehouse() as con:
        con.execute(
            "INSERT INTO score_rows SELECT * REPLACE ('logistic' AS model, false AS is_champion, "
            "pd / 2 AS pd) FROM score_rows WHERE month = '2005-04'"
        )


def test_month_is_estimated_when_it_is_scored_and_realised_when_its_outcomes_come(two_sets, monitored):
    add_challenger(two_sets)
    found = monitored()
    assert {sample for sample, *_ in found} == {"estimated"}
    for model in ("blend", "logistic"):
        pds = [
            pd
            for (pd,) in two_sets.ask(f"SELECT pd FROM scores WHERE month = '2005-04' AND model = '{model}'")
        ]
        for name, metric in estimated_metrics(pds).items():
            assert found["estimated", model, name] == [metric.value, len(pds), None]
    two_sets.realise("2005-04")
    with two_sets.warehouse() as con:
        con.execute(
            "INSERT INTO files SELECT * REPLACE ('outcomes' AS kind, 'late' AS run_id) FROM files "
            "WHERE month = '2005-04'"
        )
    both = monitored()
    assert {sample for sample, *_ in both} == {"estimated", "realised"}
    assert {key: row for key, row in both.items() if key[0] == "estimated"} == found
    # The stand-in's PDs are those that outcomes are drawn from, but for its blur.
    estimate, deviation = (both["estimated", "blend", name][0] for name in ("roc_auc", "roc_auc_sd"))
    assert abs(both["realised", "blend", "roc_auc"][0] - estimate) < 4 * deviation


def test_estimates_follow_a_new_scoring_and_nothing_else(two_sets, monitored):
    before = monitored()
    assert monitored() == before
    two_sets.ask("UPDATE performance SET value = 7 WHERE sample = 'estimated'")
    assert {row[0] for row in monitored().values()} == {7}
    two_sets.ask("UPDATE scorings SET run_id = 'scored again'")
    assert monitored() == before


def test_estimate_of_a_month_has_no_defaulters_and_no_calibration_error(monitored):
    found = monitored()
    assert {tuple(row[1:]) for row in found.values()} == {(2500, None)}
    assert found["estimated", "blend", "ece"][0] is None


def test_memory_of_what_was_estimated_is_kept_apart_from_drift(two_sets, monitored):
    monitored()
    made = two_sets.ask("SELECT product, made_from FROM derived WHERE month = '2005-04' ORDER BY ALL")
    assert ("estimates", "r") in made


def test_models_that_did_not_score_the_same_clients_are_refused(two_sets, monitored):
    add_challenger(two_sets)
    two_sets.realise("2005-04")
    two_sets.ask(
        "DELETE FROM score_rows WHERE month = '2005-04' AND model = 'logistic' AND client_id = "
        "(SELECT min(client_id) FROM score_rows WHERE month = '2005-04')"
    )
    with two_sets.warehouse() as con, pytest.raises(WarehouseCorrupt, match="of logistic"):
        list(truths(con, Month(2005, 4)))


def test_truths_are_of_the_clients_whose_outcome_is_known(two_sets, monitored):
    add_challenger(two_sets)
    two_sets.realise("2005-04")
    two_sets.ask("DELETE FROM outcomes WHERE month = '2005-04' AND client_id LIKE '%7'")
    expected = two_sets.ask(
        "SELECT s.model, s.pd, s.grade, o.defaulted FROM scores s JOIN outcomes o USING (month, client_id) "
        "WHERE month = '2005-04' ORDER BY s.is_champion DESC, s.model, s.client_id"
    )
    with two_sets.warehouse() as con:
        found = [
            (model, *row)
            for model, _, _, truth in truths(con, Month(2005, 4))
            for row in truth.select("pd", "grade", "defaulted").rows()
        ]
    assert found == [tuple(row) for row in expected]
    assert {model for model, *_ in found} == {"blend", "logistic"}


# ── Tables in one order, and in another ─────────────────────────────────────────────────────────

AT_RANDOM = """CREATE TEMP TABLE known AS FROM {table} WHERE month = '2005-04';
DELETE FROM {table} WHERE month = '2005-04';
INSERT INTO {table} FROM known ORDER BY hash(client_id)"""
WITHOUT_SOME = "DELETE FROM {table} WHERE month = '2005-04' AND client_id LIKE '%7'"


def assessed(con):
    """Truths and segments of the month, as values."""
    month = Month(2005, 4)
    segments, fairness = _segments(con, month, [10_000.0, 200_000.0])
    return [truth.rows() for *_, truth in truths(con, month)], segments.rows(), fairness.rows()


@pytest.mark.parametrize("realised", [True, False])
def test_clients_side_by_side_are_those_that_a_join_finds(two_sets, realised):
    if realised:
        two_sets.realise("2005-04")
    with two_sets.warehouse() as con:
        beside, joined = (pl.concat(way(con, Month(2005, 4))) for way in (_side_by_side, _joined))
    assert beside.select(joined.columns).sort(joined.columns).equals(joined.sort(joined.columns))
    assert beside["defaulted"].is_null().all() is not realised


@pytest.mark.parametrize("table", ["outcomes", "clients"])
def test_figures_do_not_depend_on_the_order_in_which_a_month_is_stored(two_sets, table):
    two_sets.realise("2005-04")
    with two_sets.warehouse() as con:
        before = assessed(con)
        con.execute(AT_RANDOM.format(table=table))
        with pytest.raises(_OtherOrder):
            list(_side_by_side(con, Month(2005, 4)))
        assert assessed(con) == before


@pytest.mark.parametrize("table", ["outcomes", "clients"])
def test_tables_of_fewer_clients_are_joined(two_sets, table):
    two_sets.realise("2005-04")
    with two_sets.warehouse() as con:
        con.execute(WITHOUT_SOME.format(table=table))
        with pytest.raises(_OtherOrder):
            list(_side_by_side(con, Month(2005, 4)))
        _, segments, _ = assessed(con)
        joined = pl.concat(_joined(con, Month(2005, 4)))
    assert sum(row[4] for row in segments) == 7 * joined.height
