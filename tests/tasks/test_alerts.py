import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.month import Month
from expectations.alerting import AlertRule, load_alert_rules
from sql.warehouse import open_warehouse
from tasks.alerts import (
    Alert,
    Decided,
    Drift,
    Expectations,
    Facts,
    FileRows,
    Gate,
    Realised,
    _facts,
    _overdue,
    _store,
    alert_failed,
    alert_overdue,
    chance_limit,
    current_alerts,
    evaluate,
    z_of,
)
from tasks.home import Home
from tasks.options import Alerting
from tasks.schedule import Overdue
from tasks.stage import Run

MONTH, EARLIER = Month(2005, 4), Month(2005, 3)
RULES = {rule.rule: rule for rule in load_alert_rules()}
LATE = Overdue(EARLIER, datetime(2005, 4, 5, 6, tzinfo=UTC))
GOOD = Realised("2005-03", "blend", "v1", 0.78, 0.80, None, 1000, 200, 200.0, 150.0, 1000, 200)
GATE = Gate("vae_supervised", "v2", "blend", "v1", ["auc_not_worse"], ["stability"], False)


def found(name, **facts) -> Alert:
    return evaluate([RULES[name]], Facts(MONTH, **facts))[0]


def drift(statistic, **values):
    return {"drift": tuple(Drift(n, statistic, v, None if v else "empty") for n, v in values.items())}


