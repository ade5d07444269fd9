"""The VAE's page: what it tells is the model's own, and a month without one is told why."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from creditflow.columns import ATTRIBUTE_NAMES
from creditflow.month import Month
from models.artifacts import save
from models.develop import DevelopedModel, develop
from sql.library import query
from tasks.reports.gather import MonthFacts, gather_month
from tasks.reports.vae import (
    ACTIVE,
    DEFORMED,
    DETECTOR,
    STRANGEST,
    VaeFacts,
    deformed,
    errors,
    gather_vae,
    latent,
    vae_page,
)

AWAITING, REALISED, LIVE = "2005-03", "2005-04", "2005-05"
VERSION = "2005-04-1f0c9a7e"
MARKUP_ID, LONG_LABEL = "<script>alert(1)</script>", "L" * 200
SECTIONS = 5
SEED = 42

# --- A home with a real detector --------------------------------------------------------------------


def development_rows(rows: int) -> pl.DataFrame:
    """Clients whose delays and amounts vary with a risk that decides on the outcome, too."""
    rng = np.random.default_rng(5)
    risk = rng.normal(size=rows)
    codes = {f"pay_{n}": np.clip(np.round(risk + rng.normal(size=rows)), -2, 8) for n in range(1, 7)}
    amounts = {
        name: np.round(rng.lognormal(9.5, 1.0, rows))
        for name in ATTRIBUTE_NAMES
        if "amt" in name or "limit" in name
    }
    others = {
        name: rng.integers(1, high, rows) for name, high in (("sex", 3), ("education", 5), ("marriage", 4))
    }
    frame = pl.DataFrame(
        {"client_id": [f"D{n:05d}" for n in range(rows)]}
        | codes
        | amounts
        | others
        | {"age": rng.integers(21, 75, rows)}
    )
    return frame.with_columns(
        defaulted=pl.Series((rng.random(rows) < 1 / (1 + np.exp(1 - risk))).astype(np.int8))
    )


@pytest.fixture(scope="module")
def developed() -> DevelopedModel:
    (model,) = develop(development_rows(900), seed=3, names=[DETECTOR])
    return model


def clients_of(con: duckdb.DuckDBPyConnection, month: str) -> pl.DataFrame:
    return con.sql("FROM clients WHERE month = $m ORDER BY client_id", params={"m": month}).pl()


def rescore(con: duckdb.DuckDBPyConnection, month: str, model: DevelopedModel) -> None:
    """Puts the detector's own scores in the place of the fixture's."""
    frame = clients_of(con, month)
    found = frame.select("client_id").with_columns(model.score(frame)["score"])  # noqa: F841
    con.execute(
        "UPDATE score_rows SET score = found.score FROM found "
        "WHERE score_rows.client_id = found.client_id AND month = ? AND model = ?",
        [month, DETECTOR],
    )


@pytest.fixture
def home(con: duckdb.DuckDBPyConnection, developed: DevelopedModel, tmp_path: Path) -> Path:
    """A home that holds the detector's artifact; both scored months carry its scores."""
    root = tmp_path / "home"
    total = save(developed, root / "artifacts" / VERSION / DETECTOR)
    con.execute("UPDATE models SET manifest_sha256 = ? WHERE model = ?", [total, DETECTOR])
    for month in (REALISED, LIVE):
        rescore(con, month, developed)
    return root


def month_facts(con: duckdb.DuckDBPyConnection, month: str) -> MonthFacts:
    facts = gather_month(con, Month.parse(month))
    assert facts is not None
    return facts


def gathered(con: duckdb.DuckDBPyConnection, month: str, root: Path, **given: Any) -> VaeFacts:
    found = gather_vae(con, month_facts(con, month), root, SEED, **given)
    assert isinstance(found, VaeFacts), found
    return found


def page(con: duckdb.DuckDBPyConnection, month: str, root: Path | None) -> str:
    facts = month_facts(con, month)
    return vae_page(facts, gather_vae(con, facts, root, SEED))


