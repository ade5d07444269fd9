"""docs/estimates.md and the benchmark that writes its measured part."""

import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.estimate import ESTIMATED_NAMES, estimated_metrics
from models.metrics import classification_metrics

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "estimates.md").read_text("utf-8")


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("estimates")


@pytest.fixture(scope="module")
def month():
    """PDs and outcomes of a month, as `FIGURES` and `DECISIONS` give them."""
    rng = np.random.default_rng(3)
    pd = rng.beta(1.2, 4.5, 2000)
    defaulted = (rng.random(2000) < pd).astype(int)
    estimated, truth = estimated_metrics(pd), classification_metrics(defaulted, pd)
    figures = pl.DataFrame(
        {
            "month": "2005-04",
            "model": "logistic",
            "metric": name,
            "basis": "live",
            "clients": 2000,
            "estimated": estimated[name].value,
            "realised": metric.value,
            "champion": True,
            "deviation": estimated["roc_auc_sd"].value,
        }
        for name, metric in truth.items()
    )
    return figures, pl.DataFrame({"month": "2005-04", "pd": pd, "defaulted": defaulted, "cut_off": 0.2})


@pytest.mark.parametrize("name", [name for name in ESTIMATED_NAMES if name != "mean_pd"])
def test_every_estimated_metric_is_explained(name):
    assert f"| `{name}` |" in PAGE


def test_measured_part_is_that_of_the_benchmark(benchmark):
    measured = PAGE.partition(benchmark.BEGIN)[2].partition(benchmark.END)[0]
    assert measured.startswith("Written by `python benchmarks/estimates.py FILE`")
    assert benchmark.page(PAGE, measured.rstrip("\n").split("\n")).split() == PAGE.split()
    # The two portfolios; the last month of each has no outcomes yet, so five and seven months.
    assert measured.count("±") - measured.count("in ±") == 5 + 7


def test_tables_hold_the_estimate_beside_the_truth(benchmark, month):
    figures, decisions = month
    text = "\n".join(benchmark.section("Title", figures, decisions))
    auc = figures.filter(pl.col("metric") == "roc_auc").row(0, named=True)
    assert f"{auc['estimated']:.4f} ± {auc['deviation']:.4f} | {auc['realised']:.4f}" in text
    assert f"| logistic | 1 | {abs(auc['estimated'] - auc['realised']):.4f} |" in text
    flagged = decisions.filter(pl.col("pd") >= 0.2)
    assert f"| 2005-04 | 0.200 | {flagged['pd'].mean():.3f} / {flagged['defaulted'].mean():.3f} |" in text


def test_only_the_measured_part_is_replaced(benchmark):
    text = f"before\n{benchmark.BEGIN}old\n{benchmark.END}\nafter\n"
    assert benchmark.page(text, ["new"]) == f"before\n{benchmark.BEGIN}new\n{benchmark.END}\nafter\n"
