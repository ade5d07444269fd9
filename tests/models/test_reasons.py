"""Reasons for scores: the list, the codes, the unusual columns and the words."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from creditflow.columns import ATTRIBUTE_NAMES, OUTCOME
from creditflow.errors import UsageError
from models import reasons as rs
from models.anomaly import VAEAnomalyDetector
from models.attribution import Attribution, contributions
from models.baselines import make_gradient_boosting, make_logistic
from models.blend import BlendClassifier
from models.features import PROTECTED, FeatureSet
from models.reasons import (
    LEAST_CONTRIBUTION,
    ClientExplainer,
    column_groups,
    explain,
    in_words,
    is_protected,
    reason_codes,
    reason_groups,
    reason_texts,
    unusual_columns,
    value_in_words,
)

ALL, UNPROTECTED = FeatureSet("all"), FeatureSet()
SHOWN = len(reason_groups()) - 1
BLANK = {
    **dict.fromkeys(ATTRIBUTE_NAMES, 0),
    "limit_bal": 200_000,
    "sex": 1,
    "education": 2,
    "marriage": 1,
    "age": 40,
    **{f"bill_amt{t}": 60_000 for t in range(1, 7)},
    **{f"pay_amt{t}": 12_000 for t in range(1, 7)},
}


def matrix(*changes: dict[str, float], features: FeatureSet = UNPROTECTED) -> np.ndarray:
    """Feature rows of clients who differ from `BLANK`: 30 % of the limit used, a fifth of each bill paid."""
    rows = [{name: float(value) for name, value in (BLANK | change).items()} for change in changes]
    return features.matrix(pl.DataFrame(rows))


def attribution(rows: int = 1, groups: int = SHOWN, **of_group: float) -> Attribution:
    """The same contributions for every row, by name of group with underscores; others are 0."""
    names = [group.group.replace(" ", "_") for group in reason_groups()]
    values = np.zeros((rows, groups))
    for name, value in of_group.items():
        values[:, names.index(name)] = value
    return Attribution(-1.5, values)


# ── The list ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("features", [ALL, UNPROTECTED], ids=["all", "unprotected"])
def test_every_feature_belongs_to_exactly_one_group(features: FeatureSet) -> None:
    for name in features.names:
        assert sum(group.covers(name) for group in reason_groups()) == 1, name
    assert len(column_groups(features.names)) == len(features.names)


def test_every_pattern_covers_a_feature() -> None:
    for group in reason_groups():
        for pattern in group.features:
            assert any(re.fullmatch(pattern.replace("*", ".*"), name) for name in ALL.names), pattern


def test_columns_without_a_group_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="none or several for shoe_size"):
        column_groups(["limit_bal", "shoe_size"])


def test_protected_attributes_form_the_last_group_and_have_no_reason() -> None:
    *shown, last = reason_groups()
    assert last.protected
    assert not last.reasons
    assert not any(group.protected for group in shown)
    assert [name for name in ALL.names if last.covers(name)] == ["age", "sex", "marriage_group"]
    assert set(ALL.names) - set(UNPROTECTED.names) == {n for n in ALL.names if is_protected(n)}


@pytest.mark.parametrize("name", [*PROTECTED, "marriage_group"])
def test_protected_names_are_known(name: str) -> None:
    assert is_protected(name)
    assert not is_protected("limit_bal")


def test_texts_name_every_code_once_in_order_and_nothing_protected() -> None:
    texts = reason_texts()
    codes = [text["code"] for text in texts]
    assert codes == sorted(set(codes))
    assert all(set(text) == {"code", "reason", "meaning"} and all(text.values()) for text in texts)
    assert len({text["reason"] for text in texts}) == len(texts)
    words = re.compile(
        r"\b(sex|gender|male|female|age|aged|old|young|marriage|married|single)\b", re.IGNORECASE
    )
    for text in texts:
        assert not words.search(text["reason"]), text["reason"]


@pytest.mark.parametrize("group", reason_groups()[:-1], ids=lambda group: group.group)
def test_a_group_ends_in_one_reason_without_condition(group: rs.ReasonGroup) -> None:
    assert [bool(reason.when) for reason in group.reasons] == [True] * (len(group.reasons) - 1) + [False]
    for reason in group.reasons:
        assert all((c.at_least is None) != (c.below is None) for c in reason.when)
        assert all(name in UNPROTECTED.names for c in reason.when for name in c.columns)


def test_reasons_are_words_a_letter_can_hold() -> None:
    for text in reason_texts():
        assert text["reason"][0].isupper()
        assert not text["reason"].endswith((".", ":"))
        assert "_" not in text["reason"] + text["meaning"]
        assert len(text["reason"]) <= 60
        assert text["meaning"].endswith(".")


# ── Which reason of a group ─────────────────────────────────────────────────────────────────────

WORDINGS = [
    ("latest payment", {"pay_1": 2}, "R01"),
    ("latest payment", {"pay_1": -1}, "R01b"),
    ("earlier payments", {"pay_2": 2, "pay_5": 1}, "R02"),
    ("earlier payments", {"pay_1": 2, "pay_4": 2}, "R02b"),
    ("earlier payments", {"pay_1": 2}, "R02c"),
    ("earlier payments", {"pay_3": -1}, "R02d"),
    ("months without a payment", {"pay_amt3": 0}, "R03"),
    ("months without a payment", {}, "R03b"),
    ("payments against bills", {}, "R04"),
    ("payments against bills", {f"pay_amt{t}": 60_000 for t in range(1, 7)}, "R04b"),
    ("size of payments", {f"pay_amt{t}": 2_000 for t in range(1, 7)}, "R05"),
    (
        "size of payments",
        {f"pay_amt{t}": 2_000 for t in range(1, 7)} | {f"bill_amt{t}": 2_000 for t in range(1, 7)},
        "R05b",
    ),
    ("size of payments", {}, "R05c"),
    ("balance", {"bill_amt1": 100_000}, "R06"),
    ("balance", {"bill_amt1": 90_000, "bill_amt2": 85_000}, "R06b"),
    ("balance", {f"bill_amt{t}": 1_000 for t in range(1, 7)}, "R06c"),
    ("balance", {"bill_amt2": 99_000, "bill_amt3": 99_000}, "R06d"),
    ("limit", {"limit_bal": 99_999}, "R07"),
    ("limit", {"bill_amt1": 160_000}, "R07b"),
    ("limit", {}, "R07c"),
    ("spending", {f"pay_amt{t}": 1_000 for t in range(1, 7)}, "R08"),
    ("spending", {}, "R08b"),
    ("use of the card", {f"pay_{t}": -2 for t in range(1, 7)}, "R09"),
    ("use of the card", {}, "R09b"),
    ("education", {}, "R10"),
]


@pytest.mark.parametrize(("group", "change", "code"), WORDINGS, ids=[row[2] for row in WORDINGS])
def test_a_client_gets_the_first_reason_that_is_true(group: str, change: dict[str, float], code: str) -> None:
    weights = attribution(**{group.replace(" ", "_"): 0.3})
    assert reason_codes(weights, matrix(change), UNPROTECTED.names)["reason_1"].to_list() == [code]


def test_every_reason_is_given_in_some_case() -> None:
    assert {row[2] for row in WORDINGS} == {text["code"] for text in reason_texts()}


# ── The largest four ────────────────────────────────────────────────────────────────────────────


def test_reasons_come_largest_first_and_nulls_follow() -> None:
    weights = attribution(latest_payment=0.2, limit=0.9, balance=-3.0, spending=0.4)
    found = reason_codes(weights, matrix({"pay_1": 2}), UNPROTECTED.names)
    assert found.columns == [f"{kind}_{n}" for n in (1, 2, 3, 4) for kind in ("reason", "contribution")]
    assert found.schema == {c: pl.String if c.startswith("reason") else pl.Float64 for c in found.columns}
    assert found.row(0) == ("R07c", 0.9, "R08b", 0.4, "R01", 0.2, None, None)


def test_only_the_four_largest_are_kept() -> None:
    weights = attribution(
        latest_payment=0.1, earlier_payments=0.2, limit=0.3, balance=0.4, spending=0.5, education=0.6
    )
    found = reason_codes(weights, matrix({}), UNPROTECTED.names)
    assert [found[f"contribution_{n}"][0] for n in (1, 2, 3, 4)] == [0.6, 0.5, 0.4, 0.3]


def test_equal_contributions_come_in_the_order_of_the_list() -> None:
    weights = attribution(education=0.5, latest_payment=0.5, limit=0.5, balance=0.5, spending=0.5)
    found = reason_codes(weights, matrix({"pay_1": 1}), UNPROTECTED.names)
    assert [found[f"reason_{n}"][0] for n in (1, 2, 3, 4)] == ["R01", "R06d", "R07c", "R08b"]


@pytest.mark.parametrize(
    ("value", "code"), [(LEAST_CONTRIBUTION, "R10"), (0.999 * LEAST_CONTRIBUTION, None), (-2.0, None)]
)
def test_what_hardly_raises_the_score_is_no_reason(value: float, code: str | None) -> None:
    found = reason_codes(attribution(education=value), matrix({}), UNPROTECTED.names).row(0, named=True)
    assert (found["reason_1"], found["contribution_1"]) == (code, value if code else None)


def test_a_protected_group_is_never_a_reason_however_large() -> None:
    weights = attribution(groups=SHOWN + 1, protected=9.0, education=0.1)
    found = reason_codes(weights, matrix({}, features=ALL), ALL.names).row(0)
    assert found == ("R10", 0.1, None, None, None, None, None, None)


def test_no_rows_give_a_frame_of_the_same_columns() -> None:
    empty = reason_codes(attribution(rows=0), matrix({})[:0], UNPROTECTED.names)
    assert empty.schema == reason_codes(attribution(), matrix({}), UNPROTECTED.names).schema
    assert empty.height == 0


@given(values=arrays(np.float64, (12, SHOWN), elements=st.floats(-1, 1)))
@settings(max_examples=40, deadline=None)
def test_reasons_are_the_sorted_contributions(values: np.ndarray) -> None:
    found = reason_codes(Attribution(0.0, values), matrix(*[{}] * 12), UNPROTECTED.names)
    for row, own in zip(found.iter_rows(named=True), values, strict=True):
        wanted = sorted((v for v in own if v >= LEAST_CONTRIBUTION), reverse=True)[:4]
        assert [row[f"contribution_{n}"] for n in range(1, len(wanted) + 1)] == wanted
        rest = [row[f"{kind}_{n}"] for n in range(len(wanted) + 1, 5) for kind in ("reason", "contribution")]
        assert rest == [None] * len(rest)


# ── From a classifier to reasons ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def models(clients: pl.DataFrame) -> dict[str, Any]:
    X, y = ALL.matrix(clients), clients[OUTCOME].to_numpy()
    trees = make_gradient_boosting(3, ALL).set_params(classify__max_iter=40).fit(X, y)
    logistic = make_logistic(3, ALL).fit(X, y)
    blend = BlendClassifier.from_fitted({"logistic": logistic, "gradient_boosting": trees})
    return {"logistic": logistic, "gradient_boosting": trees, "blend": blend}


@pytest.mark.parametrize("kind", ["logistic", "gradient_boosting", "blend"])
def test_clients_are_explained_by_their_contributions(
    kind: str, models: dict[str, Any], clients: pl.DataFrame
) -> None:
    X = ALL.matrix(clients)
    found = explain(models[kind], X, ALL.names)
    by_hand = contributions(models[kind], X, column_groups(ALL.names))
    assert found["base_log_odds"].unique().to_list() == [by_hand.base]
    largest = by_hand.values[:, :SHOWN].max(axis=1)
    expected = [value if value >= LEAST_CONTRIBUTION else None for value in largest.tolist()]
    assert found["contribution_1"].to_list() == expected
    assert found["reason_1"].null_count() < found.height


def test_explaining_is_repeatable_and_does_not_depend_on_blocks(
    models: dict[str, Any], clients: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = ALL.matrix(clients)
    explainer = ClientExplainer(models["blend"], ALL.names)
    once = explainer.explain(X)
    assert explainer.explain(X).equals(once)
    monkeypatch.setattr(rs, "BLOCK", 100)
    assert explainer.explain(X).equals(once)
    assert explainer.explain(X[40:41]).equals(once[40:41])
    assert explainer.explain(X[:0]).schema == once.schema


def test_reasons_never_name_what_is_protected_even_where_it_decides(clients: pl.DataFrame) -> None:
    X = ALL.matrix(clients)
    # Outcomes that nothing but the age decides: its group has by far the largest contributions.
    y = (clients["age"] > clients["age"].median()).to_numpy().astype(int)
    trees = make_gradient_boosting(1, ALL).set_params(classify__max_iter=40).fit(X, y)
    values = contributions(trees, X, column_groups(ALL.names)).values
    assert np.abs(values[:, -1]).mean() > 10 * np.abs(values[:, :-1]).mean()
    found = explain(trees, X, ALL.names)
    given_codes = {code for n in (1, 2, 3, 4) for code in found[f"reason_{n}"].drop_nulls()}
    assert given_codes <= {text["code"] for text in reason_texts()}


def test_a_detector_is_refused() -> None:
    with pytest.raises(UsageError, match="no additive contributions"):
        ClientExplainer(VAEAnomalyDetector(), UNPROTECTED.names)


# ── Unusual columns ─────────────────────────────────────────────────────────────────────────────


def test_unusual_columns_are_the_largest_by_size_with_their_sign() -> None:
    found = unusual_columns(
        np.array([[0.5, -4.0, 2.0, 1.0], [3.0, 0.0, -3.0, 1.0]]),
        ["limit_bal", "pay_amt1", "status_1", "bill_amt2"],
    )
    assert found.rows() == [
        ("pay_amt1", -4.0, "status_1", 2.0, "bill_amt2", 1.0),
        ("limit_bal", 3.0, "status_1", -3.0, "bill_amt2", 1.0),
    ]


def test_unusual_columns_leave_out_what_is_protected() -> None:
    found = unusual_columns(np.array([[9.0, 8.0, 7.0, 1.0]]), ["sex", "age", "marriage_group", "limit_bal"])
    assert found.row(0) == ("limit_bal", 1.0, None, None, None, None)


@pytest.mark.parametrize("names", [[], ["age"], ["limit_bal"]])
def test_unusual_columns_may_run_out(names: list[str]) -> None:
    found = unusual_columns(np.ones((2, len(names))), names)
    assert found.height == 2
    assert found.schema == unusual_columns(np.ones((2, 5)), [f"status_{t}" for t in range(1, 6)]).schema
    assert found["unusual_2"].null_count() == 2


def test_unusual_columns_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    deformation = np.random.default_rng(4).normal(size=(57, 75))
    once = unusual_columns(deformation, UNPROTECTED.names)
    monkeypatch.setattr(rs, "BLOCK", 10)
    assert unusual_columns(np.asfortranarray(deformation), UNPROTECTED.names).equals(once)


# ── In words ────────────────────────────────────────────────────────────────────────────────────


def client(change: dict[str, float]) -> dict[str, float]:
    return dict(zip(ALL.names, matrix(change, features=ALL)[0].tolist(), strict=True))


def codes_row(*codes: str) -> dict[str, str | None]:
    return {f"reason_{n}": code for n, code in enumerate([*codes, None, None, None, None][:4], 1)}


def test_reasons_in_words() -> None:
    change = {"pay_1": 2, "pay_2": 1, "pay_3": 3, "pay_amt4": 0, "limit_bal": 62_000}
    assert in_words(codes_row("R02", "R01", "R06", "R03"), client(change)) == [
        "Payments were late in several earlier months: 3 months of six show a delay, "
        "the longest of 3 months.",
        "The latest payment is late: it is 2 months behind.",
        "The balance is high against the limit: 97 % of it is used, 97 % on average over six months.",
        "There were months without a payment: nothing was paid in 1 month of six.",
    ]


def test_reasons_in_words_without_values() -> None:
    assert in_words(codes_row("R07", "R10")) == ["The credit limit is low.", "The education on record."]


def test_a_client_without_reasons_has_no_sentences() -> None:
    assert in_words(codes_row(), client({})) == []


@pytest.mark.parametrize("code", [text["code"] for text in reason_texts()])
def test_every_reason_makes_a_sentence(code: str) -> None:
    change = next(row[1] for row in WORDINGS if row[2] == code)
    (sentence,) = in_words(codes_row(code), client(change))
    assert sentence.endswith(".")
    assert not re.search(r"[{}_]|\bnan\b|  ", sentence)


def test_a_code_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(UsageError, match="found R99"):
        in_words(codes_row("R99"))


@pytest.mark.parametrize(
    ("feature", "value", "text"),
    [
        ("delay_latest", 1.0, "1 month"),
        ("delay_latest", 0.0, "0 months"),
        ("utilisation_1", 0.974, "97 %"),
        ("utilisation_1", 0.0042, "0.4 %"),
        ("utilisation_1", -0.027, "−2.7 %"),
        ("utilisation_1", 0.0, "0 %"),
        ("limit_bal", 50_000.0, "50,000"),
        ("headroom", -1_234.4, "−1,234"),
    ],
)
def test_values_in_words(feature: str, value: float, text: str) -> None:
    assert value_in_words(feature, value) == text


def test_the_list_is_plain_json_that_a_person_can_edit() -> None:
    entries = json.loads(rs.FILE.read_text(encoding="utf-8"))
    assert all(set(entry) <= {"group", "features", "reasons", "protected"} for entry in entries)


@pytest.mark.uci
def test_most_reasons_of_real_clients_take_a_side(uci_file: Path) -> None:
    """A reason that only names its group tells a client little; the conditions have to fit the portfolio."""
    raw = pl.read_csv(uci_file).rename(str.lower).rename({"pay_0": "pay_1"})
    X, y = UNPROTECTED.matrix(raw), raw["default payment next month"].to_numpy()
    trees = (
        make_gradient_boosting(1, UNPROTECTED).set_params(classify__max_iter=100).fit(X[:21_000], y[:21_000])
    )
    found = explain(trees, X[21_000:], UNPROTECTED.names)
    codes = pl.concat([found[f"reason_{n}"].alias("code") for n in (1, 2)]).drop_nulls()
    sideless = [group.reasons[-1].code for group in reason_groups() if group.reasons]
    assert codes.is_in(sideless).mean() < 0.2
    # The worst tenth of clients always has reasons.
    worst = trees.decision_function(X[21_000:]).argsort()[-900:]
    assert found["reason_1"].gather(worst).null_count() == 0
