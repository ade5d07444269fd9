"""Evidently's two pages: data drift against the reference sample, and classification performance.

Evidently fails on all-null columns and on months of one class; each such case is settled before it
is called, and the page then says in words what could not be computed. Its own PSI uses equal-width
bins, so the headline figures are ours (`stability.html`); this page is for looking closer.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import polars as pl

from creditflow.columns import ATTRIBUTES, CODE_NAMES, OUTCOME
from creditflow.version import code_version

if TYPE_CHECKING:
    import pandas as pd
    from evidently import Dataset, Report
    from evidently.core.container import MetricOrContainer
    from evidently.core.report import Context
    from evidently.presets import DataDriftPreset

# Distances, not p-values: their verdict does not change with the number of rows in a sample. They are what
# Evidently itself takes above 1,000 rows; named here so that a small month is judged by the same measure.
NUMERICAL_TEST, CATEGORICAL_TEST = "wasserstein", "jensenshannon"
PD_CUT: Final = 0.5
Kind = Literal["drift", "performance"]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvidentlyPage:
    """What came of one page: why it could not be computed, or what to know when reading it."""

    name: str
    title: str
    reason: str | None
    notes: list[str]

    @property
    def file_name(self) -> str:
        return f"{self.name}.html"


@dataclass(frozen=True)
class Whole:
    """How many clients each side has, of which the frames may be a sample."""

    current: int
    reference: int


@dataclass(frozen=True)
class Job:
    """One page to be drawn.

    Args:
        path: where the page goes; nothing is written when what comes of it carries a reason.
        current, reference: one row a client. Of a drift page the attributes and `pd`; of a performance page
            `pd` and `defaulted`, of the month those whose outcome is known.
        whole: how many clients they were taken from.
        earlier: where an earlier such page may lie; it is kept where it was drawn from the same.
    """

    kind: Kind
    path: Path
    month: str
    current: pl.DataFrame
    reference: pl.DataFrame | None
    whole: Whole
    earlier: Path | None = None

    def draw(self) -> EvidentlyPage:
        return drift_page(self) if self.kind == "drift" else performance_page(self)


# --- The two pages --------------------------------------------------------------------------------


def drift_page(job: Job) -> EvidentlyPage:
    """Writes Evidently's data drift report of the month against the reference sample."""
    title, current, reference = title_of("drift", job.month), job.current, job.reference
    reason = _drift_reason(current, reference)
    if reason is not None or reference is None:
        return EvidentlyPage("drift", title, reason, [])
    columns, left_out = comparable(current, reference)
    notes = [
        _rows_note(current, reference, job.whole),
        f"Distances by {NUMERICAL_TEST} (amounts, age, PD) and {CATEGORICAL_TEST} (codes); "
        "a column drifts from 0.1.",
        *([f"Left out, empty or absent on one side: {', '.join(left_out)}."] if left_out else []),
    ]
    if not columns:
        return EvidentlyPage("drift", title, "every column is empty or absent on one side", [])
    page = EvidentlyPage("drift", title, None, notes)
    shown = [unlinked(side, columns) for side in (current, reference)]
    return _kept_or_written(job, page, shown, lambda: _drift_html(columns, current, reference))


def performance_page(job: Job) -> EvidentlyPage:
    """Writes Evidently's classification report of the month's outcomes beside the reference sample's."""
    month, current, reference = job.month, job.current, job.reference
    title = title_of("performance", month)
    if current.is_empty():
        return EvidentlyPage("performance", title, f"outcomes for {month} not yet received", [])
    single = one_class(current)
    if single is not None:
        return EvidentlyPage("performance", title, f"in {month} {single}", [])
    unusable = "none was handed over" if reference is None else one_class(reference)
    beside = None if unusable else reference
    notes = [
        _rows_note(current, beside, job.whole),
        f"A client counts as predicted to default from a PD of {PD_CUT:g}.",
        *([f"Shown without a reference sample: {unusable}."] if unusable else []),
    ]
    page = EvidentlyPage("performance", title, None, notes)
    shown = [None if side is None else side.select("pd", OUTCOME) for side in (current, beside)]
    return _kept_or_written(job, page, shown, lambda: _performance_html(current, beside))


def title_of(name: Kind, month: str) -> str:
    """What the page of that name is called."""
    titles = {
        "drift": f"Data drift of {month} against the reference sample",
        "performance": f"Classification performance of {month}",
    }
    return titles[name]


