from dataclasses import replace

import pytest

from creditflow.errors import ArtifactCorrupt, ArtifactOutdated
from creditflow.month import Month
from tasks.decide import Champion, Finding, Known, decide, retrain_rule
from tasks.options import Options

M = Month.parse
CHAMPION = Champion("blend", "2005-05-abc", M("2005-05"))
OPTIONS = Options(max_model_age_months=4, training_window_months=3, max_drift_psi=0.25, max_auc_decay=0.05)
RULES = [
    "nothing to learn from",
    "a person's choice",
    "asked for",
    "no champion",
    "champion unusable",
    "revised",
    "age",
    "drift",
    "decay",
]
QUIET = Known(
    champion=CHAMPION,
    earlier_outcomes=(M("2005-03"), M("2005-04"), M("2005-05"), M("2005-06")),
    own_label=False,
    asked=False,
    learned_until=M("2005-04"),
    drift=Finding(0.02, M("2005-06"), ""),
    decay=Finding(0.01, M("2005-05"), ""),
)
NO_CHAMPION = {"champion": None, "learned_until": None, "drift": Finding(), "decay": Finding()}
DRIFTED = {"drift": Finding(0.26, M("2005-06"), "")}
DECAYED = {"decay": Finding(0.06, M("2005-05"), "")}
OLD = {"champion": Champion("blend", "2005-03-abc", M("2005-03"))}
NO_NEWS = {"learned_until": M("2005-06")}
REVISED = {"revised": ("2005-03",)}
UNUSABLE = {"unusable": "format 1"}
CHOSEN = {"chosen": "it reads better"}
NOTHING = {"earlier_outcomes": ()}
WINDOW = ["2005-04", "2005-05", "2005-06"]


@pytest.mark.parametrize(
    ("known", "verdict", "rule", "learns_from"),
    [
        ({}, "reuse", "age", []),
        # one rule alone
        ({"asked": True}, "retrain", "asked for", WINDOW),
        (NO_CHAMPION, "retrain", "no champion", WINDOW),
        (UNUSABLE, "retrain", "champion unusable", WINDOW),
        (REVISED, "retrain", "revised", WINDOW),
        (OLD, "retrain", "age", WINDOW),
        (DRIFTED, "retrain", "drift", WINDOW),
        (DECAYED, "retrain", "decay", WINDOW),
        (CHOSEN, "reuse", "a person's choice", []),
        (NOTHING, "reuse", "nothing to learn from", []),
        # precedence
        (NOTHING | CHOSEN | {"asked": True} | OLD | DRIFTED | DECAYED, "reuse", "nothing to learn from", []),
        (CHOSEN | {"asked": True} | OLD | DRIFTED | DECAYED, "reuse", "a person's choice", []),
        ({"asked": True} | OLD | DRIFTED | DECAYED, "retrain", "asked for", WINDOW),
        (UNUSABLE | REVISED, "retrain", "champion unusable", WINDOW),
        (REVISED | OLD | DRIFTED, "retrain", "revised", WINDOW),
        (CHOSEN | REVISED, "reuse", "a person's choice", []),
        (UNUSABLE | OLD, "retrain", "champion unusable", WINDOW),
        (OLD | DRIFTED | DECAYED, "retrain", "age", WINDOW),
        (DRIFTED | DECAYED, "retrain", "drift", WINDOW),
        # a choice that cannot be used is no choice
        (CHOSEN | UNUSABLE, "retrain", "champion unusable", WINDOW),
        # nothing new to learn from: only a wish or a need leads to a retraining
        (OLD | NO_NEWS, "reuse", "age", []),
        (DRIFTED | NO_NEWS, "reuse", "drift", []),
        (DECAYED | NO_NEWS, "reuse", "decay", []),
        ({"asked": True} | NO_NEWS, "retrain", "asked for", WINDOW),
        (UNUSABLE | NO_NEWS, "retrain", "champion unusable", WINDOW),
        (REVISED | NO_NEWS, "retrain", "revised", WINDOW),
        # figures at their limits are within them
        ({"drift": Finding(0.25, M("2005-06"), "")}, "reuse", "age", []),
        ({"decay": Finding(0.05, M("2005-05"), "")}, "reuse", "age", []),
        # figures that could not be had
        ({"drift": Finding(reason="none."), "decay": Finding(reason="none.")}, "reuse", "age", []),
        # the month's own label
        (NO_CHAMPION | NOTHING | {"own_label": True}, "retrain", "no champion", ["2005-07"]),
        (NO_CHAMPION | NOTHING, "wait", "nothing to learn from", []),
        (NO_CHAMPION | NOTHING | {"asked": True}, "wait", "nothing to learn from", []),
        (NOTHING | {"own_label": True, "asked": True}, "reuse", "nothing to learn from", []),
        (NOTHING | {"own_label": True} | UNUSABLE, "retrain", "champion unusable", ["2005-07"]),
    ],
)
def test_rule(known, verdict, rule, learns_from):
    decision = retrain_rule(M("2005-07"), replace(QUIET, **known), OPTIONS)
    assert (decision.verdict, decision.rule) == (verdict, rule)
    assert decision.training_months == tuple(map(M, learns_from))
    assert decision.champion is replace(QUIET, **known).champion
    assert [rule.rule for rule in decision.rules] == RULES
    for text in [decision, *decision.rules]:
        assert text.reason.endswith(".")
        assert text.value
        assert text.threshold
    if decision.verdict == "reuse" and rule == "age" and known not in (OLD | NO_NEWS,):
        assert not any(rule.met for rule in decision.rules)
    else:
        assert next(r.rule for r in decision.rules if r.met) == rule


