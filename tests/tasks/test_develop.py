import hashlib
from dataclasses import replace

import polars as pl
import pytest

from creditflow.errors import TrainingDiverged
from creditflow.month import Month
from models.cost import Costs
from models.sample import allocate
from tasks.develop import Sampled, set_version, training_data
from tasks.ledger import digest, facts_now

CHECKS = ["AUC not inferior", "AUC not lower", "Brier", "calibration", "stability"]


def gate(office, month):
    rows = office.ask(f"SELECT name, passed FROM gate_checks WHERE month = '{month}' ORDER BY position")
    return dict(rows)


def champions(office):
    return office.ask("SELECT month, verdict, champion, version[:7] FROM decisions ORDER BY month")


def promotions(office):
    return office.ask(
        "SELECT month, action, model, version[:7], from_version[:7] FROM promotions ORDER BY month"
    )


def test_first_model_is_promoted_with_what_can_be_checked(office):
    developed = office.month("2005-02")
    assert developed.champion.model == "blend"
    assert gate(office, "2005-02") == dict.fromkeys(CHECKS[:3]) | {"calibration": True, "stability": True}
    assert promotions(office) == [("2005-02", "first", "blend", "2005-02", None)]
    assert "nothing to hold it against: no champion" in developed.reason
    assert developed.rows == office.ask("SELECT count(*) FROM outcomes WHERE month = '2005-01'")[0][0]


def test_better_set_takes_over_through_the_gate(office, stand_in):
    office.month("2005-02")
    office.month("2005-03")
    office.sets["2005-04"] = [stand_in("logistic", 0.5), stand_in("blend", 0.1)]
    developed = office.month("2005-04")
    assert developed.champion.version.startswith("2005-04-")
    assert set(gate(office, "2005-04").values()) == {True}
    assert promotions(office)[-1] == ("2005-04", "gate", "blend", "2005-04", "2005-02")
    assert "passed the gate" in office.ask("SELECT reason FROM decisions WHERE month = '2005-04'")[0][0]
    columns = "sample_month, clients BETWEEN 400 AND 600, defaulters > 50, champion, champion_version[:7]"
    sample = office.ask(f"SELECT DISTINCT {columns} FROM gate_checks WHERE month = '2005-04'")
    assert sample == [("2005-03", True, True, "blend", "2005-02")]  # a fifth of the month's clients


def test_worse_set_is_refused_stays_registered_and_the_champion_scores(office, stand_in):
    champion = office.month("2005-02").champion
    office.month("2005-03")
    office.sets["2005-04"] = [stand_in("blend", 0.7), stand_in("logistic", 0.9)]
    developed = office.month("2005-04")
    assert (developed.verdict, developed.champion) == ("retrain", champion)
    assert champions(office)[-1] == ("2005-04", "retrain", "blend", "2005-02")
    assert gate(office, "2005-04")["AUC not lower"] is False
    assert len(promotions(office)) == 1
    assert office.ask("SELECT model FROM models WHERE month = '2005-04' ORDER BY 1") == [
        ("blend",),
        ("logistic",),
    ]
    assert office.ask(
        "SELECT count(*) FROM performance WHERE version LIKE '2005-04%' AND metric = 'roc_auc'"
    ) == [(2,)]
    assert "The gate kept the champion: AUC not inferior" in developed.reason


@pytest.mark.parametrize(
    ("better", "options", "failing"),
    [
        (0.1, {"gate_max_psi": 1e-6}, "stability"),
        (0.7, {"gate_margin_auc": 1.0}, "AUC not lower"),
        (0.7, {"gate_margin_brier": 0.0}, "Brier"),
    ],
)
def test_settings_of_the_gate_count(office, stand_in, better, options, failing):
    office.month("2005-02")
    office.options = replace(office.options, **options)
    office.sets["2005-04"] = [stand_in("blend", better)]
    assert office.month("2005-04").champion.version.startswith("2005-02-")
    assert gate(office, "2005-04")[failing] is False


def test_challenger_with_wrong_pds_is_refused_by_its_calibration(office, stand_in):
    office.month("2005-02")
    office.sets["2005-04"] = [stand_in("blend", 0.1, offset=0.2)]
    office.options = replace(office.options, gate_margin_brier=1.0)
    assert office.month("2005-04").champion.version.startswith("2005-02-")
    assert [name for name, passed in gate(office, "2005-04").items() if not passed] == ["calibration"]


