import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.errors import SuiteInvalid
from expectations.alerting import DEFAULT, NUMBERS, load_alert_rules

RULE = '[score_drift]\nseverity = "critical"\nthreshold = 0.25\nmeaning = "It moved."\nremedy = "Look."\n'


@pytest.fixture
def load(tmp_path):
    def read(text):
        path = tmp_path / "rules.toml"
        path.write_text(text)
        return load_alert_rules(path)

    return read


def test_shipped_file_has_every_rule_with_the_thresholds_that_the_field_uses():
    rules = {rule.rule: rule for rule in load_alert_rules()}
    assert rules.keys() == NUMBERS.keys()
    assert (rules["score_drift"].severity, rules["score_drift"].threshold) == ("critical", 0.25)
    assert (rules["attribute_drift"].severity, rules["attribute_drift"].threshold) == ("warning", 0.25)
    assert rules["calibration"].significance == 0.01
    assert rules["run_failed"].severity == rules["overdue_file"].severity == "critical"
    assert [rule.position for rule in rules.values()] == list(range(1, len(NUMBERS) + 1))


def test_every_field_of_the_file_is_explained_in_its_head():
    head = DEFAULT.read_text().split("\n[")[0]
    assert all(name in head for name in ("severity", "threshold", "meaning", "remedy", "enabled", "not run"))


def test_rule_left_out_or_disabled_is_not_evaluated_and_the_others_keep_their_place(load):
    off = RULE + "enabled = false\n"
    on = '[run_failed]\nseverity = "info"\nmeaning = "It\nbroke."\nremedy = "Mend."\n'.replace("It\n", "It ")
    assert [(rule.rule, rule.position) for rule in load(off + on)] == [("run_failed", 2)]
    assert load(RULE + "enabled = true\n")[0].threshold == 0.25


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("score drift", "TOML"),
        (RULE + RULE, "TOML"),
        (RULE.replace("score_drift", "score_drft"), "'score_drft'"),
        ("score_drift = 3\n", "as a table"),
        (RULE.replace("critical", "severe"), "'severe'"),
        (RULE.replace("0.25", '"0.25"'), "threshold to be a number"),
        (RULE.replace("0.25", "true"), "threshold to be a number"),
        (RULE.replace("0.25", "nan"), "threshold to be a number"),
        (RULE.replace("0.25", "-0.1"), "of at least 0"),
        (RULE.replace("threshold = 0.25\n", ""), "no 'threshold'"),
        (RULE.replace("threshold", "treshold"), "'treshold', no 'threshold'"),
        (RULE + "enabled = 1\n", "true or false"),
        (RULE.replace('"It moved."', '" "'), "meaning to be a sentence"),
        (RULE.replace("score_drift", "quarantine_share").replace("0.25", "1.5"), "from 0 to 1"),
        (RULE.replace("score_drift", "calibration"), "no 'significance'"),
        (RULE.replace("score_drift", "calibration") + "significance = 0\n", "significance to be a number"),
        (RULE.replace("score_drift", "gate_refused"), "'threshold'"),
    ],
)
def test_mistake_is_named_with_file_rule_and_key(load, text, words):
    with pytest.raises(SuiteInvalid, match=re.escape(words)) as raised:
        load(text)
    assert "rules.toml" in str(raised.value)
    assert raised.value.exit_code == 2


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SuiteInvalid, match=re.escape("absent.toml")):
        load_alert_rules(tmp_path / "absent.toml")


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_threshold_is_taken_as_it_is_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    number = {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(str(value), repr(value))
    path.write_text(RULE.replace("0.25", number))
    if 0 <= value < float("inf"):
        assert load_alert_rules(path)[0].threshold == value
    else:
        with pytest.raises(SuiteInvalid):
            load_alert_rules(path)
