"""The pages in headless Chromium, from file://: no error, no request beyond the file, charts drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from creditflow.month import Month
from tasks.reports.cards import build_cards
from tasks.reports.pack import build_month_pack, build_overview

pytestmark = pytest.mark.browser
OURS = [
    ("index.html", 4),
    ("2005-03/index.html", 0),
    ("2005-04/index.html", 1),
    ("2005-05/index.html", 1),
    ("2005-04/data-quality.html", 0),
    ("2005-05/stability.html", 4),
    ("2005-05/performance.html", 0),
    ("models/index.html", 0),
    ("models/reasons.html", 0),
    ("models/2005-04-1f0c9a7e/vae_supervised.html", 0),
]


@pytest.fixture(scope="module")
def published(stored: Path, tmp_path_factory: pytest.TempPathFactory, reference: pl.DataFrame) -> Path:
    reports = tmp_path_factory.mktemp("published") / "reports"
    with duckdb.connect(str(stored), read_only=True) as con:
        # No artifact lies there: the cards say so, and open all the same.
        build_cards(con, reports, reports.parent)
        for month in (3, 4, 5):
            build_month_pack(con, Month(2005, month), reports, reference=reference)
        build_overview(con, reports)
    return reports


@pytest.mark.parametrize(("page", "charts"), OURS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1280), (True, 400)])
def test_our_pages_open_offline(
    published: Path, open_page: Callable[..., Any], page: str, charts: int, dark: bool, width: int
) -> None:
    seen = open_page(published / page, counts=("svg[role=img]",), dark=dark, width=width)
    assert seen.errors == []
    assert [r for r in seen.requests if not r.startswith(("file:", "data:"))] == []
    assert seen.counts["svg[role=img]"] == charts
    assert seen.overflow <= 0, "the page itself scrolls sideways"
    assert "creditflow" in seen.text


@pytest.mark.parametrize(
    ("page", "click"),
    [
        # A row of the drift table holds small canvases; its plot is drawn when the row is opened.
        ("2005-04/drift.html", "button[aria-label='Detail panel visibility toggle']"),
        ("2005-05/drift.html", "button[aria-label='Detail panel visibility toggle']"),
        ("2005-04/performance.html", None),
    ],
)
def test_evidently_pages_open_offline_with_their_plots(
    published: Path, open_page: Callable[..., Any], page: str, click: str | None
) -> None:
    plots = ".js-plotly-plot .main-svg"
    drawn = f"{plots} .trace, {plots} .hm, {plots} .scatterlayer path"
    seen = open_page(published / page, counts=(drawn, "tbody canvas"), click=click, wait_for=plots)
    assert seen.errors == []
    assert [r for r in seen.requests if not r.startswith(("file:", "data:", "blob:"))] == []
    assert seen.counts[drawn] > 0
    assert seen.counts["tbody canvas"] == (20 if click else 0)
    assert "All months" in seen.text
    assert "clients of the reference sample" in seen.text


def test_markup_in_the_data_is_read_as_text(published: Path, open_page: Callable[..., Any]) -> None:
    seen = open_page(published / "2005-04/data-quality.html", counts=("script", "img"))
    assert "<script>alert(1)</script>" in seen.text
    assert seen.counts == {"script": 1, "img": 0}


A4 = (595, 842)
_VAE = {
    "averaging": 0.995, "batch_size": 512, "beta": 1.0, "categorical_features": [68, 69, 70, 71, 72, 73, 74],
    "decoder_units": 64, "device": "auto", "dropout": 0.15, "elbo_weight": 0.01, "ensemble_size": 4,
    "epochs": 12,
    "gradient_clip": 2.0, "hidden_layers": 2, "hidden_units": 128, "input_noise": 0.1, "knots": 400,
    "latent_dim": 16, "learning_rate": 0.002, "likelihood": "mixed", "random_state": 42, "schedule": "cosine",
    "weight_decay": 0.001,
    "reconstructed_features": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
}  # fmt: skip
_BOOSTING = {
    "classify": "HistGradientBoostingClassifier", "classify__categorical_features": "from_dtype",
    "classify__early_stopping": False, "classify__l2_regularization": 20.0, "classify__learning_rate": 0.02,
    "classify__loss": "log_loss", "classify__max_bins": 255, "classify__max_features": 0.4,
    "classify__max_iter": 300,
    "classify__max_leaf_nodes": 12, "classify__min_samples_leaf": 80, "classify__n_iter_no_change": 10,
    "classify__random_state": 42, "classify__scoring": "loss", "classify__tol": 1e-07,
    "classify__validation_fraction": 0.1, "classify__warm_start": False,
}  # fmt: skip


def _crowd(con: duckdb.DuckDBPyConnection) -> None:
    """Two years of realised months, twenty changes of champion and long reasons, all of one blend."""
    for table in ("models", "performance"):
        con.execute(f"UPDATE {table} SET model = 'blend' WHERE model = 'logistic'")
    for table in ("gate_checks", "promotions"):
        con.execute(f"UPDATE {table} SET model = 'blend'")
    con.execute(
        "INSERT INTO performance BY NAME"
        " SELECT p.* REPLACE (printf('20%02d-%02d', 6 + n // 12, 1 + n % 12) AS month)"
        " FROM performance p, range(24) r(n) WHERE sample = 'realised'"
    )
    con.execute(
        "UPDATE gate_checks SET reason = repeat('a reason in many words ', 7), sample_month = '2005-04'"
    )
    con.execute(
        "INSERT INTO promotions SELECT 'q' || n, '2006-01', 'promote', 'blend', version, 'vae_supervised',"
        " version,"
        " 'the committee preferred it after a long talk', 'A. Long Name of an Analyst', decided_at, NULL"
        " FROM promotions, range(20) r(n)"
    )


def _cut_sample() -> dict[str, object]:
    """A year of which a fraction was learned from."""
    keys = [(f"2004-{month:02d}", outcome) for month in range(1, 13) for outcome in (0, 1)]
    step = {"roc_auc": 0.78, "low": 0.77, "high": 0.79, "loss": 0.001, "loss_low": 0.0001, "loss_high": 0.002}
    return {
        "max_rows": 200_000,
        "pool": 24_000_000,
        "strata": [{"month": m, "defaulted": d, "pool": 1_000_000, "sample": 8_333} for m, d in keys],
        "learning_curve": [{"share": share, "fit_rows": 120_000} | step for share in (0.25, 0.5, 1.0)],
        "auc_loss_at_most": 0.0069,
    }


def test_a_card_prints_on_one_sheet(
    con: duckdb.DuckDBPyConnection,
    root: Path,
    tmp_path: Path,
    reregister: Callable[..., None],
    sheets: Callable[[Path], list[tuple[float, float]]],
) -> None:
    _crowd(con)
    con.execute("UPDATE models SET artifact = replace(artifact, 'logistic', 'blend') WHERE model = 'blend'")
    settings = {"vae_supervised": _VAE, "gradient_boosting": _BOOSTING}
    reregister("blend", settings=settings, facts={"sample": _cut_sample()})
    build_cards(con, tmp_path / "reports", root)
    for name in ("blend", "vae_supervised", "vae_anomaly"):
        page = tmp_path / "reports" / "models" / "2005-04-1f0c9a7e" / f"{name}.html"
        assert [(round(w), round(h)) for w, h in sheets(page)] == [A4], name
    text = (tmp_path / "reports" / "models" / "2005-04-1f0c9a7e" / "blend.html").read_text("utf-8")
    assert "20 earlier months are on the screen" in text
    assert text.count("8,333") == 24
    assert "The artifact could not be read" not in text