def test_too_few_defaulters_keep_the_champion(office):
    office.month("2005-02")
    office.realise("2005-03", rate=0.02)
    developed = office.month("2005-04")
    assert developed.champion.version.startswith("2005-02-")
    assert gate(office, "2005-04") == dict.fromkeys(CHECKS[:4]) | {"stability": True}
    assert "50 of each class are needed" in developed.reason


def test_training_that_fails_keeps_the_champion_and_says_so(office, refused):
    champion = office.month("2005-02").champion
    office.sets["2005-04"] = refused
    developed = office.month("2005-04")
    assert (developed.verdict, developed.champion) == ("reuse", champion)
    assert "It failed: training data: expected 50 defaulters, found 3" in developed.reason
    assert office.ask("SELECT reason FROM decisions WHERE month = '2005-04'") == [(developed.reason,)]
    assert gate(office, "2005-04") == {}


def test_first_training_that_diverges_waits(office):
    office.sets["2005-02"] = TrainingDiverged(
        "vae", expected="a loss", found="NaN in epoch 3", remedy="Retrain."
    )
    developed = office.month("2005-02")
    assert (developed.verdict, developed.champion) == ("wait", None)
    assert "NaN in epoch 3" in developed.reason


def test_month_that_is_run_again_gives_the_same_rows(office):
    tables = ("models", "decisions", "retrain_rules", "gate_checks", "promotions", "performance")
    passing = "run_id, trained_at, decided_at, fit_seconds"

    def contents():
        with office.warehouse() as con:
            return {
                name: con.sql(f"FROM {name}")
                .pl()
                .drop(passing.split(", "), strict=False)
                .sort(pl.all().exclude(pl.List))
                for name in tables
            }

    for month in ("2005-02", "2005-03", "2005-04"):
        office.month(month)
    before = contents()
    for month in ("2005-02", "2005-04", "2005-04"):
        office.month(month)
    for name, frame in contents().items():
        assert frame.equals(before[name]), name


def test_corrected_outcomes_replace_what_the_month_said_before(office, stand_in):
    office.month("2005-02")
    office.sets["2005-04"] = [stand_in("blend", 0.1)]
    office.month("2005-04")
    office.realise("2005-03", rate=0.3)
    office.month("2005-04")
    assert [row[:2] for row in promotions(office)] == [("2005-02", "first")]
    assert office.ask("SELECT count(DISTINCT version) FROM gate_checks WHERE month = '2005-04'") == [(1,)]
    assert office.ask("SELECT count(DISTINCT version) FROM models WHERE month = '2005-04'") == [(2,)]


def test_settings_reach_the_training_and_the_version(office):
    office.options = replace(office.options, attributes="all", cost_missed_default=9)
    office.month("2005-02")
    assert office.given == {"attributes": "all", "costs": Costs(9, 1)}
    run = office.run("2005-02")
    versions = {
        set_version(replace(run, options=replace(run.options, **change)), data)
        for change in ({}, {"seed": 7}, {"attributes": "unprotected"}, {"cost_refused_good": 2})
        for data in ("one", "two")
    }
    assert len(versions) == 8
    assert all(version.startswith("2005-02-") for version in versions)


def test_row_of_a_model_says_how_it_was_calibrated_and_where_it_cuts(office):
    office.month("2005-02")
    row = office.ask("SELECT attributes, calibrator, cut_off FROM models WHERE model = 'blend'")
    assert row == [("unprotected", "none", 0.25)]


def test_fingerprint_follows_a_choice_and_what_came_before(office):
    for month in ("2005-02", "2005-03"):
        office.month(month)
        (office.home.inbox / f"clients_{month}.csv").write_text("ID\n")
    (office.home.inbox / "clients_2005-04.csv").write_text("ID\n")

    def marks():
        months = (Month(2005, number) for number in (2, 3, 4))
        return [digest(facts_now(office.home, month, office.options)) for month in months]

    before = marks()
    assert marks() == before
    office.ask(
        "INSERT INTO promotions "
        "SELECT 'p', '2005-03', 'promote', 'logistic', version, NULL, NULL, 'why', 'ada', "
        "now()::TIMESTAMP, NULL FROM decisions WHERE month = '2005-03'"
    )
    assert [a == b for a, b in zip(before, marks(), strict=True)] == [True, False, False]


# ── The sample ──────────────────────────────────────────────────────────────────────────────────

MONTHS = [Month(2005, number) for number in (1, 2, 3)]