# --- Guards ---------------------------------------------------------------------------------------


def _drift_reason(current: pl.DataFrame, reference: pl.DataFrame | None) -> str | None:
    if reference is None or reference.is_empty():
        return "the champion's reference sample is not available"
    return "no client was scored" if current.is_empty() else None


def comparable(current: pl.DataFrame, reference: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The attributes and PD that hold a value on both sides, and those that do not."""
    names = [*(a.name for a in ATTRIBUTES), "pd"]
    good = [n for n in names if _holds_values(current, n) and _holds_values(reference, n)]
    return good, [n for n in names if n not in good]


def _holds_values(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and frame[name].cast(pl.Float64).is_finite().any()


def one_class(frame: pl.DataFrame) -> str | None:
    """Why the frame cannot carry a classification report; None when it can."""
    if OUTCOME not in frame.columns or "pd" not in frame.columns:
        return "outcomes or PDs are not part of the sample"
    known = frame[OUTCOME].drop_nulls()
    if known.is_empty():
        return "no outcome is known"
    if known.n_unique() == 1:
        what = "a default" if known[0] == 1 else "no default"
        return f"every one of the {known.len():,} known outcomes is {what}; the report needs both classes"
    return None


def _rows_note(current: pl.DataFrame, reference: pl.DataFrame | None, whole: Whole) -> str:
    """How many clients stand behind the page, and of how many they are a sample."""
    pairs = [(current.height, whole.current, "clients of the month")]
    if reference is not None:
        pairs.append((reference.height, whole.reference, "clients of the reference sample"))
    sides = [f"{'all ' if n == of else f'{n:,} of the '}{of:,} {what}" for n, of, what in pairs]
    sampled = " (a seeded sample)" if any(n < of for n, of, _ in pairs) else ""
    return f"Computed on {' against '.join(sides)}{sampled}."


# --- Evidently itself -----------------------------------------------------------------------------


def _drift_html(columns: list[str], current: pl.DataFrame, reference: pl.DataFrame) -> str:
    preset, now, then = drift_parts(columns, current, reference, drawn_only=True)
    from evidently import Report

    return _html(Report([preset]), now, then)


def drift_parts(
    columns: list[str], current: pl.DataFrame, reference: pl.DataFrame, *, drawn_only: bool = False
) -> tuple["DataDriftPreset", "Dataset", "Dataset"]:
    """Evidently's preset of the drift report and both sides as it takes them.

    Args:
        drawn_only: without the metrics that the report's page does not show.
    """
    silence()
    from evidently import DataDefinition, Dataset
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(
        numerical_columns=[c for c in columns if c not in CODE_NAMES],
        categorical_columns=[c for c in columns if c in CODE_NAMES],
    )
    kind = _drawn_drift() if drawn_only else DataDriftPreset
    preset = kind(columns=columns, num_method=NUMERICAL_TEST, cat_method=CATEGORICAL_TEST)
    now, then = (
        Dataset.from_pandas(to_pandas_columns(unlinked(side, columns), columns), definition)
        for side in (current, reference)
    )
    return preset, now, then


@cache
def _drawn_drift() -> type["DataDriftPreset"]:
    """The preset for a page alone: it draws its columns from a table that measures them by itself.

    The values that a snapshot keeps of each column besides took a third of the time.
    """
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    class DrawnDrift(DataDriftPreset):
        def generate_metrics(self, context: "Context") -> "Sequence[MetricOrContainer]":
            return [m for m in super().generate_metrics(context) if not isinstance(m, ValueDrift)]

    return DrawnDrift


def _performance_html(current: pl.DataFrame, reference: pl.DataFrame | None) -> str:
    silence()
    from evidently import BinaryClassification, DataDefinition, Dataset, Report
    from evidently.presets import ClassificationPreset

    columns = ["pd", OUTCOME]
    task = BinaryClassification(target=OUTCOME, prediction_probas="pd", pos_label=1)
    definition = DataDefinition(classification=[task])
    now = Dataset.from_pandas(to_pandas_columns(current.drop_nulls(columns), columns), definition)
    then = None
    if reference is not None:
        then = Dataset.from_pandas(to_pandas_columns(reference.drop_nulls(columns), columns), definition)
    return _html(Report([ClassificationPreset(probas_threshold=PD_CUT)]), now, then)


def _html(report: "Report", current: "Dataset", reference: "Dataset | None") -> str:
    # Without a file name the snapshot gives the whole self-contained page as text.
    return str(report.run(current, reference).get_html_str(as_iframe=False))


def silence() -> None:
    # Evidently reads this when it is imported; the bank's machine calls nobody.
    os.environ["DO_NOT_TRACK"] = "1"


def unlinked(side: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns, each in an order of its own.

    Evidently draws each column's mean in 150 stretches of rows: of a month of so few clients it would keep
    the clients themselves, row by row. Drift is measured column by column and knows no order.
    """
    return side.select(pl.col(name).shuffle(seed=place) for place, name in enumerate(columns))


def to_pandas_columns(frame: pl.DataFrame, columns: list[str]) -> "pd.DataFrame":
    """Evidently takes pandas; codes and outcomes as plain integers where none is missing."""
    return frame.select(columns).to_pandas()


# --- A page that has nothing new to say is kept ---------------------------------------------------
# Outcomes come a month after the scores, and have a month's pack made anew; its drift is what it was.


def _kept_or_written(
    job: Job, page: EvidentlyPage, shown: Sequence[pl.DataFrame | None], build: Callable[[], str]
) -> EvidentlyPage:
    drawn_from = _digest(page, shown)
    if _keep(job, drawn_from):
        return page
    return _written(job, page, drawn_from, build)


def _digest(page: EvidentlyPage, sides: Sequence[pl.DataFrame | None]) -> str:
    """SHA-256 of all that decides what a page shows: what Evidently is given, its version and our code."""
    digest = hashlib.sha256()
    versions = [code_version(), version("evidently"), version("plotly")]
    digest.update(json.dumps([page.name, page.title, page.notes, *versions]).encode())
    for side in sides:
        content = b"" if side is None else side.rechunk().write_ipc_stream(None).getvalue()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def _signed(html: str, drawn_from: str) -> bytes:
    """The page with a last line that says what it was drawn from, and its own sum."""
    content = html.encode()
    return content + _signature(content, drawn_from)


def _signature(content: bytes, drawn_from: str) -> bytes:
    return f"\n<!-- {drawn_from} {hashlib.sha256(content).hexdigest()} -->\n".encode()


def _keep(job: Job, drawn_from: str) -> bool:
    """Copies the page that was drawn earlier from the same; False where there is none."""
    if job.earlier is None or not job.earlier.is_file():
        return False
    found = job.earlier.read_bytes()
    content = found[: -len(_signature(b"", drawn_from))]
    if found != content + _signature(content, drawn_from):
        return False
    job.path.write_bytes(found)
    return True


# --- Our frame around the page --------------------------------------------------------------------

_BANNER: Final = """<style>
.creditflow{{font:14px/1.5 system-ui,sans-serif;padding:12px 20px;border-bottom:1px solid #d9dde4;
background:#f5f6f8;color:#1b2230}}.creditflow a{{color:#0b5394}}.creditflow p{{margin:6px 0 0}}
@media (prefers-color-scheme:dark){{.creditflow{{background:#1c222c;color:#e4e8ee;border-color:#343d4b}}
.creditflow a{{color:#7cc0f4}}}}</style>
<header class="creditflow"><nav aria-label="Where you are"><a href="../index.html">All months</a> ›
<a href="index.html">{month}</a> › {title}</nav><p>{notes}</p></header>"""


def _written(job: Job, page: EvidentlyPage, drawn_from: str, build: Callable[[], str]) -> EvidentlyPage:
    """Writes the built page in our frame; a failure inside Evidently becomes the page's reason.

    The month is scored by then, and a third-party picture must not hold its publication back.
    """
    try:
        html = build()
    except Exception as error:
        _LOG.exception("Evidently could not build %s", job.path.name)
        return replace(
            page, reason=f"Evidently could not compute it ({type(error).__name__}: {error})", notes=[]
        )
    job.path.write_bytes(_signed(_framed(html, job.month, page), drawn_from))
    return page


def _framed(html: str, month: str, page: EvidentlyPage) -> str:
    """Evidently's page with a title, the way back and the notes on top of it."""
    banner = _BANNER.format(month=escape(month), title=escape(page.title), notes=escape(" ".join(page.notes)))
    html = html.replace(
        '<meta charset="UTF-8">', f'<meta charset="UTF-8"><title>{escape(page.title)}</title>', 1
    )
    return re.sub(r'<body>(?=\s*<div id="root_)', lambda _: f"<body>{banner}", html, count=1)
