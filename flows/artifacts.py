"""Prefect artifacts of a monthly run: a summary, the distribution of its scores, a link to its report pack.

Their keys carry the month, so that the server keeps the history of each. No client's data is in them.
"""

import logging
from dataclasses import dataclass
from html import escape
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

from creditflow.month import Month
from sql.warehouse import execute, open_published
from tasks.home import Home

_log = logging.getLogger("creditflow.artifacts")
# What Markdown or HTML would take for its own.
_MARKUP = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()#+!|~"})


def record_artifacts(home: Home, month: Month, summary: str, report_url: str | None = None) -> list[UUID]:
    """Makes the artifacts of a month that was published; none where no flow run is going on.

    Args:
        report_url: where a web server shows `published/reports`.

    Returns:
        The artifacts' identities, in the order summary, scores, pack.
    """
    if FlowRunContext.get() is None:
        return []
    # A server that is lost now must not make a failure of a month that is published.
    try:
        return _create(home, month, summary, report_url)
    except (OSError, HTTPError, PrefectException) as error:
        _log.warning("%s: artifacts were not made: %s", month, " ".join(str(error).split()))
        return []


def _create(home: Home, month: Month, summary: str, report_url: str | None) -> list[UUID]:
    grades = _grades(home, month)
    link = _link(home, month, report_url)
    return [
        cast(UUID, made)
        for made in (
            create_markdown_artifact(
                key=f"summary-{month}",
                markdown=_markdown(month, summary, grades),
                description=f"The run of {month}",
            ),
            create_table_artifact(
                key=f"scores-{month}", table=_table(grades), description=f"Scores of {month} by grade"
            ),
            create_link_artifact(
                key=f"pack-{month}",
                link=link,
                link_text=f"Report pack of {month}",
                description=f"The report pack of {month}: {link}",
            ),
        )
    ]


# ── What they say ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Grade:
    """One grade of the champion's scores. `mean_pd` lies in 0…1."""

    grade: str
    clients: int
    mean_pd: float
    points_low: int
    points_high: int


def _grades(home: Home, month: Month) -> list[Grade]:
    with open_published(home.published) as con:
        return [Grade(*row) for row in execute(con, "scores_by_grade", month=str(month))]


def _markdown(month: Month, summary: str, grades: list[Grade]) -> str:
    clients = sum(grade.clients for grade in grades)
    mean = sum(grade.clients * grade.mean_pd for grade in grades) / clients if clients else None
    scored = f"{clients:,} clients scored, mean PD {mean:.2%}" if mean is not None else "No client scored"
    parts = "\n".join(f"- {in_markdown(part)}" for part in summary.split("; "))
    return f"# {month}\n\n{scored}.\n\n{parts}\n"


def _table(grades: list[Grade]) -> list[dict[str, Any]]:
    """Prefect refuses a table without rows."""
    clients = sum(grade.clients for grade in grades)
    return [
        {
            "grade": grade.grade,
            "clients": grade.clients,
            "share": f"{grade.clients / clients:.1%}",
            "mean PD": f"{grade.mean_pd:.2%}",
            "points": f"{grade.points_low} to {grade.points_high}",
        }
        for grade in grades
    ] or [{"grade": "none", "clients": 0}]


def _link(home: Home, month: Month, report_url: str | None) -> str:
    page = home.month_page(month)
    if report_url is None:
        return page.as_uri()
    return f"{report_url.rstrip('/')}/{quote(page.relative_to(home.reports).as_posix())}"


def in_markdown(text: str) -> str:
    """The text with everything escaped that Markdown or HTML would take for its own."""
    return escape(" ".join(text.split()).translate(_MARKUP), quote=False)
