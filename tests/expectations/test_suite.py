"""The suites that ship, and suites that a person got wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import expectations.checking
import expectations.intake
from creditflow.columns import ATTRIBUTE_NAMES
from creditflow.errors import SuiteInvalid
from expectations.headers import Kind
from expectations.runner import run_suite
from expectations.suite import GROUPS, Rule, load_suite

RULE = {
    "rule": "r",
    "severity": "warning",
    "columns": ["age"],
    "expectation": "expect_column_values_to_be_between",
    "kwargs": {"min_value": 18},
    "meaning": "m",
}


@pytest.mark.parametrize("kind", ["clients", "outcomes"])
def test_suites_that_ship(kind: Kind) -> None:
    rules = load_suite(kind)
    assert [r.position for r in rules] == list(range(1, len(rules) + 1))
    assert {r.severity for r in rules} == {"critical", "warning", "info"}


def test_groups_cover_the_attributes() -> None:
    parts = [n for g in ("@amounts", "@codes") for n in GROUPS[g]]
    assert sorted([*parts, "age"]) == sorted(ATTRIBUTE_NAMES)
    assert [len(GROUPS[g]) for g in ("@pay", "@bills", "@payments")] == [6, 6, 6]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({k: v for k, v in RULE.items() if k != "meaning"}, "no meaning"),
        (RULE | {"colums": []}, "colums"),
        (RULE | {"severity": "fatal"}, "fatal"),
        (RULE | {"kwargs": {"mostly": 0.9}}, "mostly"),
        (RULE | {"on": "file"}, "rule on the file"),
    ],
)
def test_wrong_suites_are_named(tmp_path: Path, entry: dict, message: str) -> None:
    (tmp_path / "clients.json").write_text(json.dumps({"rules": [entry]}))
    with pytest.raises(SuiteInvalid, match=message):
        load_suite("clients", tmp_path)


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "clients.json").write_text("{")
    with pytest.raises(SuiteInvalid, match="JSONDecodeError"):
        load_suite("clients", tmp_path)


def _rule(**changes: object) -> Rule:
    fields = {"position": 1, "rule": "r", "on": "rows", "severity": "warning", "meaning": "m", "remedy": ""}
    between = {"expectation": RULE["expectation"], "column": "age", "kwargs": {"min_value": 18}}
    return Rule(**(fields | between | changes))  # type: ignore[arg-type]


def _chunks(*ages: list[int | None]) -> list[pl.DataFrame]:
    frames = [pl.DataFrame({"age": part}, schema={"age": pl.Float64}) for part in ages]
    return [f.with_row_index("row_number", offset=1 + 10 * i) for i, f in enumerate(frames)]


def test_chunks_are_merged() -> None:
    finding = run_suite([_rule()], _chunks([17, 20, None], [30, 3]), pl.DataFrame({"rows": [5]}), {})[0]
    assert (finding.evaluated, finding.unexpected, finding.outcome) == (4, 2, "failed")
    assert finding.row_numbers.tolist() == [1, 12]
    assert finding.examples == [(1, 17), (12, 3)]


@pytest.mark.parametrize(("mostly", "outcome"), [(0.5, "passed"), (0.51, "failed")])
def test_mostly_holds_over_all_chunks(mostly: float, outcome: str) -> None:
    rule = _rule(severity="critical", kwargs={"min_value": 18, "mostly": mostly})
    assert run_suite([rule], _chunks([17, 17], [30, 30]), pl.DataFrame(), {})[0].outcome == outcome


@pytest.mark.parametrize(
    ("rule", "chunks", "not_run", "reason"),
    [
        (_rule(), _chunks([None, None]), {}, "there is no value to check"),
        (_rule(), [], {}, "there is no value to check"),
        (_rule(), _chunks([17]), {"age": "no ages"}, "no ages"),
    ],
)
def test_a_rule_that_saw_nothing_was_not_run(
    rule: Rule, chunks: list[pl.DataFrame], not_run: dict[str, str], reason: str
) -> None:
    finding = run_suite([rule], chunks, pl.DataFrame(), not_run)[0]
    assert (finding.outcome, finding.reason) == ("not run", reason)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"column": "agee"}, "one of the columns age, found 'agee'"),
        ({"expectation": "expect_miracles"}, "expect_miracles"),
        ({"expectation": "expect_column_max_to_be_between"}, "one value at a time"),
        ({"kwargs": {"minimum": 1}}, "minimum"),
        ({"kwargs": {"min_value": 5, "max_value": 1}}, "r"),
    ],
)
def test_rules_that_cannot_be_applied(changes: dict, message: str) -> None:
    with pytest.raises(SuiteInvalid, match=message):
        run_suite([_rule(**changes)], _chunks([17]), pl.DataFrame(), {})


def test_without_rules_nothing_unstorable_gets_in(
    monkeypatch: pytest.MonkeyPatch,
    valid: Callable[[int], list[list[str]]],
    csv_bytes: Callable,
    check: Callable,
) -> None:
    """However the suite is edited, the stored columns hold values of their type."""
    monkeypatch.setattr(expectations.intake, "load_suite", lambda _: [])
    table = valid(100)
    table[3][5], table[5][2], table[7][1], table[9][6] = "40000", "1.5", "x", ""
    checked = check(csv_bytes(table))
    aside = pl.read_parquet(checked.quarantine_parquet)
    assert aside.select("row_number", "column_name", "value").rows() == [
        (3, "age", "40000"),
        (5, "sex", "1.5"),
        (7, "limit_bal", "x"),
        (9, "pay_1", None),
    ]
    assert checked.accepted == 96
    assert set(aside["rule"]) == {expectations.checking.GUARD}