def drawn(office, most, seed=42):
    """The training data under a limit."""
    office.options = replace(office.options, training_max_rows=most, seed=seed)
    return training_data(office.run("2005-04"), MONTHS)


def lot(month, client, seed=42):
    """The lower half of the MD5 sum, as DuckDB's md5_number_lower reads it."""
    return int.from_bytes(hashlib.md5(f"{seed}|{month}|{client}".encode()).digest()[8:], "little")


def by_definition(office, most):
    """(month, client) of the sample, from every row of the pool: its stratum's share by the smallest lots."""
    pool = office.ask("SELECT month, defaulted, client_id FROM outcomes")
    strata = {}
    for month, defaulted, client in sorted(pool):
        strata.setdefault((month, defaulted), []).append((lot(month, client), client))
    given = allocate({key: len(rows) for key, rows in strata.items()}, most)
    return sorted(
        (key[0], client) for key, rows in strata.items() for _, client in sorted(rows)[: given[key]]
    )


@pytest.mark.parametrize("most", [1_000, 2_501, 7_499])
def test_sample_is_each_stratums_share_by_the_smallest_lots(office, most):
    data, strata = drawn(office, most)
    assert data.select("month", "client_id").rows() == by_definition(office, most)
    counted = data.group_by("month", "defaulted").len().sort("month", "defaulted")
    assert counted.rows() == [(s.month, s.defaulted, s.sample) for s in strata]
    assert [(s.month, s.defaulted, s.pool) for s in strata] == office.ask(
        "SELECT month, defaulted, count(*) FROM outcomes GROUP BY ALL ORDER BY ALL"
    )


def test_pool_within_the_limit_is_taken_whole(office):
    data, strata = drawn(office, 7_500)
    with office.warehouse() as con:
        whole = con.sql(
            "SELECT c.* EXCLUDE (row_number, file_sha256), o.defaulted FROM clients AS c "
            "JOIN outcomes AS o USING (month, client_id) ORDER BY month, client_id"
        ).pl()
    assert data.equals(whole)
    assert all(s.pool == s.sample for s in strata)


def test_sample_depends_on_neither_order_nor_threads(office):
    before, _ = drawn(office, 2_000)
    with office.warehouse() as con:
        for table in ("clients", "outcomes"):
            con.execute(f"CREATE TEMP TABLE held AS FROM {table} ORDER BY hash(client_id || 'x')")
            con.execute(f"DELETE FROM {table}; INSERT INTO {table} FROM held; DROP TABLE held")
    assert drawn(office, 2_000)[0].equals(before)
    assert not drawn(office, 2_000, seed=1)[0].equals(before)


def test_larger_sample_holds_the_smaller_one(office):
    small, large = (
        set(drawn(office, most)[0].select("month", "client_id").rows()) for most in (1_000, 4_000)
    )
    assert small < large


def test_month_in_which_nobody_defaulted(office):
    office.realise("2005-02", rate=0.0)
    data, strata = drawn(office, 1_000)
    assert [s for s in strata if s.month == "2005-02"] == [Sampled("2005-02", 0, 2_500, 333)]
    assert data.filter(month="2005-02")["defaulted"].sum() == 0
    assert data.height == 1_000


def test_month_without_outcomes_gives_nothing(office):
    office.ask("DELETE FROM outcomes WHERE month = '2005-02'")
    data, strata = drawn(office, 1_000)
    assert {s.month for s in strata} == {"2005-01", "2005-03"}
    assert data.height == 1_000


def test_artifacts_tell_pool_and_sample_by_month_and_outcome(office):
    office.month("2005-02")
    ((_, told),) = [(key, facts["sample"]) for key, facts in office.facts.items() if key[1] == "blend"]
    assert (told["max_rows"], told["pool"], told["learning_curve"]) == (200_000, 2_500, None)
    assert sum(stratum["sample"] for stratum in told["strata"]) == 2_500


def test_cut_sample_tells_what_it_costs(office):
    office.options = replace(office.options, training_max_rows=1_500)
    assert office.month("2005-02").rows == 1_500
    told = [facts["sample"] for facts in office.facts.values()]
    assert told[0] == told[1]
    assert (told[0]["pool"], sum(s["sample"] for s in told[0]["strata"])) == (2_500, 1_500)
    assert [step["fit_rows"] for step in told[0]["learning_curve"]] == [225, 450, 900]
    assert told[0]["auc_loss_at_most"] >= 0
