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
_FORMATS = {"critical": _SUMMARY, "warning": _COMPLETE, "info": _BASIC}


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
        file_rules = [f for f in active if f.rule.on == "file"]
        _Engine().validate(file_rules, facts.with_columns(pl.lit(0, pl.Int64).alias(ROW_NUMBER)), _BASIC)
        for chunk in chunks:
            # A new context for each chunk: a context keeps every frame that it was given.
            validate = _Engine().validate
            rows = [f for f in active if f.rule.on == "rows"]
            for severity, result_format in _FORMATS.items():
                validate([f for f in rows if f.rule.severity == severity], chunk, result_format)
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
    """Great Expectations in an ephemeral context, one pandas frame at a time."""

    def __init__(self) -> None:
        import great_expectations as gx

        self._gx = gx
        # This one module sets its own level, to INFO, and so escapes the level of its parent.
        logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
        self._whole = asset.add_batch_definition_whole_dataframe("all")

    def validate(self, findings: list[Finding], frame: pl.DataFrame, result_format: dict[str, Any]) -> None:
        """Add to each finding what this frame shows."""
        by_position = {f.rule.position: f for f in findings}
        if not by_position or not frame.height:
            return
        unknown = [f.rule for f in findings if f.rule.column not in frame.columns]
        if unknown:
            known = ", ".join(sorted(set(frame.columns) - {ROW_NUMBER}))
            raise _invalid(unknown[0], f"one of the columns {known}", repr(unknown[0].column))
        expectations = [self._expectation(f.rule) for f in findings]
        batch = self._whole.get_batch({"dataframe": _to_pandas(frame, findings)})
        suite = self._gx.ExpectationSuite(name="suite", expectations=expectations)
        for result in batch.validate(suite, result_format=result_format).results:
            _merge(by_position[result.expectation_config.meta["position"]], result)

    def _expectation(self, rule: Rule) -> Any:
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
    import pandas as pd

    names = dict.fromkeys(f.rule.column for f in findings)
    # Unnamed: with a name, every unexpected row would come back as a dictionary.
    index = pd.Index(frame[ROW_NUMBER].to_numpy())
    # Great Expectations compares 64-bit columns at once, and every other type value by value in Python.
    wide = frame.select(pl.col(name) for name in names).with_columns(cs.integer().cast(pl.Int64))
    return pd.DataFrame({name: wide[name].to_numpy() for name in names}, index=index, copy=False)


def _merge(finding: Finding, result: Any) -> None:
    if result.exception_info.get("raised_exception", True):
        raise _invalid(finding.rule, "a rule that can be applied", _first_line(result.exception_info))
    found = result.result
    finding.evaluated += found["element_count"] - found.get("missing_count", 0)
    finding.unexpected += found["unexpected_count"]
    values = [plain(value) for value in found["partial_unexpected_list"]]
    rows = found.get("partial_unexpected_index_list") or [None] * len(values)
    finding.examples += list(zip(rows, values, strict=True))[: EXAMPLES - len(finding.examples)]
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
