"""Holds one staged file against its suite: refuses it, or splits its rows into accepted and set aside."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA, OUTCOME, OUTCOME_SCHEMA, ROW_NUMBER
from creditflow.errors import ContentRefused
from creditflow.month import Month
from expectations.cells import MISSING_LABEL
from expectations.checked import CheckedFile, Context, ExpectationResult, Step, no_step
from expectations.hashing import IdSet
from expectations.headers import Kind
from expectations.month_fit import Facts, month_facts
from expectations.quarantine import ALL_COLUMNS, ID_HELPERS, broken_cells, quarantine_rows, write_quarantine
from expectations.reader import RawTable, parsing
from expectations.runner import EXAMPLES, Finding, plain, run_suite
from expectations.staging import CHUNK_ROWS, Table
from expectations.suite import Rule

GUARD = "value that cannot be stored"
_NO_LABEL = {"empty": "the label column is empty", "none": "the file has no label column"}
BROKEN = {ROW_NUMBER: pl.Int64, "position": pl.Int64}


@dataclass
class Check:
    """One file between staging and its result."""

    path: Path
    kind: Kind
    month: Month
    workdir: Path
    context: Context
    rules: list[Rule]
    raw: RawTable
    table: Table
    facts: Facts
    step: Step = no_step

    def run(self) -> CheckedFile:
        with self.step("check"):
            self._add_month_facts()
            findings = run_suite(self.rules, self._chunks(), self.facts.frame(), self._not_run())
            self._refuse_if_critical(findings)
            broken = _broken_rows(findings)
            self._refuse_if_too_many(broken, findings)
        with self.step("split"):
            return self._split(broken, findings)

    def _add_month_facts(self) -> None:
        loaded = self.context.loaded.get(self.raw.fingerprint.sha256)
        loaded_as = (loaded[0], str(loaded[1])) if loaded else None
        found = month_facts(
            self.table.rows, self.table.again, self.kind, self.month, loaded_as, self.context.previous_clients
        )
        self.facts.values |= found.values
        self.facts.words |= found.words
        self.facts.reasons |= found.reasons

    def _not_run(self) -> dict[str, str]:
        """Why a rule on a column or fact cannot be run on this file."""
        reasons = dict(self.facts.reasons)
        if self.kind == "clients" and self.table.label != "present":
            empty = (
                "the label column is empty" if self.table.label == "empty" else "the file has no label column"
            )
            reasons |= {OUTCOME: empty, MISSING_LABEL: empty}
        if self.context.known_clients is None:
            reasons["known_client"] = f"no client file of {self.month} is loaded"
        return reasons

    def _chunks(self) -> Iterator[pl.DataFrame]:
        known = self._known()
        for start in range(0, self.table.received, CHUNK_ROWS):
            chunk = self.table.rows.slice(start, CHUNK_ROWS).collect(engine="streaming")
            marked = self._with_marks(chunk)
            yield (
                marked
                if known is None
                else marked.with_columns(known.holds(chunk[CLIENT_ID]).alias("known_client"))
            )

    def _with_marks(self, chunk: pl.DataFrame) -> pl.DataFrame:
        marked = chunk.join(self.table.marks, on=ROW_NUMBER, how="left", maintain_order="left")
        return marked.with_columns(
            pl.col("id_copies").fill_null(1), cs.by_name("identical_rows", require_all=False).fill_null(0)
        )

    def _known(self) -> IdSet | None:
        if self.context.known_clients is None:
            return None
        return IdSet(
            pl.scan_parquet(self.context.known_clients, glob=False, hive_partitioning=False), CLIENT_ID
        )

    # --- refusals ---

    def _refuse_if_critical(self, findings: Sequence[Finding]) -> None:
        failed = [f for f in findings if f.rule.severity == "critical" and f.outcome == "failed"]
        if not failed:
            return
        first = failed[0]
        columns = [f.rule.column for f in failed if f.rule.rule == first.rule.rule]
        others = dict.fromkeys(f.rule.rule for f in failed if f.rule.rule != first.rule.rule)
        also = f" (also failed: {', '.join(others)})" if others else ""
        raise ContentRefused(
            self.path.name + self._place(first, columns),
            expected=first.rule.meaning,
            found=self._seen(first) + also,
            remedy=first.rule.remedy,
        )

    def _place(self, finding: Finding, columns: Sequence[str]) -> str:
        if finding.rule.on == "file":
            return ""
        meant = [_column_name(column) for column in columns]
        named = [self.raw.header.spelling(name) for name in meant if name in self.raw.header.names]
        return f", column {' and '.join(named)}" if named else ""

    def _seen(self, finding: Finding) -> str:
        if finding.rule.on == "file":
            return self.facts.words[finding.rule.column]
        counts = f"{finding.unexpected:,} of {finding.evaluated:,} rows otherwise"
        shown = self._illustrated([finding])[finding.rule.position][:1]
        return f"{counts}, as in row {shown[0]['row_number']:,}: {shown[0]['value']!r}" if shown else counts

    def _refuse_if_too_many(self, broken: pl.DataFrame, findings: Sequence[Finding]) -> None:
        count = broken[ROW_NUMBER].n_unique()
        share = count / max(self.table.received, 1)
        if share <= self.context.max_quarantine_share:
            return
        counts = f"{count:,} of {self.table.received:,} ({share:.1%})"
        raise ContentRefused(
            self.path.name,
            expected=f"at most {self.context.max_quarantine_share:.1%} of the rows set aside",
            found=f"{counts}: {self._most_frequent(broken, findings)}",
            remedy="Correct these rows and send the file again, or raise CREDITFLOW_MAX_QUARANTINE_SHARE.",
        )

    def _most_frequent(self, broken: pl.DataFrame, findings: Sequence[Finding]) -> str:
        names = {f.rule.position: f.rule.rule for f in findings}
        first = broken.group_by(ROW_NUMBER).agg(pl.col("position").min()).sort(ROW_NUMBER, "position")
        by_rule = first.with_columns(
            pl.col("position").replace_strict(names, return_dtype=pl.String).alias("rule")
        )
        top = by_rule.group_by("rule", maintain_order=True).agg(pl.len().alias("count"), pl.all().first())
        texts = []
        for seen in top.sort("count", descending=True, maintain_order=True).head(3).iter_rows(named=True):
            place = (seen[ROW_NUMBER], seen["position"])
            cell = self._cell_text(self._cells([place], findings)[place][0])
            texts.append(f"{seen['rule']}, {seen['count']:,} times, as in row {place[0]:,}: {cell}")
        return "; ".join(texts)

    # --- split ---

    def _guard(self, targets: Sequence[Path]) -> Finding:
        """A last rule that is in no suite: what is accepted has a value of the stored type everywhere.

        Suites can be edited; whatever they let through, the warehouse's columns hold no nulls.
        """
        rule = Rule(
            position=len(self.rules) + 1,
            rule=GUARD,
            on="rows",
            expectation="stored type",
            column=ALL_COLUMNS,
            severity="warning",
            meaning="every value fits the type in which it is stored",
            remedy="Correct the rows.",
        )
        lost = np.unique(np.concatenate([_rows_with_nulls(target) for target in targets]))
        return Finding(
            rule, self.table.received, len(lost), [lost], [(int(row), None) for row in lost[:EXAMPLES]]
        )

    def _accepted(self, broken: pl.DataFrame) -> pl.LazyFrame:
        schema = CLIENT_SCHEMA if self.kind == "clients" else OUTCOME_SCHEMA
        label = OUTCOME_SCHEMA if self.table.label == "present" else {}
        kept = self.table.rows
        if broken.height:
            aside = broken.lazy().select(ROW_NUMBER).unique()
            kept = kept.join(aside, on=ROW_NUMBER, how="anti", maintain_order="left")
        return kept.select(*(_stored(n, t) for n, t in (schema | label).items()), pl.col(ROW_NUMBER))

    def _write_accepted(self, broken: pl.DataFrame, targets: dict[str, Path]) -> list[Path]:
        """The Parquet files written: of the accepted clients and their labels, or of the outcomes."""
        with parsing(self.path, "a file", into=self.workdir):
            accepted = self._accepted(broken)
            if not self._has_label:
                accepted.sink_parquet(targets["accepted"], compression="lz4")
                return [targets["accepted"]]
            accepted.drop(OUTCOME).sink_parquet(targets["accepted"], compression="lz4")
            accepted.select(*OUTCOME_SCHEMA, ROW_NUMBER).sink_parquet(targets["outcomes"], compression="lz4")
            return [targets["accepted"], targets["outcomes"]]

    @property
    def _has_label(self) -> bool:
        return self.kind == "clients" and self.table.label == "present"

    def _split(self, broken: pl.DataFrame, findings: list[Finding]) -> CheckedFile:
        stem = f"{self.kind}_{self.month}_{self.raw.fingerprint.sha256[:12]}"
        targets = {
            part: self.workdir / f"{stem}.{part}.parquet" for part in ("accepted", "outcomes", "quarantine")
        }
        written = self._write_accepted(broken, targets)
        guard = self._guard(written)
        findings.append(guard)
        if guard.unexpected:
            broken = pl.concat([broken, _broken_rows([guard])])
            for target in written:
                target.unlink()
            self._refuse_if_too_many(broken, findings)
            self._write_accepted(broken, targets)
        has_label = self._has_label
        rules = {f.rule.position: f.rule for f in findings}
        with parsing(self.path, "a file", into=self.workdir):
            quarantined = write_quarantine(quarantine_rows(self.raw, broken, rules), targets["quarantine"])
        checked = CheckedFile(
            path=self.path,
            kind=self.kind,
            month=self.month,
            sha256=self.raw.fingerprint.sha256,
            bytes=self.raw.fingerprint.bytes,
            received=self.table.received,
            accepted=_metadata(targets["accepted"]).num_rows,
            quarantined=quarantined,
            has_label=has_label,
            accepted_parquet=targets["accepted"],
            outcomes_parquet=targets["outcomes"] if has_label else None,
            quarantine_parquet=targets["quarantine"],
            results=self._results(findings),
        )
        if checked.received != checked.accepted + checked.quarantined:
            raise RuntimeError(
                f"{self.path.name}: rows were lost or doubled between reading and writing: {checked}"
            )
        return checked

    # --- results ---

    def _results(self, findings: Sequence[Finding]) -> list[ExpectationResult]:
        examples = self._illustrated(findings)
        return [
            ExpectationResult(
                position=f.rule.position,
                rule=f.rule.rule,
                expectation=f.rule.expectation,
                column_name=_column_name(f.rule.column),
                severity=f.rule.severity,
                meaning=f.rule.meaning,
                outcome=f.outcome,
                evaluated=f.evaluated,
                unexpected=f.unexpected,
                examples=json.dumps(examples.get(f.rule.position, []), ensure_ascii=False),
                reason=f.reason,
            )
            for f in findings
        ]

    def _illustrated(self, findings: Sequence[Finding]) -> dict[int, list[dict[str, Any]]]:
        """Examples per position: of rules that can cost rows as the file spells them, else as read."""
        failed = [f for f in findings if f.examples and f.rule.on == "rows"]
        costly = [f for f in failed if f.rule.severity != "info"]
        places = [(row, f.rule.position) for f in costly for row, _ in f.examples if row is not None]
        cells = self._cells(places, findings)
        shown: dict[int, list[dict[str, Any]]] = {
            f.rule.position: self._counted(f) for f in failed if f not in costly
        }
        for f in costly:
            shown[f.rule.position] = [
                {"row_number": row, "column": cell["column"], "value": cell["value"]}
                for row, _ in f.examples
                if row is not None
                for cell in cells[row, f.rule.position][:1]
            ]
        return shown

    def _counted(self, finding: Finding) -> list[dict[str, Any]]:
        """Where the values stand that a rule only counted."""
        column = finding.rule.column
        source = self.table.marks.lazy() if column in self.table.marks.columns else self.table.rows
        named = _column_name(column)
        if column not in source.collect_schema():
            return [{"row_number": None, "column": named, "value": value} for _, value in finding.examples]
        dtype = source.collect_schema()[column]
        values = pl.Series([value for _, value in finding.examples], dtype=dtype, strict=False)
        same = source.filter(pl.col(column).is_in(values.implode())).select(ROW_NUMBER, column)
        rows = same.head(EXAMPLES).collect(engine="streaming").sort(ROW_NUMBER).rows()
        return [{"row_number": row, "column": named, "value": plain(value)} for row, value in rows]

    def _cells(
        self, pairs: Sequence[tuple[int, int]], findings: Sequence[Finding]
    ) -> dict[tuple[int, int], list]:
        """(row number, position) → the cells that broke the rule, as they stand in the file."""
        if not pairs:
            return {}
        broken = pl.DataFrame(pairs, schema=BROKEN, orient="row")
        return broken_cells(self.raw, broken, {f.rule.position: f.rule for f in findings})

    def _cell_text(self, cell: dict[str, str | None]) -> str:
        names = self.raw.header.names
        column = self.raw.header.spelling(cell["column"]) if cell["column"] in names else cell["column"]
        return f"{column or 'field'} {cell['value']!r}"


def _metadata(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_metadata(path)


def _rows_with_nulls(path: Path) -> np.ndarray:
    """(n,) numbers of the rows of a Parquet file that lack a value; as a rule its metadata tells: none."""
    found = _metadata(path)
    columns = (
        found.row_group(g).column(c) for g in range(found.num_row_groups) for c in range(found.num_columns)
    )
    if all(column.statistics is not None and column.statistics.null_count == 0 for column in columns):
        return np.empty(0, np.int64)
    rows = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    lost = rows.filter(pl.any_horizontal(pl.all().is_null())).select(ROW_NUMBER)
    return lost.collect(engine="streaming")[ROW_NUMBER].to_numpy()


def _broken_rows(findings: Sequence[Finding]) -> pl.DataFrame:
    """(row_number, position), one row per row of the file and rule that it broke."""
    parts = [
        pl.DataFrame({ROW_NUMBER: f.row_numbers}, schema={ROW_NUMBER: pl.Int64}).with_columns(
            pl.lit(f.rule.position, pl.Int64).alias("position")
        )
        for f in findings
    ]
    return pl.concat([pl.DataFrame(schema=BROKEN), *parts])


def _stored(name: str, dtype: type[pl.DataType]) -> pl.Expr:
    """The column in its stored type; null where it does not fit, as with 1.5 for an integer."""
    column = pl.col(name)
    if dtype.is_integer():
        return pl.when(column == column.round()).then(column.cast(dtype, strict=False)).alias(name)
    return column.cast(dtype, strict=False)


def _column_name(column: str) -> str | None:
    """The regular column that a rule speaks of; None where it speaks of several, or of the file."""
    meant = CLIENT_ID if column in ID_HELPERS else OUTCOME if column == MISSING_LABEL else column
    return meant if meant in (*CLIENT_SCHEMA, OUTCOME) else None
