"""Measures what a smaller training set costs, and writes docs/training-sample.md.

    python benchmarks/training_sample.py                       a pool of 1,000,000 clients
    python benchmarks/training_sample.py --clients 100000      a smaller one: sizes beyond it are left out

One month is simulated. A fifth of its clients is held out for good. From the others training sets of growing
size are drawn by the monthly run's own rule, so that each holds the one before it, and every model is
developed on each as the monthly run would (60 % of the rows fit, 20 % calibrate, 20 % its own held-out part).
All are measured on the clients held out for good.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import duckdb
import numpy as np
import polars as pl
from machine import machine

from creditflow.columns import OUTCOME
from creditflow.month import Month
from models.develop import DevelopedModel, develop, score_models
from models.discrimination import Interval, auc_difference, auc_interval, brier_difference
from models.registry import MODELS
from models.sample import allocate, bound_on_loss, learning_curve
from models.simulator import SimulationSettings, simulate
from tasks.options import Options

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "training-sample.md"
SIZES = (12_500, 25_000, 50_000, 100_000, 200_000)
FURTHER = (400_000, 800_000)
# The best of each family and their blend; all of them would take as long again.
FURTHER_MODELS = ("logistic", "gradient_boosting", "vae_supervised", "blend")
PACKAGES = ("numpy", "polars", "scikit-learn", "torch")
SEED = Options().seed
LIMIT = Options().training_max_rows
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True)
class Point:
    """One model developed on one training set, measured on the clients held out for good."""

    model: str
    rows: int
    auc: Interval
    score: np.ndarray
    pd: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What the card of a set that learned from the limit's rows says of the largest set's."""

    largest: int
    half_loss: float
    bound: float


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────


def labelled(clients: int) -> pl.DataFrame:
    """One simulated month with outcomes, and every client's lot as the monthly run draws it."""
    (month,) = simulate(SimulationSettings(Month(2026, 1), 1, clients))
    frame = month.clients.with_columns(month.outcomes[OUTCOME], month=pl.lit("2026-01"))
    with duckdb.connect() as con:
        con.register("clients", frame)
        lots = "md5_number_lower(concat_ws('|', $seed, month, client_id)) AS lot"
        return con.sql(f"SELECT *, {lots} FROM clients ORDER BY client_id", params={"seed": str(SEED)}).pl()