def test_every_rule_is_written_down_whichever_decides():
    decision = retrain_rule(M("2005-07"), replace(QUIET, asked=True, **DRIFTED), OPTIONS)
    assert {rule.rule: rule.met for rule in decision.rules} == dict.fromkeys(RULES, False) | {
        "asked for": True,
        "drift": True,
    }


def test_rules_that_could_not_be_evaluated_say_so():
    decision = retrain_rule(M("2005-07"), replace(QUIET, **NO_CHAMPION), OPTIONS)
    unknown = {rule.rule for rule in decision.rules if rule.met is None}
    assert unknown == {"champion unusable", "revised", "age", "drift", "decay"}


def test_values_and_limits_stand_in_the_reason():
    decision = retrain_rule(M("2005-07"), replace(QUIET, **DECAYED), OPTIONS)
    assert (decision.value, decision.threshold) == ("0.060", "0.05")
    assert (
        decision.reason == "Its ROC AUC in 2005-05 lies 0.060 below the held-out one, more than 0.05 below."
    )


def test_no_news_is_said():
    decision = retrain_rule(M("2005-07"), replace(QUIET, **OLD, **NO_NEWS), OPTIONS)
    assert next(rule for rule in decision.rules if rule.rule == "age").met
    assert "nothing new to learn from: no outcomes have come since 2005-06" in decision.reason


def test_champion_that_nothing_can_replace_yet_is_named_with_what_is_wrong():
    decision = retrain_rule(M("2005-07"), replace(QUIET, **NOTHING, **UNUSABLE), OPTIONS)
    assert (decision.verdict, decision.rule) == ("reuse", "nothing to learn from")
    assert "blend@2005-05-abc stays in force, although it should not be used: format 1" in decision.reason


def test_wish_for_a_retraining_beside_a_choice_is_answered():
    decision = retrain_rule(M("2005-07"), replace(QUIET, asked=True, **CHOSEN), OPTIONS)
    assert "it reads better. A retraining was asked for too" in decision.reason


def test_a_month_is_never_learned_from_while_an_earlier_one_can_be():
    known = replace(QUIET, **NO_CHAMPION, earlier_outcomes=(M("2005-04"),), own_label=True, asked=True)
    assert M("2005-05") not in retrain_rule(M("2005-05"), known, OPTIONS).training_months


# ── What is known, on data ──────────────────────────────────────────────────────────────────────


def rules(office, month):
    """Value and verdict of each rule as stored."""
    rows = office.ask(
        f"SELECT rule, value, met, reason FROM retrain_rules WHERE month = '{month}' ORDER BY position"
    )
    assert [row[0] for row in rows] == RULES
    return {rule: (value, met, reason) for rule, value, met, reason in rows}


def test_months_of_a_quiet_portfolio(office):
    verdicts = [office.month(f"2005-0{n}").verdict for n in (1, 2, 3, 4)]
    assert verdicts == ["wait", "retrain", "reuse", "retrain"]
    assert office.ask("SELECT rule FROM decisions ORDER BY month") == [
        ("nothing to learn from",),
        ("no champion",),
        ("age",),
        ("age",),
    ]
    third, fourth = rules(office, "2005-03"), rules(office, "2005-04")
    assert third["age"][:2] == ("1 month", False)
    assert float(third["drift"][0]) < 0.05
    assert third["decay"][1] is False  # 2005-02 was scored live, and its outcomes are known
    assert fourth["age"][:2] == ("2 months", True)


def test_drift_of_the_newest_live_month_leads_to_a_retraining(office):
    office.load("2005-02", seed=2, shift=0.3)
    office.realise("2005-02")
    office.month("2005-02")
    developed = office.month("2005-03")
    assert developed.verdict == "retrain"
    value, met, reason = rules(office, "2005-03")["drift"]
    assert met
    assert float(value) > 0.25
    assert "2005-02" in reason


def test_decay_in_the_newest_month_with_outcomes_leads_to_a_retraining(office):
    office.month("2005-02")
    office.realise("2005-02", rate=0.25)  # outcomes that have nothing to do with the score
    assert office.month("2005-03").verdict == "retrain"
    value, met, _ = rules(office, "2005-03")["decay"]
    assert met
    assert float(value) > 0.05
    assert office.ask("SELECT rule FROM decisions WHERE month = '2005-03'") == [("decay",)]