# --- Latent space -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 2**31))
def test_the_axes_are_those_of_scikit_learns_pca(rows: int, dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = np.geomspace(8, 1, dimensions)
    reference, month = (rng.normal(size=(rows, dimensions)) * spread for _ in range(2))
    pca = PCA(n_components=min(2, rows, dimensions)).fit(reference)
    found = latent(reference, month)
    assert found.explained == pytest.approx(pca.explained_variance_ratio_)
    kept = pca.explained_variance_ > 1e-9  # an axis without variance has no direction
    for ours, theirs in (
        (found.reference, pca.transform(reference)),
        (found.month, pca.transform(month)),
    ):
        assert np.abs(ours[:, : len(kept)][:, kept]) == pytest.approx(np.abs(theirs[:, kept]), abs=1e-9)


def test_an_axis_points_the_same_way_whatever_the_order_of_the_rows() -> None:
    reference = np.random.default_rng(1).normal(size=(50, 3)) * [3, 2, 1]
    shuffled = np.random.default_rng(2).permutation(reference)
    month = reference[:5] + 1
    assert latent(reference, month).month == pytest.approx(latent(shuffled, month).month)


def test_a_month_that_moved_leaves_the_cloud_of_the_reference() -> None:
    reference = np.random.default_rng(1).normal(size=(200, 2)) * [3, 0.5]
    moved = latent(reference, reference + np.array([10, 0]))
    assert np.abs(moved.month.mean(axis=0)) == pytest.approx([10, 0], abs=0.5)
    assert moved.reference.mean(axis=0) == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("scales", "active"),
    [((1, 1), 2), ((1, 0.05), 1), ((0.05, 0.05), 0), ((0,), 0), ((1, 0, 0.2, 0.09), 2)],
)
def test_a_dimension_is_active_where_its_mean_varies_enough(scales: tuple[float, ...], active: int) -> None:
    """Burda, Grosse & Salakhutdinov (2016), section 5.2: the variance over x of E[u | x], above 0.01."""
    unit = np.tile([-1.0, 1.0], 20)[:, None]  # of variance 1, so that scale² is the activity
    found = latent(np.ones((3, len(scales))), unit * np.array(scales))
    assert found.activity == pytest.approx([s**2 for s in scales])
    assert found.active == active == sum(s**2 > ACTIVE for s in scales)


def test_one_client_has_no_active_dimension_to_count() -> None:
    found = latent(np.random.default_rng(1).normal(size=(9, 2)), np.zeros((1, 2)))
    assert found.active is None


def test_a_reference_that_never_varies_explains_nothing() -> None:
    found = latent(np.ones((5, 2)), np.ones((4, 2)))
    assert found.explained == (0.0, 0.0)
    assert not found.reference.any()
    assert found.active == 0


# --- Errors and columns -----------------------------------------------------------------------------


def test_the_index_of_the_errors_is_that_of_its_definition() -> None:
    """By hand: ten reference deciles of 10 % each; the month holds 20 % in the first and none in the last."""
    reference = np.arange(100.0)
    month = np.concatenate([np.arange(90.0), np.arange(10.0)])
    found = errors(reference, month)
    floor = 0.5 / 100
    assert found.psi == pytest.approx((0.2 - 0.1) * np.log(0.2 / 0.1) + (floor - 0.1) * np.log(floor / 0.1))
    assert found.quantile == pytest.approx(94.05)
    assert found.above == 0
    assert found.above_reference == 0.05


@pytest.mark.parametrize("rows", [1, 10])
def test_constant_errors_are_above_no_quantile(rows: int) -> None:
    found = errors(np.full(50, 0.5), np.full(rows, 0.5))
    assert (found.psi, found.above, found.above_reference) == (0, 0, 0)
    assert errors(np.full(50, 0.5), np.full(rows, 0.6)).above == 1


