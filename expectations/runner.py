"""Runs a suite with Great Expectations over a table in chunks, and merges what the chunks found.

Great Expectations is imported here, when a suite is run, and nowhere else: the import takes seconds.
It runs on pandas frames in memory, in an ephemeral context, without analytics or progress bars.
"""

import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import polars.selectors as cs

from creditflow.ahead import one_ahead
from creditflow.columns import ROW_NUMBER
from creditflow.errors import SuiteInvalid
from expectations.suite import Rule

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 5
# BASIC counts without listing rows: half of all rows may hold an ordinary code that is only counted.
_BASIC = {"result_format": "BASIC", "partial_unexpected_count": EXAMPLES}
_SUMMARY = _BASIC | {"result_format": "SUMMARY"}
_COMPLETE = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": EXAMPLES,
    "return_unexpected_index_query": False,
}
# Of the others, where the values stand is not asked at all.
_PLACES = {"critical": _SUMMARY, "warning": _COMPLETE}


@dataclass
class Finding:
    """What a rule found over all chunks.

    Attributes:
        evaluated: values that were there to be checked.
        rows: row numbers that broke the rule, of a rule that sets rows aside; else empty.
        examples: (row number, value) of the first that broke it, at most EXAMPLES; the row number is
            None where the rule only counts, or looks at the file.
        reason: why the rule was not run; None when it was.
    """

    rule: Rule
    evaluated: int = 0
    unexpected: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    examples: list[tuple[int | None, Any]] = field(default_factory=list)
    reason: str | None = None

    @property
    def outcome(self) -> Literal["passed", "failed", "not run"]:
        if self.reason is not None:
            return "not run"
        fitting = (self.evaluated - self.unexpected) / self.evaluated
        return "passed" if fitting >= self.rule.mostly else "failed"

    @property
    def row_numbers(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.int64), *self.rows])


def run_suite(
    rules: Sequence[Rule], chunks: Iterable[pl.DataFrame], facts: pl.DataFrame, not_run: dict[str, str]
) -> list[Finding]:
    """Hold every rule against the rows, or against the facts of the file.

    Args:
        chunks: the rows, each chunk with `row_number`; at least one chunk, which may be empty.
        facts: one row, one column per fact.
        not_run: reason per column or fact that this file does not have.

    Raises:
        SuiteInvalid: a rule names an unknown column or expectation, or arguments that do not fit.
    """
    findings = [Finding(rule, reason=not_run.get(rule.column)) for rule in rules]
    active = [f for f in findings if f.reason is None]
    with _quiet():
        engine = _Engine()
        file_rules = [f for f in active if f.rule.on == "file"]
        if file_rules:
            facts = facts.with_columns(pl.lit(0, pl.Int64).alias(ROW_NUMBER))
            engine.validate(file_rules, _to_pandas(facts, file_rules))
        rows = [f for f in active if f.rule.on == "rows"]
        filled = (chunk for chunk in chunks if rows and chunk.height)
        # The library computes on one processor: another one has the next chunk ready meanwhile.
        for data in one_ahead(_to_pandas(chunk, rows) for chunk in filled):
            engine.validate(rows, data)
    for finding in active:
        # A rule without a value to look at has not been kept: it has not been run.
        finding.reason = None if finding.evaluated else "there is no value to check"
    return findings


@contextmanager
def _quiet() -> Iterator[None]:
    # Without the first, the library writes usage events to the network and an id to the home folder.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logger = logging.getLogger("great_expectations")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


class _Engine:
    """Great Expectations in an ephemeral context, one pandas frame at a time.

    The frames go straight to a `Validator`: a data source would hash each frame twice to name its batch,
    which takes as long as the rules do.
    """

    def __init__(self) -> None:
        import great_expectations as gx

        # This one module sets its own level, to INFO, and so escapes the level of its parent.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = {"globally": False, "metric_calculations": False}

    def validate(self, findings: Sequence[Finding], data: "pd.DataFrame") -> None:
        """Add to each finding what this frame shows."""
        counts = self._results(findings, data, _BASIC)
        # Where values stand costs several times what counting costs: only asked where some do not fit.
        for finding, result in counts:
            _merge(finding, result)
        for severity, result_format in _PLACES.items():
            broken = [f for f, r in counts if f.rule.severity == severity and r.result["unexpected_count"]]
            for finding, result in self._results(broken, data, result_format) if broken else []:
                _merge_places(finding, result.result)

    def _results(
        self, findings: Sequence[Finding], data: "pd.DataFrame", result_format: dict[str, Any]
    ) -> list[tuple[Finding, Any]]:
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.validator import Validator

        by_position = {f.rule.position: f for f in findings}
        # A new one for each frame, which is freed with it.
        validator = Validator(
            PandasExecutionEngine(batch_data_dict={"rows": data}), data_context=self._context
        )
        results = validator.graph_validate(
            [_expectation(f.rule).configuration for f in findings], {"result_format": result_format}
        )
        return [(by_position[r.expectation_config.meta["position"]], r) for r in results]