# ── Every rule: raised, clear, not run ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "facts", "state", "value", "words"),
    [
        ("run_failed", {"failed": "ContentRefused"}, "raised", None, "ended with ContentRefused"),
        ("run_failed", {}, "clear", None, "came to its end"),
        ("score_drift", drift("psi", score=0.26), "raised", 0.26, "0.260, above 0.250"),
        ("score_drift", drift("psi", score=0.25), "clear", 0.25, "not above"),
        ("score_drift", drift("psi", score=None), "not run", None, "Empty."),
        ("score_drift", {}, "not run", None, "awaiting a first model"),
        ("attribute_drift", drift("csi", age=0.3, sex=0.1), "raised", 0.3, "1 of 2 attributes"),
        ("attribute_drift", drift("csi", age=0.3, sex=0.1), "raised", 0.3, "age 0.300"),
        ("attribute_drift", drift("csi", age=0.2, sex=None), "clear", 0.2, "largest CSI of 1"),
        ("attribute_drift", drift("csi", age=None), "not run", None, "Empty."),
        ("attribute_drift", {}, "not run", None, "not scored"),
        ("quarantine_share", {"files": (FileRows("clients", "2005-04", 100, 2),)}, "raised", 0.02, "2.00%"),
        ("quarantine_share", {"files": (FileRows("clients", "2005-04", 100, 1),)}, "clear", 0.01, "1.00%"),
        ("quarantine_share", {}, "not run", None, "no file of 2005-04"),
        ("failed_expectations", {"expectations": Expectations(24, 1, ["age"])}, "raised", 1, "failed: age"),
        ("failed_expectations", {"expectations": Expectations(24, 0, [])}, "clear", 0, "0 of 24"),
        ("failed_expectations", {"expectations": Expectations(0, 0, [])}, "not run", None, "was evaluated"),
        ("overdue_file", {"overdue": (LATE,)}, "raised", 1, "2005-03 (expected by 2005-04-05 06:00 UTC)"),
        ("overdue_file", {}, "clear", 0, "has come"),
        ("overdue_file", {"overdue": "asked for by hand"}, "not run", None, "Asked for by hand."),
        ("auc_decay", {"realised": replace(GOOD, auc=0.74)}, "raised", 0.06, "the fall is 0.0600, above"),
        ("auc_decay", {"realised": GOOD}, "clear", 0.02, "held out 0.8000"),
        ("auc_decay", {"realised": replace(GOOD, defaulters=49)}, "not run", None, "50 of each class"),
        ("auc_decay", {"realised": replace(GOOD, held_out_clients=None)}, "not run", None, "not on record"),
        (
            "auc_decay",
            {"realised": replace(GOOD, auc=None, reason="one class")},
            "not run",
            None,
            "One class.",
        ),
        ("auc_decay", {}, "not run", None, "no outcome is known"),
        (
            "calibration",
            {"realised": replace(GOOD, defaulters=260)},
            "raised",
            0.06,
            "26.00% against a mean PD",
        ),
        ("calibration", {"realised": replace(GOOD, expected=245.0)}, "raised", 0.045, "beyond ±2.58"),
        ("calibration", {"realised": replace(GOOD, defaulters=225)}, "clear", 0.025, "within ±2.58"),
        (
            "calibration",
            {"realised": replace(GOOD, variance=0.5, defaulters=215)},
            "clear",
            0.015,
            "beyond ±",
        ),
        ("calibration", {"realised": replace(GOOD, variance=0.0)}, "not run", None, "chance"),
        ("calibration", {}, "not run", None, "no outcome is known"),
        ("gate_refused", {"gate": GATE}, "raised", None, "vae_supervised v2 did not replace blend v1"),
        (
            "gate_refused",
            {"gate": GATE},
            "raised",
            None,
            "failed: auc not worse; could not be evaluated: stab",
        ),
        ("gate_refused", {"gate": replace(GATE, promoted=True)}, "clear", None, "promoted vae_supervised"),
        ("gate_refused", {}, "not run", None, "No challenger was judged"),
        ("training_failed", {"decided": Decided("reuse", True, False, "")}, "raised", None, "failed"),
        ("training_failed", {"decided": Decided("retrain", False, None, "")}, "clear", None, "carried out"),
        (
            "training_failed",
            {"decided": Decided("reuse", False, False, "")},
            "not run",
            None,
            "no retraining",
        ),
        ("training_failed", {}, "not run", None, "no decision"),
        (
            "champion_unusable",
            {"decided": Decided("retrain", False, True, "")},
            "raised",
            None,
            "not be used",
        ),
        (
            "champion_unusable",
            {"decided": Decided("reuse", False, False, "")},
            "clear",
            None,
            "could be used",
        ),
        ("champion_unusable", {"decided": Decided("wait", False, None, "")}, "not run", None, "no champion"),
        ("stale_months", {"stale": {EARLIER: "revised"}}, "raised", 1, "1 earlier month is stale: 2005-03"),
        ("stale_months", {"stale": {EARLIER.plus(-n): "" for n in range(8)}}, "raised", 8, "and 2 more"),
        ("stale_months", {}, "clear", 0, "No earlier month"),
        ("stale_months", {"stale": "nobody looked"}, "not run", None, "Nobody looked."),
    ],
)
def test_rule(rule, facts, state, value, words):
    alert = found(rule, **facts)
    assert (alert.state, alert.severity) == (state, RULES[rule].severity)
    assert alert.value == (None if value is None else pytest.approx(value))
    assert words.lower() in alert.message.lower()
    assert (RULES[rule].meaning in alert.message) == (state == "raised")
    assert alert.remedy == RULES[rule].remedy


def test_every_rule_of_the_file_has_all_three_states_in_the_table_above():
    table = test_rule.pytestmark[0].args[1]
    states = {name: {state for rule, _, state, *_ in table if rule == name} for name in RULES}
    states["run_failed"].add("not run")  # whoever asks has a run
    assert all(found == {"raised", "clear", "not run"} for found in states.values())


def test_value_belongs_to_the_month_whose_outcomes_came():
    assert found("auc_decay", realised=GOOD).about_month == EARLIER
    assert found("calibration", realised=GOOD).about_month == EARLIER
    assert found("overdue_file", overdue=(LATE,)).about_month == EARLIER
    files = (FileRows("clients", "2005-04", 100, 0), FileRows("outcomes", "2005-03", 100, 30))
    assert found("quarantine_share", files=files).about_month == EARLIER