@pytest.mark.parametrize("columns", [1, 4, 26])
def test_the_most_deformed_columns_by_the_median_of_their_size(columns: int) -> None:
    rng = np.random.default_rng(columns)
    names = [f"c{n}" for n in range(columns)]
    reference, month = (rng.normal(size=(31, columns)) * rng.uniform(0.5, 3, columns) for _ in range(2))
    found = deformed(names, reference, month)
    sizes = {name: sorted(abs(v) for v in month[:, n])[15] for n, name in enumerate(names)}
    wanted = sorted(names, key=lambda name: -sizes[name])[:DEFORMED]
    assert [(d.name, d.month) for d in found] == [(n, pytest.approx(sizes[n])) for n in wanted]
    assert found[0].reference == pytest.approx(np.median(np.abs(reference[:, names.index(found[0].name)])))
    assert found[0].meaning == found[0].name


def test_columns_of_one_size_keep_their_order() -> None:
    found = deformed(["b", "a", "c"], np.ones((2, 3)), -np.ones((2, 3)))
    assert [d.name for d in found] == ["b", "a", "c"]
    assert [d.month for d in found] == [1, 1, 1]


# --- Gathering --------------------------------------------------------------------------------------


def test_the_facts_are_those_of_the_artifact(
    con: duckdb.DuckDBPyConnection, home: Path, developed: DevelopedModel
) -> None:
    found, detector = gathered(con, REALISED, home), developed.estimator
    assert found.loss == tuple(detector.loss_history_)
    assert found.first_batch_loss == detector.first_batch_loss_
    assert found.version == VERSION
    assert (found.fit_rows, found.rows, found.reference_rows) == (540, 400, 360)
    assert (found.modelled, found.scored) == (len(detector.deformation_columns_), 12)
    month = developed.features.matrix(clients_of(con, REALISED))
    reference = developed.features.matrix(developed.reference)
    assert np.sort(found.errors.month) == pytest.approx(np.sort(detector.reconstruction_error(month)))
    assert np.sort(found.errors.reference) == pytest.approx(np.sort(detector.reconstruction_error(reference)))
    assert found.latent.activity == pytest.approx(detector.transform(month).var(axis=0))
    sizes = np.median(np.abs(detector.deformation(month)), axis=0)
    assert [d.month for d in found.deformed] == pytest.approx(np.sort(sizes)[::-1][:DEFORMED])


def test_the_strangest_are_those_of_the_whole_month(
    con: duckdb.DuckDBPyConnection, home: Path, developed: DevelopedModel
) -> None:
    found = gathered(con, REALISED, home, sample_rows=30).strangest
    frame = clients_of(con, REALISED)
    score = developed.score(frame)["score"]
    wanted = sorted(zip(-score, frame["client_id"], strict=True))[:STRANGEST]
    assert [(c.client_id, c.strangeness) for c in found] == [(i, pytest.approx(-s)) for s, i in wanted]
    deformation = developed.estimator.deformation(developed.features.matrix(frame))
    names = [developed.features.names[n] for n in developed.estimator.deformation_columns_]
    scored = [developed.features.names[n] for n in developed.estimator.scored_columns]
    for client in found:
        own = dict(zip(names, deformation[frame["client_id"].index_of(client.client_id)], strict=True))
        assert max(abs(own[name]) for name in scored) == pytest.approx(client.strangeness, rel=1e-5)
        assert dict(client.columns) == pytest.approx({name: own[name] for name, _ in client.columns})
        assert [abs(d) for _, d in client.columns] == pytest.approx(
            sorted(map(abs, own.values()), reverse=True)[:3]
        )
    told = con.execute(
        "SELECT s.pd, s.grade, o.defaulted FROM scores AS s JOIN outcomes AS o USING (month, client_id) "
        "WHERE month = ? AND is_champion AND client_id = ?",
        [REALISED, found[0].client_id],
    ).fetchall()
    assert told == [(found[0].pd, found[0].grade, found[0].defaulted)]


