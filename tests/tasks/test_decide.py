import pytest

from creditflow.month import Month
from tasks.decide import Champion, Known, retrain_rule

M = Month.parse
CHAMPION = Champion("logistic", "2005-05-abc", M("2005-05"))


@pytest.mark.parametrize(
    ("month", "champion", "outcomes", "own_label", "asked", "verdict", "rule", "learns_from"),
    [
        # no champion
        ("2005-04", None, [], False, False, "wait", "no champion", []),
        ("2005-04", None, [], False, True, "wait", "no champion", []),
        ("2005-04", None, [], True, False, "retrain", "no champion", ["2005-04"]),
        ("2005-05", None, ["2005-04"], False, False, "retrain", "no champion", ["2005-04"]),
        # outcomes of earlier months outrank the month's own label: the scores are then not in-sample
        ("2005-05", None, ["2005-04"], True, False, "retrain", "no champion", ["2005-04"]),
        # a champion in force
        ("2005-06", CHAMPION, ["2005-04", "2005-05"], False, False, "reuse", "age", []),
        (
            "2005-06",
            CHAMPION,
            ["2005-04", "2005-05"],
            True,
            True,
            "retrain",
            "asked for",
            ["2005-04", "2005-05"],
        ),
        ("2005-06", CHAMPION, [], True, True, "reuse", "asked for", []),
        ("2005-07", CHAMPION, ["2005-04", "2005-05"], False, False, "retrain", "age", ["2005-04", "2005-05"]),
        ("2005-09", CHAMPION, [], False, False, "reuse", "age", []),
        # the window: the newest three months only
        (
            "2005-09",
            CHAMPION,
            [f"2005-0{n}" for n in (4, 5, 6, 7, 8)],
            False,
            False,
            "retrain",
            "age",
            ["2005-06", "2005-07", "2005-08"],
        ),
    ],
)
def test_rule(month, champion, outcomes, own_label, asked, verdict, rule, learns_from):
    known = Known(champion, tuple(map(M, outcomes)), own_label, asked)
    decision = retrain_rule(M(month), known, max_age=2, window=3)
    assert (decision.verdict, decision.rule) == (verdict, rule)
    assert decision.training_months == tuple(map(M, learns_from))
    assert decision.champion is champion
    assert decision.reason.endswith(".")
    assert decision.value
    assert decision.threshold


def test_a_month_is_never_learned_from_while_an_earlier_one_can_be():
    known = Known(None, (M("2005-04"),), True, True)
    assert M("2005-05") not in retrain_rule(M("2005-05"), known, 1, 99).training_months
