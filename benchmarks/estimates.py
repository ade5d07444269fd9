"""Holds estimated performance against realised, and writes the measured part of docs/estimates.md.

    python benchmarks/estimates.py FILE    the UCI data set, in any of its spellings

The data set is split into six months and a portfolio of eight months is simulated; each is backfilled in a
home of its own, as the command line does it. What was estimated when a month was scored is then held against
what its outcomes showed.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from creditflow.version import code_version
from models.estimate import expected_confusion
from models.metrics import threshold_metrics
from sql.warehouse import open_published
from tasks.home import Home

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "estimates.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
SETTINGS = {"CREDITFLOW_EVIDENTLY": "false"}
COMPARED = ("roc_auc", "ks", "average_precision", "brier", "observed_rate")
FIGURES = """
    SELECT
        e.month, e.model, e.metric, e.basis, e.clients, e.value AS estimated, r.value AS realised,
        (SELECT any_value(is_champion) FROM scores WHERE (month, model) = (e.month, e.model)) AS champion,
        d.value AS deviation
    FROM performance AS e
    INNER JOIN performance AS r
        ON r.sample = 'realised' AND (e.month, e.model, e.metric) = (r.month, r.model, r.metric)
    LEFT JOIN performance AS d
        ON d.sample = 'estimated' AND d.metric = 'roc_auc_sd' AND (e.month, e.model) = (d.month, d.model)
    WHERE e.sample = 'estimated'
    ORDER BY e.month, e.model, e.metric
"""
DECISIONS = """
    SELECT s.month, s.pd, s.defaulted, m.cut_off
    FROM champion_scores AS s
    INNER JOIN models AS m ON s.model = m.model AND s.version = m.version
    WHERE s.defaulted IS NOT NULL AND s.basis = 'live'
    ORDER BY s.month, s.client_id
"""


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────


def creditflow(home: Path, *arguments: str) -> None:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    env = os.environ | SETTINGS | {"CREDITFLOW_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments], env=env, cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode not in (0, 3):  # 3: done, with critical alerts
        raise RuntimeError(f"{arguments} failed: {done.stderr[-2000:]}")


def backfilled(home: Path, first: str, last: str, *source: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Figures, and decisions, of a home that is filled and backfilled now."""
    creditflow(home, *source)
    creditflow(home, "backfill", first, last, "--reason", "estimates held against outcomes")
    with open_published(Home(home).published) as con:
        return con.sql(FIGURES).pl(), con.sql(DECISIONS).pl()


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────


def champion_table(figures: pl.DataFrame) -> list[str]:
    """One row a month: the champion's estimate beside the truth, and how many deviations lie between."""
    lines = [
        "| month | scored | clients | AUC estimated | AUC realised | off, in ± | KS | Brier | default rate |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (month,), rows in figures.filter("champion").group_by("month", maintain_order=True):
        by = {row["metric"]: row for row in rows.to_dicts()}
        auc = by["roc_auc"]
        pairs = [
            f"{by[m]['estimated']:.4f} / {by[m]['realised']:.4f}" for m in ("ks", "brier", "observed_rate")
        ]
        off = (auc["realised"] - auc["estimated"]) / auc["deviation"]
        lines.append(
            f"| {month} | {auc['basis'].replace('_', '-')} | {auc['clients']:,} | {auc['estimated']:.4f} ± "
            f"{auc['deviation']:.4f} | {auc['realised']:.4f} | {off:+.1f} | {' | '.join(pairs)} |"
        )
    return lines


def model_table(figures: pl.DataFrame) -> list[str]:
    """One row a model: mean absolute difference over the months that it scored live."""
    live = figures.filter(pl.col("basis") == "live", pl.col("metric").is_in(COMPARED))
    off = live.with_columns(off=(pl.col("realised") - pl.col("estimated")).abs())
    wide = off.group_by("model", "metric").agg(pl.col("off").mean(), months=pl.len())
    lines = [
        "| model | months | AUC | KS | average precision | Brier | default rate |",
        "| --- " + "| ---: " * 6 + "|",
    ]
    for (model,), rows in wide.sort("model").group_by("model", maintain_order=True):
        by = {row["metric"]: row for row in rows.to_dicts()}
        lines.append(
            f"| {model} | {by['roc_auc']['months']} | "
            + " | ".join(f"{by[m]['off']:.4f}" for m in COMPARED)
            + " |"
        )
    return lines


def decision_table(decisions: pl.DataFrame) -> list[str]:
    """One row a month that was scored live: precision and recall at the champion's cut-off."""
    lines = ["| month | cut-off | precision | recall |", "| --- | ---: | ---: | ---: |"]
    for (month, cut_off), rows in decisions.group_by("month", "cut_off", maintain_order=True):
        expected = expected_confusion(rows["pd"], cut_off)
        truth = threshold_metrics(rows["defaulted"], rows["pd"], cut_off).classes[1]
        pairs = ((expected.precision, truth.precision), (expected.recall, truth.recall))
        cells = [" / ".join("none" if m.value is None else f"{m.value:.3f}" for m in pair) for pair in pairs]
        lines.append(f"| {month} | {cut_off:.3f} | {' | '.join(cells)} |")
    return lines


def section(title: str, figures: pl.DataFrame, decisions: pl.DataFrame) -> list[str]:
    return [
        f"### {title}\n",
        "The champion; pairs are estimated / realised:\n",
        *champion_table(figures),
        "\nAt the champion's cut-off, in months scored live; estimated / realised:\n",
        *decision_table(decisions),
        "\nEvery model: mean absolute difference between the two, over the months scored live:\n",
        *model_table(figures),
        "",
    ]


def page(text: str, measured: list[str]) -> str:
    """The page with its measured part replaced."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n".join(measured) + "\n" + END + rest.partition(END)[2]


def main(file: str) -> None:
    """Measures both portfolios and writes the page."""
    with tempfile.TemporaryDirectory() as folder:
        uci = backfilled(Path(folder) / "uci", "2005-04", "2005-09", "import-uci", str(Path(file).resolve()))
        simulated = backfilled(
            Path(folder) / "simulated", "2026-01", "2026-08", "simulate", "--months", "8", "--clients", "5000"
        )
    measured = [
        f"Written by `python benchmarks/estimates.py FILE`; every figure is measured, none is typed. "
        f"{platform.machine()}, Python {platform.python_version()}, code {code_version()}.\n",
        *section("UCI data set, split into six months by ID", *uci),
        *section("Simulated portfolio, eight months", *simulated),
    ]
    PAGE.write_text(page(PAGE.read_text("utf-8"), measured), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