def sampled(pool: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Each outcome's share of `rows` by the smallest lots."""
    strata = pool.group_by(OUTCOME).len().sort(OUTCOME)
    given = allocate({("2026-01", outcome): count for outcome, count in strata.iter_rows()}, rows)
    chosen = [
        pool.filter(pl.col(OUTCOME) == outcome).sort("lot").head(count)
        for (_, outcome), count in given.items()
    ]
    return pl.concat(chosen).drop("lot")


def measured(pool: pl.DataFrame, test: pl.DataFrame) -> Iterator[Point]:
    """Every model on every size that the pool holds, smallest first."""
    for rows in (size for size in (*SIZES, *FURTHER) if size <= pool.height):
        names = tuple(MODELS) if rows in SIZES else FURTHER_MODELS
        started = time.perf_counter()
        fitted = {model.name: model for model in develop(sampled(pool, rows), seed=SEED, names=names)}
        print(f"{rows:,} rows: {time.perf_counter() - started:.0f} s", flush=True)
        yield from _points(fitted, rows, test)


def _points(fitted: dict[str, DevelopedModel], rows: int, test: pl.DataFrame) -> Iterator[Point]:
    y = test[OUTCOME].to_numpy()
    for name, scores in score_models(fitted, test).items():
        pd = scores["pd"].to_numpy()
        # AUC by the raw score: isotonic PDs tie clients.
        score = scores["score"].to_numpy()
        yield Point(name, rows, auc_interval(y, score), score, pd, fitted[name].fit_seconds or 0.0)


def forecast(pool: pl.DataFrame, points: list[Point]) -> Forecast | None:
    """What the card would say; None where nothing larger than the limit was measured, or it says nothing."""
    largest = max(point.rows for point in points)
    if largest <= LIMIT:
        return None
    half = learning_curve(sampled(pool, LIMIT), seed=SEED, attributes="unprotected")[1]
    bound = bound_on_loss(half, largest, LIMIT)
    return None if half.loss is None or bound is None else Forecast(largest, half.loss, bound)


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def page(points: list[Point], test: pl.DataFrame, found: Forecast | None, clients: int) -> str:
    """The report, as Markdown."""
    y = test[OUTCOME].to_numpy()
    lines = [
        "# How many client-months a model needs",
        "",
        f"Written by `python benchmarks/training_sample.py --clients {clients}`; every figure is measured, "
        "none is typed.",
        "",
        f"{machine(PACKAGES)}.",
        "",
        "## The rule",
        "",
        f"A set of models learns from at most `training_max_rows` client-months ({LIMIT:,} unless set "
        "otherwise). Where more have outcomes, each stratum of month and outcome gives its share of them, "
        "rounded by the largest remainder, and within a stratum the clients with the smallest lots are "
        "taken: the lower half of the MD5 sum of seed, month and client. So the sample has the pool's months "
        "and default rate, is the same on every machine, and a larger limit only adds to it. DuckDB draws it "
        "a month at a time: a first pass counts lots in 4,096 ranges, a second reads the rows below the last "
        "range that is reached. Pool and sample are on every model card, by month and outcome.",
        "",
        "## What it costs",
        "",
        f"{clients:,} simulated clients of one month; {test.height:,} of them "
        f"({int(y.sum()):,} defaulters) held out for good. Each training set holds the one before it. ROC "
        "AUC with DeLong's 95 % interval; differences are to the same model's largest set, on the same "
        "clients, with the 95 % interval of the paired difference (DeLong's for ROC AUC, the normal one of "
        "the paired mean for the Brier score). They tell how far the choice of test clients moves a "
        "difference, not how far another draw of the training set would.",
    ]
    of_models = {name: [p for p in points if p.model == name] for name in MODELS}
    for of_model in filter(None, of_models.values()):
        lines += _table(of_model, y)
    if found:
        lines += _forecast(found, _at_the_limit(of_models.values(), found.largest, y))
    return "\n".join([*lines, ""])


def _table(points: list[Point], y: np.ndarray) -> list[str]:
    largest = points[-1]
    return [
        "",
        f"### {MODELS[largest.model].title}",
        "",
        "| rows | ROC AUC | less than the largest | Brier score | more than the largest | fit, s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(point, largest, y) for point in points),
    ]


def _row(point: Point, largest: Point, y: np.ndarray) -> str:
    brier = f"{float(np.mean((y - point.pd) ** 2)):.5f}"
    auc = f"{point.auc.value:.4f} ({point.auc.low:.4f} to {point.auc.high:.4f})"
    if point is largest:
        return f"| {point.rows:,} | {auc} | | {brier} | | {point.seconds:.1f} |"
    area, gap = auc_difference(y, largest.score, point.score), brier_difference(y, point.pd, largest.pd)
    return (
        f"| {point.rows:,} | {auc} | {area.difference:.4f} ({area.low:.4f} to {area.high:.4f}) | {brier} | "
        f"{gap.value:.5f} ({gap.low:.5f} to {gap.high:.5f}) | {point.seconds:.1f} |"
    )


def _at_the_limit(models: Iterable[list[Point]], largest: int, y: np.ndarray) -> list[str]:
    """What the limit costs each model that learned from the largest set, too."""
    rows = []
    for by_rows in ({point.rows: point for point in points} for points in models):
        if LIMIT in by_rows and largest in by_rows:
            area = auc_difference(y, by_rows[largest].score, by_rows[LIMIT].score)
            title = MODELS[by_rows[LIMIT].model].title
            rows.append(f"| {title} | {area.difference:.5f} ({area.low:.5f} to {area.high:.5f}) |")
    return rows


def _forecast(found: Forecast, rows: list[str]) -> list[str]:
    return [
        "",
        "## What the limit costs, and what a card says of it",
        "",
        "Where the sample was cut, the development fits logistic regression again on half and on a quarter "
        "of its fit rows. If no further doubling adds more than the last one did, the rows left out would "
        "add at most that gain times the doublings that are left. That is said of logistic regression, "
        "which is fitted in seconds; a network may gain from more rows for longer.",
        "",
        f"With {LIMIT:,} rows the last doubling added {found.half_loss:.5f} of held-out ROC AUC, so that "
        f"{found.largest:,} rows would add at most {found.bound:.5f}. Measured on the clients held out for "
        "good:",
        "",
        f"| model | ROC AUC that {found.largest:,} rows add to {LIMIT:,} |",
        "| --- | ---: |",
        *rows,
    ]


def main() -> None:
    """Measures a pool of the size given and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    clients = labelled(arguments.clients)
    # The highest lots are the last ones that any sample takes.
    test = clients.sort("lot").tail(round(HELD_OUT_SHARE * clients.height)).drop("lot")
    pool = clients.sort("lot").head(clients.height - test.height)
    points = list(measured(pool, test))
    arguments.page.write_text(page(points, test, forecast(pool, points), arguments.clients), "utf-8")
    print(arguments.page.read_text("utf-8"))


if __name__ == "__main__":
    main()
