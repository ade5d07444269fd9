"""The month in words."""

from dataclasses import replace
from datetime import datetime

import pytest

from tasks.reports.gather import AlertFact, GateCheck, MonthRow, Promotion
from tasks.reports.verdict import band, gate_verdict, verdict

ROW = MonthRow(
    month="2005-09",
    received=1003,
    accepted=1000,
    quarantined=3,
    champion="logistic",
    version="v1",
    basis="live",
    scored=1000,
    mean_pd=0.22,
    outcomes=1000,
    defaulters=210,
    default_rate=0.21,
    auc_held_out=0.77,
    auc_estimated=0.765,
    auc_realised=0.76,
    psi=0.05,
    psi_band="stable",
    psi_reason=None,
    csi_known=23,
    moved=[],
    checks=10,
    checks_failed=0,
    checks_noted=2,
    checks_not_run=1,
    run_status="done",
    run_message=None,
    by_hand=[],
)


@pytest.mark.parametrize(
    ("change", "tone", "words"),
    [
        ({}, "good", "nothing calls for attention"),
        (
            {"by_hand": ["Rolled back to logistic v0 by me (it failed)."]},
            "watch",
            "Rolled back to logistic v0",
        ),
        ({"psi": 0.1}, "watch", "between 0.10 and 0.25"),
        ({"psi": 0.25}, "alarm", "0.25 or more"),
        ({"moved": ["age"]}, "alarm", "1 of 23 attributes have a CSI of 0.25 or more: age."),
        ({"moved": list("abcdefgh")}, "alarm", "a, b, c, d, e, f …"),
        (
            {"checks_failed": 1},
            "watch",
            "6 passed, 1 failed, 2 for information found something to report, 1 not run",
        ),
        (
            {"outcomes": None},
            "good",
            "Outcomes for 2005-09 not yet received; ROC AUC 0.7650 estimated from the PDs.",
        ),
        ({"outcomes": None, "auc_estimated": None}, "good", "Outcomes for 2005-09 not yet received."),
        ({"psi": None, "psi_reason": "10 clients only"}, "good", "not computed: 10 clients only"),
        ({"basis": "in_sample"}, "good", "its figures flatter"),
        ({"basis": "retrospective"}, "good", "once a first champion existed"),
        ({"champion": None, "checks": 0}, "plain", "awaiting a first model"),
        (
            {"champion": None, "received": None, "run_status": "refused", "run_message": "no such file"},
            "watch",
            "no such file",
        ),
    ],
)
def test_the_verdict_has_the_tone_of_its_worst_finding(
    change: dict[str, object], tone: str, words: str
) -> None:
    found = verdict(replace(ROW, **change))
    told = " ".join([found.headline, *(f.text for f in found.findings)])
    assert found.tone == tone
    assert words in told


def test_the_outcome_finding_holds_both_sides() -> None:
    text = verdict(ROW).findings[-1].text
    assert text == (
        "Default rate 21.00% against a mean PD of 22.00%; ROC AUC 0.7600 realised, 0.7700 held out, "
        "0.7650 estimated from the PDs."
    )


@pytest.mark.parametrize(
    ("value", "tone"),
    [(None, "plain"), (0.0, "good"), (0.0999, "good"), (0.1, "watch"), (0.2499, "watch"), (0.25, "alarm")],
)
def test_bands_begin_at_their_threshold(value: float | None, tone: str) -> None:
    assert band(value) == tone


CHECK = GateCheck(
    "2005-09",
    1,
    "blend",
    "v2",
    "logistic",
    "v1",
    "2005-08",
    900,
    200,
    "Brier",
    0.0,
    None,
    None,
    0.005,
    True,
    "r",
)
PROMOTED = Promotion(
    "p", "2005-09", "gate", "blend", "v2", "logistic", "v1", "r", "creditflow", datetime(2005, 10, 1), "run"
)


def _check(name: str, passed: bool | None) -> GateCheck:
    return replace(CHECK, name=name, passed=passed)


@pytest.mark.parametrize(
    ("checks", "promotions", "tone", "text"),
    [
        ([CHECK], [PROMOTED], "good", "Promoted: blend v2 replaced logistic v1; 1 of 1 checks passed."),
        (
            [CHECK, _check("AUC_not_lower", False), _check("stability", None)],
            [],
            "watch",
            "Refused: blend v2 did not replace logistic v1; 1 of 3 checks passed; failed: AUC not lower;"
            " could not be evaluated: stability.",
        ),
        (
            [replace(CHECK, champion=None, champion_version=None, passed=None)],
            [replace(PROMOTED, action="first", from_model=None, from_version=None)],
            "watch",
            "Promoted: blend v2 became the first champion; 0 of 1 checks passed;"
            " could not be evaluated: Brier.",
        ),
        # A promotion of another month, of another version or by hand does not make the gate's verdict.
        (
            [CHECK],
            [replace(PROMOTED, month="2005-08")],
            "watch",
            "Refused: blend v2 did not replace logistic v1; 1 of 1 checks passed.",
        ),
        (
            [CHECK],
            [replace(PROMOTED, version="v9")],
            "watch",
            "Refused: blend v2 did not replace logistic v1; 1 of 1 checks passed.",
        ),
        (
            [CHECK],
            [replace(PROMOTED, action="promote")],
            "watch",
            "Refused: blend v2 did not replace logistic v1; 1 of 1 checks passed.",
        ),
    ],
)
def test_the_gate_in_words(
    checks: list[GateCheck], promotions: list[Promotion], tone: str, text: str
) -> None:
    found = gate_verdict(checks, promotions)
    assert found is not None
    assert (found.tone, found.text) == (tone, text)


def test_without_checks_there_is_no_verdict() -> None:
    assert gate_verdict([], [PROMOTED]) is None


@pytest.mark.parametrize(
    ("severity", "state", "change", "tone"),
    [
        ("critical", "raised", {}, "alarm"),
        ("warning", "raised", {}, "watch"),
        ("warning", "raised", {"psi": 0.3}, "alarm"),
        ("info", "raised", {}, "good"),
        ("critical", "clear", {}, "good"),
        ("critical", "not run", {}, "good"),
    ],
)
def test_headline_is_never_calmer_than_a_raised_alert(severity, state, change, tone):
    alert = AlertFact(
        "2005-09",
        "r",
        1,
        "score_drift",
        severity,
        state,
        None,
        0.3,
        0.25,
        "M.",
        "R.",
        datetime(2005, 10, 1),
        None,
    )
    assert verdict(replace(ROW, **change), [alert]).tone == tone
