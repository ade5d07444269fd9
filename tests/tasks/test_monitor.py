import numpy as np
import polars as pl
import pytest

from creditflow.month import Month
from models.stability import psi, reference_bins
from tasks.monitor import drift_of, realised_rows


def test_drift_over_batches_is_drift_over_the_whole():
    rng = np.random.default_rng(1)
    bins = {
        "limit_bal": reference_bins(rng.gamma(2, 100, 5000), "amount"),
        "sex": reference_bins([1, 2, 2], "code"),
    }
    month = pl.DataFrame({"limit_bal": rng.gamma(2, 120, 3000), "sex": rng.integers(1, 4, 3000)})
    whole = {name: psi(bins[name], month[name]) for name in bins}
    parts = drift_of(bins, (month.slice(start, 700) for start in range(0, 3000, 700)))
    for name, result in whole.items():
        assert parts[name].value == pytest.approx(result.value, abs=1e-12)
        assert parts[name].bins.equals(result.bins)


def test_month_of_one_class_has_reasons_instead_of_figures():
    truth = pl.DataFrame({"pd": [0.1, 0.2, 0.3], "defaulted": [0, 0, 0]})
    rows = realised_rows(Month(2005, 4), [("logistic", "v", "live", truth)])
    by_metric = {row["metric"]: row for row in rows}
    assert by_metric["roc_auc"]["value"] is None
    assert by_metric["roc_auc"]["reason"]
    assert by_metric["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.09) / 3)
    assert {row["defaulters"] for row in rows} == {0}


def test_no_outcome_known_gives_no_row():
    assert realised_rows(Month(2005, 4), []) == []