def test_few_defaulters_are_no_decay(office):
    office.month("2005-02")
    office.realise("2005-02", rate=0.01)
    office.month("2005-03")
    value, met, reason = rules(office, "2005-03")["decay"]
    assert (value, met) == ("not evaluated", None)
    assert "50 of each class are needed" in reason


def test_few_held_out_defaulters_are_no_measure_of_decay(office):
    champion = office.month("2005-02").champion
    office.artifacts[champion.version, champion.model].facts.held_out_defaulters = 49
    office.month("2005-03")
    value, met, reason = rules(office, "2005-03")["decay"]
    assert (value, met) == ("not evaluated", None)
    assert "the held-out part has 49 defaulters" in reason


def test_in_sample_and_retrospective_scores_are_no_evidence(office):
    office.month("2005-02")
    office.ask("UPDATE scorings SET basis = 'retrospective'")
    office.month("2005-03")
    found = rules(office, "2005-03")
    assert found["drift"][1] is None
    assert found["decay"][1] is None
    assert "scored no earlier month live" in found["drift"][2]


def test_what_became_known_later_does_not_change_a_month_that_is_run_again(office):
    for number in (2, 3, 4):
        office.month(f"2005-0{number}")
    before = office.ask("SELECT * FROM retrain_rules WHERE month = '2005-03' ORDER BY position")
    decided = "SELECT * EXCLUDE (run_id, decided_at) FROM decisions ORDER BY month"
    decisions = office.ask(decided)
    office.load("2005-04", seed=4, shift=0.4)
    office.realise("2005-04", rate=0.5)
    for month in ("2005-03", "2005-03"):
        office.month(month)
    assert office.ask("SELECT * FROM retrain_rules WHERE month = '2005-03' ORDER BY position") == before
    assert office.ask(decided) == decisions


def test_figures_that_monitoring_stored_since_do_not_count(office):
    """They are written after the decision, so a second run would know what the first one did not."""
    office.month("2005-02")
    first = decide.fn(office.run("2005-03"), False)
    office.ask(
        "INSERT INTO performance "
        "SELECT '2005-02', champion, version, 'realised', 'live', 'roc_auc', 0.1, 9, 5, NULL "
        "FROM decisions WHERE month = '2005-02'"
    )
    office.ask(
        "INSERT INTO drift "
        "SELECT '2005-02', 'score', 'psi', 9.9, 'significant', 9, 9, champion, version, NULL "
        "FROM decisions WHERE month = '2005-02'"
    )
    assert decide.fn(office.run("2005-03"), False) == first


def test_nothing_new_since_a_refused_set_is_no_reason_to_develop_it_again(office, stand_in):
    office.month("2005-02")
    office.sets["2005-04"] = [stand_in("blend", 0.7)]
    assert "kept the champion" in office.month("2005-04").reason
    office.load("2005-05", seed=5)
    developed = office.month("2005-05")
    assert developed.verdict == "reuse"
    assert "nothing new to learn from" in developed.reason


def test_missing_artifact_is_replaced_by_a_new_set(office):
    champion = office.month("2005-02").champion
    office.lose(champion)
    developed = office.month("2005-03")
    assert developed.verdict == "retrain"
    assert developed.champion.version.startswith("2005-03-")
    assert rules(office, "2005-03")["champion unusable"][:2] == ("unusable", True)
    assert office.ask("SELECT action, from_version FROM promotions WHERE month = '2005-03'") == [
        ("replacement", champion.version)
    ]


@pytest.mark.parametrize(("error", "replaces"), [(ArtifactOutdated, True), (ArtifactCorrupt, False)])
def test_old_format_is_replaced_and_damage_is_an_error(office, monkeypatch, error, replaces):
    office.month("2005-02")

    def load(*given):
        raise error("manifest.json", expected="format 2", found="format 1", remedy="Retrain.")

    monkeypatch.setattr("models.artifacts.load", load)
    if replaces:
        assert "found format 1" in decide.fn(office.run("2005-03"), False).reason
    else:
        with pytest.raises(ArtifactCorrupt):
            decide.fn(office.run("2005-03"), False)


@pytest.mark.parametrize(
    ("policy", "setting", "verdict"),
    [("all", "unprotected", "retrain"), ("unprotected", "all", "reuse"), ("all", "all", "reuse")],
)
def test_champion_may_know_no_attribute_that_the_settings_leave_out(
    office, stand_in, policy, setting, verdict
):
    office.sets["2005-02"] = [stand_in("blend", 0.3, attributes=policy)]
    office.month("2005-02")
    office.options = replace(office.options, attributes=setting)
    assert decide.fn(office.run("2005-03"), False).verdict == verdict


def test_wish_stays_in_force_even_where_it_failed(office, refused):
    office.month("2005-02")
    office.sets["2005-03"] = refused
    assert office.month("2005-03", asked=True).verdict == "reuse"
    assert office.ask("SELECT rule, verdict FROM decisions WHERE month = '2005-03'") == [
        ("asked for", "reuse")
    ]
    assert decide.fn(office.run("2005-03"), False).verdict == "retrain"
    assert decide.fn(office.run("2005-04"), False).rule != "asked for"