@given(value=st.floats(0, 10, allow_nan=False), threshold=st.floats(0, 10, allow_nan=False))
@pytest.mark.parametrize("rule", ["score_drift", "attribute_drift", "auc_decay", "quarantine_share"])
def test_rule_is_raised_exactly_where_the_value_lies_beyond_its_threshold(rule, value, threshold):
    received = 1_000_000
    share = FileRows("clients", "2005-04", received, int(value * received / 10))
    facts = {
        "score_drift": drift("psi", score=value or None),
        "attribute_drift": drift("csi", age=value or None),
        "auc_decay": {"realised": replace(GOOD, auc=0.0, auc_held_out=value)},
        "quarantine_share": {"files": (share,)},
    }[rule]
    held = replace(RULES[rule], threshold=threshold)
    alert = evaluate([held], Facts(MONTH, **facts))[0]
    if alert.state == "not run":
        assert value == 0
    else:
        assert (alert.state == "raised") == (alert.value > threshold)
        assert alert.threshold == threshold


@given(st.integers(1, 5000), st.floats(0.01, 0.99), st.floats(0.0001, 0.4))
def test_calibration_is_raised_only_beyond_tolerance_and_beyond_chance(defaulters, mean, significance):
    clients = 5000
    realised = replace(
        GOOD,
        clients=clients,
        defaulters=defaulters,
        expected=clients * mean,
        variance=clients * mean * (1 - mean),
    )
    rule = replace(RULES["calibration"], significance=significance)
    alert = evaluate([rule], Facts(MONTH, realised=realised))[0]
    beyond = abs(defaulters / clients - mean) > rule.limit and abs(z_of(realised)) > chance_limit(
        significance
    )
    assert (alert.state == "raised") == beyond


@pytest.mark.parametrize(("significance", "limit"), [(0.05, 1.959964), (0.01, 2.575829), (0.001, 3.290527)])
def test_limit_of_chance_is_the_normal_quantile(significance, limit):
    """Values of any table of the normal distribution."""
    assert math.isclose(chance_limit(significance), limit, abs_tol=1e-6)


# ── Facts from the warehouse ────────────────────────────────────────────────────────────────────


def facts_of(office, month):
    with office.warehouse() as con:
        return _facts(con, Month.parse(month))


def test_training_that_failed_is_seen_in_the_decision(office, refused):
    office.sets["2005-02"] = refused
    office.month("2005-02", scored=False)
    decided = facts_of(office, "2005-02").decided
    assert (decided.verdict, decided.failed) == ("wait", True)


def test_gate_of_a_refused_and_of_a_promoted_challenger(two_sets, stand_in):
    assert facts_of(two_sets, "2005-04").gate.promoted
    assert facts_of(two_sets, "2005-03").gate is None
    two_sets.load("2005-05", seed=5)
    two_sets.realise("2005-04")
    two_sets.sets["2005-05"] = [stand_in("logistic", 0.99), stand_in("blend", 0.95)]
    two_sets.month("2005-05", asked=True)
    gate = facts_of(two_sets, "2005-05").gate
    assert (gate.promoted, gate.champion) == (False, "blend")
    assert gate.failed


def test_lost_champion_is_seen_in_the_rules(office):
    office.lose(office.month("2005-02").champion)
    office.month("2005-03", scored=False)
    assert facts_of(office, "2005-03").decided.unusable


def measured(office, month, champion, *, auc=0.7, sample="realised", basis="live"):
    with office.warehouse() as con:
        con.execute(
            "INSERT INTO performance VALUES (?, ?, ?, ?, ?, 'roc_auc', ?, 100, 60, NULL)",
            [month, champion.model, champion.version, sample, basis, auc],
        )


def test_realised_month_is_the_newest_before_the_run_that_its_champion_scored_live(office):
    office.month("2005-02")
    for month in ("2005-03", "2005-04"):
        measured(office, month, office.month(month).champion)
    office.realise("2005-04")
    known = facts_of(office, "2005-04").realised
    assert known.month == "2005-03"
    assert known.clients == 2500
    truth = "SELECT count(*), sum(defaulted), sum(pd), sum(pd * (1 - pd)) FROM scores JOIN outcomes "
    expected = office.ask(truth + "USING (month, client_id) WHERE month = '2005-03'")[0]
    assert (known.clients, known.defaulters, known.expected, known.variance) == pytest.approx(
        tuple(map(float, expected))
    )
    assert facts_of(office, "2005-05").realised.month == "2005-04"
    assert facts_of(office, "2005-03").realised is None


