"""Model cards: nothing empty, made again only when their facts change, never a reason for a run to fail."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports import card_words, cards
from tasks.reports.cards import (
    Artifact,
    ChampionMonth,
    Period,
    build_cards,
    champion_periods,
    gather_cards,
    model_sets,
    read_artifact,
)

VERSION = "2005-04-1f0c9a7e"
CHAMPION, ANOMALY, SUPERVISED = "logistic", "vae_anomaly", "vae_supervised"


@pytest.fixture
def reports(con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path) -> Path:
    """The folder of reports with every card built."""
    build_cards(con, tmp_path / "reports", root)
    return tmp_path / "reports"


def text_of(reports: Path, model: str) -> str:
    return (reports / "models" / VERSION / f"{model}.html").read_text("utf-8")


def main_of(text: str) -> str:
    return text.split("<main>")[1].split("</main>")[0]


# --- What a card tells ------------------------------------------------------------------------------


def test_there_is_a_card_for_every_model_and_an_index(reports: Path) -> None:
    found = {p.relative_to(reports / "models").as_posix() for p in reports.rglob("*.html")}
    assert found == {
        "index.html",
        "reasons.html",
        *(f"{VERSION}/{m}.html" for m in (CHAMPION, ANOMALY, SUPERVISED)),
    }


@pytest.mark.parametrize("model", [CHAMPION, ANOMALY, SUPERVISED])
def test_no_cell_of_a_card_is_empty(reports: Path, model: str) -> None:
    main = main_of(text_of(reports, model))
    assert not re.search(r"<(td|dd|dt|th|p|li)[^>]*>\s*</\1>", main)
    assert "—" not in main
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", main)


@pytest.mark.parametrize(
    ("model", "texts"),
    [
        (CHAMPION, ["the champion in force since 2005-04", "Not meant for.", "Logistic regression: linear"]),
        (CHAMPION, ["2005-02 to 2005-03 (2 months)", "21,000 client-months", "4,646 defaulted", "d" * 64]),
        (CHAMPION, ["12,600 to fit, 4,200 to calibrate, 4,200 held out (929 defaulters)", "c0dec0dec0de"]),
        (
            CHAMPION,
            ["utilisation_1…6", "bill_amt1…6", "Sex, marriage and age are left out", "scikit-learn 1.9.0"],
        ),
        (CHAMPION, ["knots 64", "code_columns 7 positions from 68 to 74", "solver lbfgs", "format 2"]),
        (
            CHAMPION,
            ["0.13749", "An ECE of 0.0158 is what PDs that are exactly right", "Beta has the lowest Brier"],
        ),
        (
            CHAMPION,
            ["18.00%", "a missed default 5, a good client flagged 1", "1,563 of 4,200 flagged (37.21%)"],
        ),
        (
            CHAMPION,
            ["0.7744", "0.7684", "none yet: outcomes of 2005-05 not received", "Champion since 2005-04."],
        ),
        (CHAMPION, ["became the first champion", "highest held-out ROC AUC", "measured on 1 live month."]),
        (
            SUPERVISED,
            ["has never been champion", "Refused: vae_supervised", "failed: AUC not lower", "not evaluated"],
        ),
        (
            SUPERVISED,
            ["4,400 clients of 2005-04 that it never saw, 971 of whom defaulted", "-0.0110 to 0.0030"],
        ),
        (ANOMALY, ["Not judged: the challenger of its set was vae_supervised.", "Never champion"]),
    ],
)
def test_a_card_tells_purpose_data_features_calibration_metrics_gate_and_origin(
    reports: Path, model: str, texts: list[str]
) -> None:
    assert [t for t in texts if t not in text_of(reports, model)] == []


def test_a_model_without_months_figures_or_champion_says_why(
    con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path
) -> None:
    for table in ("drift", "performance", "decisions", "promotions", "gate_checks", "reason_texts"):
        con.execute(f"DELETE FROM {table}")
    con.execute("UPDATE models SET training_months = ['2005-03'], cut_off = NULL")
    build_cards(con, tmp_path, root)
    main = main_of(text_of(tmp_path, CHAMPION))
    for text in (
        "there is no champion yet",
        "no held-out metrics are on record",
        "none yet: no month has been scored by this set",
        "Not judged: no check of the gate is on record for its set.",
        "Learned from a single month, 2005-03",
        "out of time it has not been measured yet",
    ):
        assert text in main
    assert not re.search(r"<(td|dd|p|li)[^>]*>\s*</\1>", main)
    assert "not in the warehouse yet" in (tmp_path / "models" / "reasons.html").read_text("utf-8")


def test_known_outcomes_that_no_run_has_measured_are_told_apart(
    con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path
) -> None:
    con.execute("DELETE FROM performance WHERE sample = 'realised'")
    build_cards(con, tmp_path, root)
    assert "not computed yet: the outcomes of 2005-04 are known" in text_of(tmp_path, CHAMPION)
    assert "none yet: outcomes of 2005-05 not received" in text_of(tmp_path, CHAMPION)


def test_the_index_marks_the_champion_and_tells_every_verdict(reports: Path) -> None:
    text = (reports / "models" / "index.html").read_text("utf-8")
    rows = re.findall(r'<tr[^>]*><th scope="row">.*?</tr>', text, flags=re.S)
    assert len(rows) == 3
    assert [("in force" in row, "Refused" in row) for row in rows] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert all("0.7" in row for row in rows)


def test_an_index_without_models_says_so(empty_con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert build_cards(empty_con, tmp_path, tmp_path) == []
    assert "No model has been developed yet" in (tmp_path / "models" / "index.html").read_text("utf-8")


def test_texts_of_people_are_only_text(con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    con.execute("UPDATE promotions SET reason = ?, decided_by = ?", [hostile, hostile])
    con.execute("UPDATE gate_checks SET reason = ?, name = ?", [hostile, hostile])
    con.execute("UPDATE reason_texts SET reason = ?", [hostile])
    build_cards(con, tmp_path, root)
    for page in tmp_path.rglob("*.html"):
        assert "<img" not in page.read_text("utf-8"), page
    assert "&lt;img src=x" in text_of(tmp_path, CHAMPION)


# --- An artifact that cannot be read ----------------------------------------------------------------


def _without_folder(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def _with_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_without_folder, "manifest.json: expected a file of the model"),
        (_with_text("manifest.json", "{}"), "manifest.json: expected SHA-256"),
        (_with_text("calibration.json", "{}"), "calibration.json: expected SHA-256"),
        (_with_text("cut_off.json", "no JSON"), "cut_off.json: expected SHA-256"),
        (lambda folder: (folder / "cut_off.json").unlink(), "cut_off.json: No such file or directory"),
    ],
)
def test_a_damaged_artifact_is_named_on_the_card(
    con: duckdb.DuckDBPyConnection, root: Path, tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(root / "artifacts" / VERSION / CHAMPION)
    build_cards(con, tmp_path, root)
    text = text_of(tmp_path, CHAMPION)
    assert "The artifact could not be read" in text
    assert told in text
    assert str(root) not in text
    assert "0.7744" in text, "what the warehouse knows is told all the same"
    assert not re.search(r"<(td|dd|p|li)[^>]*>\s*</\1>", main_of(text))
    assert "The artifact could not be read" not in text_of(tmp_path, SUPERVISED)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 1}, "expected artifact format 2, found format 1"),
        ({"format": 99}, "found format 99"),
        ({"features": ["limit_bal"]}, "manifest.json: expected the features that are computed"),
        ({"files": {}}, "manifest.json: expected the files"),
    ],
)
def test_an_artifact_of_another_release_is_named_on_the_card(
    con: duckdb.DuckDBPyConnection,
    root: Path,
    tmp_path: Path,
    reregister: Callable[..., None],
    changes: dict[str, object],
    told: str,
) -> None:
    reregister(CHAMPION, **changes)
    build_cards(con, tmp_path, root)
    assert told in text_of(tmp_path, CHAMPION)


def test_a_file_that_lacks_what_a_card_shows_is_named(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    folder = root / "artifacts" / VERSION / CHAMPION
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "calibration.json").write_text('{"chosen": "beta"}')
    total = hashlib.sha256((folder / "calibration.json").read_bytes()).hexdigest()
    manifest["files"]["calibration.json"]["sha256"] = total
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = read_artifact(folder, hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest())
    assert found.problem is not None
    assert found.problem.startswith("calibration.json: expected chosen, reason, rows")
    assert found.problem.endswith("found no reason, rows, defaulters, folds, ece_floor, candidates")


def test_an_intact_artifact_has_no_problem(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    card = next(c for c in gather_cards(con) if c.model.model == CHAMPION)
    found = read_artifact(root / card.model.artifact, card.model.manifest_sha256)
    assert found.problem is None
    assert list(found.calibration["candidates"]) == ["none", "platt", "beta", "isotonic"]
    assert found.cut_off["cut_off"] == 0.18


# --- The training sample ----------------------------------------------------------------------------


def sample_of(pool: int, rows: int, curve: list[dict[str, float | None]] | None) -> dict[str, object]:
    strata = [
        {"month": month, "defaulted": outcome, "pool": pool // 4, "sample": rows // 4}
        for month in ("2005-02", "2005-03")
        for outcome in (0, 1)
    ]
    bound = None if curve is None or curve[1]["loss"] is None else 0.0031
    told = {"max_rows": 21_000, "pool": pool, "strata": strata}
    return told | {"learning_curve": curve, "auc_loss_at_most": bound}


def step(share: float, loss: float | None) -> dict[str, float | None]:
    known = loss is not None
    return {
        "share": share, "fit_rows": round(12_600 * share), "roc_auc": 0.78 - (loss or 0), "low": 0.77,
        "high": 0.79, "loss": loss, "loss_low": 0.0001 if known else None,
        "loss_high": 0.0009 if known else None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (None, ["Not on record: the artifact is of an earlier release"]),
        (sample_of(20_000, 20_000, None), ["All 20,000 client-months with outcomes."]),
        (
            sample_of(4_000_000, 21_000, [step(0.25, 0.002), step(0.5, 0.0005), step(1.0, 0.0)]),
            [
                "21,000 of 4,000,000 client-months with outcomes: each month and outcome gave its share. "
                "Half of the 21,000 would cost logistic regression 0.0005 (0.0001 to 0.0009) of held-out ROC "
                "AUC; if no further doubling adds more than that, all would add at most 0.0031.",
                '<th scope="row">2005-03</th><td class="n">1,000,000</td><td class="n">5,250</td>',
            ],
        ),
        (
            sample_of(4_000_000, 21_000, [step(0.25, None), step(0.5, None), step(1.0, None)]),
            ["What that costs could not be measured on the held-out clients."],
        ),
    ],
)
def test_a_card_tells_what_was_left_out_of_the_training_data(
    con: duckdb.DuckDBPyConnection,
    root: Path,
    tmp_path: Path,
    reregister: Callable[..., None],
    sample: dict[str, object] | None,
    told: list[str],
) -> None:
    reregister(CHAMPION, facts={"version": VERSION} | ({"sample": sample} if sample else {}))
    build_cards(con, tmp_path, root)
    text = text_of(tmp_path, CHAMPION)
    assert [t for t in told if t not in text] == []
    assert ("Training sample by month" in text) == ("gave its share" in text)
    assert not re.search(r"<(td|dd|p|li)[^>]*>\s*</\1>|\bNone\b", main_of(text))


# --- When a card is made again ----------------------------------------------------------------------


def stamps(reports: Path) -> dict[str, int]:
    return {p.name: p.stat().st_ino for p in (reports / "models" / VERSION).iterdir()}


def test_nothing_new_means_nothing_written(
    con: duckdb.DuckDBPyConnection, root: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stamps(reports)
    monkeypatch.setattr(cards, "read_artifact", None)  # not even the artifact is opened
    assert build_cards(con, reports, root) == []
    assert stamps(reports) == before


@pytest.mark.parametrize(
    ("change", "rebuilt"),
    [
        ("UPDATE performance SET value = 0.5 WHERE model = 'logistic' AND sample = 'realised'", {CHAMPION}),
        ("UPDATE gate_checks SET reason = 'another'", {SUPERVISED}),
        ("UPDATE models SET cut_off = 0.2 WHERE model = 'vae_anomaly'", {ANOMALY}),
        (
            "UPDATE decisions SET champion = 'vae_anomaly' WHERE month = '2005-05'",
            {CHAMPION, ANOMALY, SUPERVISED},
        ),
        ("UPDATE score_rows SET pd = 0.1", set()),
    ],
)
def test_only_the_cards_whose_facts_changed_are_written(
    con: duckdb.DuckDBPyConnection, root: Path, reports: Path, change: str, rebuilt: set[str]
) -> None:
    con.execute(change)
    assert {p.stem for p in build_cards(con, reports, root)} == rebuilt


def test_a_changed_artifact_and_other_code_make_cards_anew(
    con: duckdb.DuckDBPyConnection,
    root: Path,
    reports: Path,
    reregister: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (root / "artifacts" / VERSION / CHAMPION / "cut_off.json").write_text("{}")
    assert {p.stem for p in build_cards(con, reports, root)} == {CHAMPION}
    monkeypatch.setattr(cards, "code_version", lambda: "another")
    assert len(build_cards(con, reports, root)) == 3


def test_a_failed_build_leaves_the_earlier_card(
    con: duckdb.DuckDBPyConnection, root: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = text_of(reports, CHAMPION)
    con.execute("UPDATE promotions SET reason = 'another'")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(cards.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        build_cards(con, reports, root)
    monkeypatch.undo()
    assert text_of(reports, CHAMPION) == before
    build_cards(con, reports, root)
    assert "another" in text_of(reports, CHAMPION)
    assert not list(reports.rglob(".building-*"))


def test_the_same_facts_give_the_same_bytes(
    con: duckdb.DuckDBPyConnection, root: Path, reports: Path, tmp_path: Path
) -> None:
    con.execute("SET threads = 1")
    build_cards(con, tmp_path / "again", root)
    for page in (reports / "models").rglob("*.html"):
        assert page.read_bytes() == (tmp_path / "again" / page.relative_to(reports)).read_bytes()


# --- Champions --------------------------------------------------------------------------------------


def _months(*rows: tuple[str, str]) -> list[ChampionMonth]:
    return [ChampionMonth(month, model, "v") for month, model in rows]


@pytest.mark.parametrize(
    ("months", "periods"),
    [
        ([], []),
        ([("2005-04", "a")], [("a", "2005-04", "2005-04", True)]),
        ([("2005-04", "a"), ("2005-05", "a")], [("a", "2005-04", "2005-05", True)]),
        (
            [("2005-04", "a"), ("2005-05", "b"), ("2005-06", "a")],
            [
                ("a", "2005-04", "2005-04", False),
                ("b", "2005-05", "2005-05", False),
                ("a", "2005-06", "2005-06", True),
            ],
        ),
    ],
)
def test_months_in_a_row_are_one_period(
    months: list[tuple[str, str]], periods: list[tuple[str, str, str, bool]]
) -> None:
    assert champion_periods(_months(*months)) == [Period(m, "v", f, la, s) for m, f, la, s in periods]


def test_a_choice_by_hand_counts_over_an_older_decision(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO promotions VALUES ('p9', '2005-05', 'rollback', 'vae_anomaly', ?, 'logistic', ?, 'r',"
        " 'me',"
        " '2005-07-01 00:00:00', NULL)",
        [VERSION, VERSION],
    )
    by_name = {c.model.model: c for c in gather_cards(con)}
    assert [name for name, card in by_name.items() if card.is_champion] == [ANOMALY]
    assert card_words.history(by_name[ANOMALY])[0] == "Champion since 2005-05."
    assert "was put back by hand" in card_words.history(by_name[ANOMALY])[1]
    assert card_words.history(by_name[CHAMPION])[0] == "Champion 2005-04."
    assert "was champion before" in card_words.standing(by_name[CHAMPION])


def test_sets_keep_their_order(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "INSERT INTO models BY NAME SELECT * REPLACE ('2005-05-0' AS version, '2005-05' AS month) FROM models"
    )
    assert [s.version for s in model_sets(gather_cards(con))] == ["2005-05-0", VERSION]


# --- Words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["unprotected", "all"])
def test_every_feature_belongs_to_a_group(policy: str) -> None:
    from models.features import FeatureSet

    names = FeatureSet(policy).names  # type: ignore[arg-type]
    groups = card_words.feature_groups(names)
    assert sum(number for _, number, _ in groups) == len(names)
    assert card_words.OTHERS not in [group for group, _, _ in groups]
    assert len(groups) == 7


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["bill_amt1", "bill_amt2", "bill_amt3"], ["bill_amt1…3"]),
        (["a_1", "a_2", "a_mean"], ["a_1…2", "a_mean"]),
        (["a_1", "b_2"], ["a_1", "b_2"]),
        (["a_1", "a_3"], ["a_1", "a_3"]),
        (["a", "b"], ["a", "b"]),
        ([], []),
    ],
)
def test_numbered_names_are_drawn_together(names: list[str], texts: list[str]) -> None:
    assert card_words.drawn_together(names) == texts


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=12))
def test_nothing_is_lost_when_names_are_drawn_together(pairs: list[tuple[str, int]]) -> None:
    names = [f"{stem}_{number}" for stem, number in pairs]
    spread = []
    for text in card_words.drawn_together(names):
        stem, _, ends = text.partition("_")
        first, _, last = ends.partition("…")
        spread += [f"{stem}_{n}" for n in range(int(first), int(last or first) + 1)]
    assert spread == names


def test_settings_are_told_without_what_is_empty() -> None:
    settings = {
        "estimator": {
            "steps": "list",
            "verbose": 0,
            "a": None,
            "clf__C": 0.5,
            "clf__flag": False,
            "b": [1, 2],
        }
    }
    assert card_words.settings_lines(settings) == [("estimator", "C 0.5, flag False, b [1, 2]")]


def test_every_model_of_the_registry_is_described() -> None:
    from models.registry import MODELS

    assert set(card_words.HOW_IT_WORKS) == set(MODELS)
    assert "does not know" in card_words.how_it_works("other")


def test_few_defaulters_and_a_fall_in_the_field_are_limits(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("UPDATE performance SET value = 0.70 WHERE sample = 'realised' AND metric = 'roc_auc'")
    card = next(c for c in gather_cards(con) if c.model.model == CHAMPION)
    told = card_words.limits(card, Artifact({"training": {"held_out_defaulters": 73}}, {}, {}))
    assert "Only 73 defaulters were held out: its figures are uncertain in the second decimal." in told
    assert "In 2005-04 it ranked clients worse than held-out ones, by 0.074 of ROC AUC." in told


def test_the_digest_stands_where_it_is_looked_for(reports: Path) -> None:
    page = reports / "models" / VERSION / f"{CHAMPION}.html"
    assert re.fullmatch(r"[0-9a-f]{64}", cards._recorded(page) or "")
    assert json.dumps(cards._recorded(page.with_name("absent.html"))) == "null"