def _expectation(rule: Rule) -> Any:
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation import ColumnMapExpectation
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        kind = get_expectation_impl(rule.expectation)
        if not issubclass(kind, ColumnMapExpectation):
            raise ValueError("it does not look at one value at a time")
        meta = {"position": rule.position}
        return kind(column=rule.column, severity=rule.severity, meta=meta, **rule.kwargs)
    except (GreatExpectationsError, ValueError, TypeError) as error:
        expected = "an expect_column_values_… expectation of Great Expectations with arguments that fit"
        raise _invalid(rule, expected, f"{rule.expectation} {rule.kwargs}: {error}") from error


def _to_pandas(frame: pl.DataFrame, findings: Sequence[Finding]) -> "pd.DataFrame":
    """The columns that the rules look at, as the library is fast with them; a rule on another is refused."""
    import pandas as pd

    unknown = [f.rule for f in findings if f.rule.column not in frame.columns]
    if unknown:
        known = ", ".join(sorted(set(frame.columns) - {ROW_NUMBER}))
        raise _invalid(unknown[0], f"one of the columns {known}", repr(unknown[0].column))
    names = dict.fromkeys(f.rule.column for f in findings)
    # Unnamed: with a name, every unexpected row would come back as a dictionary.
    index = pd.Index(frame[ROW_NUMBER].to_numpy())
    # Great Expectations compares 64-bit columns at once, and every other type value by value in Python.
    wide = frame.select(pl.col(name) for name in names).with_columns(cs.integer().cast(pl.Int64))
    # It looks whole numbers up in a set several times as fast as fractions.
    listed = dict.fromkeys(f.rule.column for f in findings if f.rule.expectation.endswith("_in_set"))
    wide = wide.with_columns(_whole(wide[name]) for name in listed if wide[name].dtype == pl.Float64)
    return pd.DataFrame({name: wide[name].to_numpy() for name in names}, index=index, copy=False)


def _whole(column: pl.Series) -> pl.Series:
    """The column as integers if it holds nothing else."""
    whole = column.cast(pl.Int64, strict=False)
    return whole if not whole.null_count() and (whole == column).all() else column


def _merge(finding: Finding, result: Any) -> None:
    if result.exception_info.get("raised_exception", True):
        raise _invalid(finding.rule, "a rule that can be applied", _first_line(result.exception_info))
    found = result.result
    finding.evaluated += found["element_count"] - found.get("missing_count", 0)
    finding.unexpected += found["unexpected_count"]
    if finding.rule.severity not in _PLACES:
        values = [(None, plain(value)) for value in found["partial_unexpected_list"]]
        finding.examples += values[: EXAMPLES - len(finding.examples)]


def _merge_places(finding: Finding, found: dict[str, Any]) -> None:
    values = [plain(value) for value in found["partial_unexpected_list"]]
    examples = list(zip(found["partial_unexpected_index_list"], values, strict=True))
    finding.examples += examples[: EXAMPLES - len(finding.examples)]
    if finding.rule.severity == "warning":
        finding.rows.append(np.asarray(found["unexpected_index_list"], dtype=np.int64))


def plain(value: Any) -> Any:
    """The value without numpy's types; a whole float as an integer, a missing one as None."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float):
        return None if np.isnan(plain) else int(plain) if plain.is_integer() else plain
    return plain


def _first_line(info: Any) -> str:
    # One key per metric when a metric failed, the bare fields otherwise.
    details = info if "exception_message" in info else next(iter(info.values()))
    return str(details["exception_message"]).strip().splitlines()[0]


def _invalid(rule: Rule, expected: str, found: str) -> SuiteInvalid:
    where = f"expectations: rule {rule.rule!r} on column {rule.column}"
    return SuiteInvalid(where, expected=expected, found=found, remedy="Correct the suite.")