@pytest.mark.parametrize(
    ("command", "reason"),
    [("run", "the run was asked for by hand"), ("backfill", "a backfill was asked for")],
)
def test_overdue_files_are_looked_for_by_the_schedule_alone(tmp_path, command, reason):
    run = Run("r", MONTH, Home(tmp_path), "code", command=command)
    assert _overdue(run) == reason
    assert _overdue(replace(run, command="schedule")) == "no schedule is set"


# ── Keeping ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


def alerts_of(**states):
    return [
        Alert(rule, "warning", state, MONTH, 0.5, 0.25, f"About {rule}.", "Look.", position)
        for position, (rule, state) in enumerate(states.items(), start=1)
    ]


def states(home, month=None):
    return {(str(s.month), s.alert.rule): s.alert.state for s in current_alerts(home, month)}


def test_what_is_stored_is_read_back_whole(home):
    kept = alerts_of(score_drift="raised", auc_decay="not run")
    _store(home, "r1", MONTH, kept)
    _store(home, "r1", MONTH, kept)  # a stage that is tried again
    read = current_alerts(home)
    assert [stored.alert for stored in read] == kept
    assert {(stored.run_id, stored.month, stored.told) for stored in read} == {("r1", MONTH, None)}
    with open_warehouse(home.warehouse) as con:
        assert con.execute("SELECT count(*) FROM alerts").fetchall() == [(2,)]


def test_newest_run_of_each_month_counts_and_history_stays(home):
    _store(home, "r1", MONTH, alerts_of(score_drift="raised", auc_decay="raised"))
    _store(home, "r2", MONTH, alerts_of(score_drift="clear"))  # without the rule auc_decay
    _store(home, "r0", EARLIER, alerts_of(score_drift="raised"))
    assert states(home) == {("2005-04", "score_drift"): "clear", ("2005-03", "score_drift"): "raised"}
    assert states(home, MONTH) == {("2005-04", "score_drift"): "clear"}
    with open_warehouse(home.warehouse) as con:
        assert con.execute("SELECT count(*) FROM alerts").fetchall() == [(4,)]


def test_refused_run_adds_its_alert_until_a_run_of_the_month_ends_well(home):
    _store(home, "r1", MONTH, alerts_of(run_failed="clear", score_drift="raised"))
    alerted = alert_failed(Run("r2", MONTH, home, "code"), ValueError("client 4711 has limit -5"))
    assert [alert.rule for alert in alerted.critical] == ["run_failed"]
    assert "4711" not in alerted.raised[0].message
    assert set(states(home).values()) == {"raised"}
    _store(home, "r3", MONTH, alerts_of(run_failed="clear", score_drift="clear"))
    assert set(states(home).values()) == {"clear"}


def test_overdue_file_is_raised_under_its_own_month_until_that_month_is_run(home):
    alert_overdue(home, Alerting(), [LATE])
    assert states(home) == {("2005-03", "overdue_file"): "raised"}
    _store(home, "r1", EARLIER, alerts_of(overdue_file="clear"))
    assert states(home) == {("2005-03", "overdue_file"): "clear"}


def test_home_without_a_run_has_no_alerts(tmp_path):
    assert current_alerts(Home(tmp_path)) == []


def test_rules_of_another_file_are_the_ones_evaluated(home, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[score_drift]\nseverity = "info"\nthreshold = 0.1\nmeaning = "M."\nremedy = "R."\n')
    assert alert_failed(Run("r", MONTH, home, "code", alerting=Alerting(rules=path)), OSError()).alerts == ()
    own = AlertRule(1, "score_drift", "info", "M.", "R.", 0.1)
    assert load_alert_rules(path) == [own]