def test_equal_scores_go_by_client_id(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    con.execute("UPDATE score_rows SET score = 1 WHERE model = ?", [DETECTOR])
    ids = [c.client_id for c in gathered(con, REALISED, home).strangest]
    assert ids == sorted(clients_of(con, REALISED)["client_id"])[:STRANGEST]


def test_a_month_without_outcomes_is_sampled_as_well(empty_con: duckdb.DuckDBPyConnection) -> None:
    """DuckDB 2.0 may forget a LIMIT of more than 5,000 above a LEFT JOIN of what is empty.

    Whether it does depends on the order of the joins that it chooses, so the plan is looked at, too.
    """
    rows, limit = 6_000, 5_001
    empty_con.execute(
        "INSERT INTO score_rows BY NAME SELECT '2005-05' AS month, i::VARCHAR AS client_id, 'm' AS model, "
        "true AS is_champion, 0.1 AS score, 0.1 AS pd FROM range(?) AS t (i)",
        [rows],
    )
    empty_con.execute(
        "INSERT INTO scorings VALUES ('2005-05', 'm', 'v', 'live', 'r', 's', 'c', now()::TIMESTAMP)"
    )
    attributes = ", ".join(f"1 AS {name}" for name in ATTRIBUTE_NAMES)
    empty_con.execute(
        f"INSERT INTO clients BY NAME SELECT '2005-05' AS month, i::VARCHAR AS client_id, {attributes}, "
        "i AS row_number, 's' AS file_sha256 FROM range(?) AS t (i)",
        [rows],
    )
    text, chosen = query("report_vae_sample"), {"month": "2005-05", "limit": limit, "seed": "42"}
    assert empty_con.sql(text, params=chosen).pl().shape == (limit, len(ATTRIBUTE_NAMES))
    plan = empty_con.execute("EXPLAIN " + text, chosen).fetchall()[0][1]
    assert "Join Type: INNER" in plan
    assert "Join Type: LEFT" not in plan
    assert "Limit" in plan


def test_samples_are_bounded_and_chosen_by_the_seed(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    found, again = (gathered(con, REALISED, home, sample_rows=50) for _ in range(2))
    assert (found.rows, found.reference_rows) == (50, 50)
    assert np.array_equal(found.errors.reference, again.errors.reference)
    assert np.array_equal(found.errors.month, again.errors.month)
    other = gather_vae(con, month_facts(con, REALISED), home, SEED + 1, sample_rows=50)
    assert isinstance(other, VaeFacts)
    assert not np.array_equal(other.errors.month, found.errors.month)
    assert not np.array_equal(other.errors.reference, found.errors.reference)


def test_the_head_of_the_reference_is_a_sample_of_it(
    con: duckdb.DuckDBPyConnection, home: Path, developed: DevelopedModel
) -> None:
    """The reference is stored in order; only some of it is drawn, which must not be its first clients."""
    stored = developed.estimator.reconstruction_error(developed.features.matrix(developed.reference))
    assert not np.array_equal(gathered(con, REALISED, home).errors.reference[:50], stored[:50])


# --- Why there is nothing to tell -------------------------------------------------------------------


def no_detector(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    con.execute("DELETE FROM models WHERE model = ?", [DETECTOR])


def artifact_gone(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    (root / "artifacts" / VERSION / DETECTOR / "manifest.json").unlink()


def artifact_damaged(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    file = root / "artifacts" / VERSION / DETECTOR / "estimator.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("month", "change", "reason"),
    [
        (AWAITING, None, "awaiting a first model"),
        (REALISED, no_detector, "the set that scored this month has no one-class VAE"),
        (REALISED, artifact_gone, f"the one-class VAE of set {VERSION} cannot be read (none)"),
        (REALISED, artifact_damaged, f"the one-class VAE of set {VERSION} cannot be read"),
    ],
)
def test_every_section_says_why_it_is_empty(
    con: duckdb.DuckDBPyConnection,
    home: Path,
    month: str,
    change: Callable[[duckdb.DuckDBPyConnection, Path], None] | None,
    reason: str,
) -> None:
    if change:
        change(con, home)
    text = page(con, month, home)
    told = re.findall(r'<p class="reason">(.*?)</p>', text)
    assert len(told) == SECTIONS
    assert all(f"Not available: {reason}" in line for line in told)
    assert "<svg" not in text


def test_without_a_home_the_artifacts_are_not_at_hand(con: duckdb.DuckDBPyConnection) -> None:
    assert page(con, REALISED, None).count("artifacts were not at hand") == SECTIONS


def test_a_month_without_the_detectors_scores_has_no_strangest(
    con: duckdb.DuckDBPyConnection, home: Path
) -> None:
    con.execute("DELETE FROM score_rows WHERE model = ?", [DETECTOR])
    assert gathered(con, REALISED, home).strangest == []
    text = page(con, REALISED, home)
    assert "the one-class VAE scored no client of this month" in text
    assert text.count("<svg") == 4


# --- Page -------------------------------------------------------------------------------------------


def test_the_page_is_the_same_whatever_the_order_of_the_rows(
    con: duckdb.DuckDBPyConnection, home: Path
) -> None:
    before = page(con, REALISED, home)
    for table in ("clients", "score_rows", "outcomes"):
        con.execute(f"CREATE TABLE turned AS FROM {table} ORDER BY hash(client_id)")
        con.execute(f"DELETE FROM {table}; INSERT INTO {table} FROM turned; DROP TABLE turned")
    con.execute("SET threads = 1")
    assert page(con, REALISED, home) == before


def test_the_page_tells_all_five_sections_and_stays_small(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    text = page(con, REALISED, home)
    assert text.count("<svg") == 4
    assert text.count("<h2 ") == SECTIONS
    assert '<p class="reason">' not in text
    assert len(text.encode()) < 500_000
    assert "540 client-months of the fit" in text
    assert "axis 1 (" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>|<style.*?</style>|<script.*?</script>", "", text, flags=re.S)


def test_hostile_ids_are_only_text(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    con.execute(
        "UPDATE score_rows SET score = 99 WHERE model = ? AND client_id IN (?, ?)",
        [DETECTOR, MARKUP_ID, LONG_LABEL],
    )
    text = page(con, REALISED, home)
    assert {c.client_id for c in gathered(con, REALISED, home).strangest[:2]} == {MARKUP_ID, LONG_LABEL}
    assert MARKUP_ID not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert LONG_LABEL not in text


def test_an_outcome_is_told_only_where_it_is_known(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    assert page(con, LIVE, home).count("<td>not known yet</td>") == STRANGEST
    told = page(con, REALISED, home)
    assert "not known yet" not in told
    assert told.count("<td>defaulted</td>") + told.count("<td>paid</td>") == STRANGEST


@pytest.mark.parametrize("clients", [1, 10])
def test_few_clients_make_a_page(con: duckdb.DuckDBPyConnection, home: Path, clients: int) -> None:
    kept = clients_of(con, LIVE)["client_id"].to_list()[:clients]
    for table in ("clients", "score_rows"):
        con.execute(f"DELETE FROM {table} WHERE month = ? AND NOT list_contains(?, client_id)", [LIVE, kept])
    assert len(gathered(con, LIVE, home).strangest) == clients
    text = page(con, LIVE, home)
    assert text.count("<svg") == 4
    assert ("one client only" in text) == (clients == 1)


def test_constant_pds_and_no_defaults_change_nothing_about_the_vae(
    con: duckdb.DuckDBPyConnection, home: Path
) -> None:
    before = gathered(con, REALISED, home)
    con.execute("UPDATE score_rows SET pd = 0 WHERE is_champion")
    con.execute("UPDATE outcomes SET defaulted = 0")
    after = gathered(con, REALISED, home)
    assert np.array_equal(before.errors.month, after.errors.month)
    assert {(c.pd, c.defaulted) for c in after.strangest} == {(0.0, 0)}
    assert [c.client_id for c in before.strangest] == [c.client_id for c in after.strangest]
