"""The study's files: what is read, what the page and the JSON hold, and that text stays text."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from creditflow.columns import ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_ID, OUTCOME
from creditflow.errors import ContentRefused, HeaderRefused, HomeUnusable, InputRefused, TrainingRefused
from models.anomaly import STUDY_VAE, VAEAnomalyDetector
from models.study import Estimators, Study, run_study, study_estimators
from models.vae import VAEClassifier
from tasks import study as module
from tasks.reports import charts
from tasks.study import Source, read_labelled, read_source, write_study

ROWS = 600
SMALL = {"epochs": 2, "hidden_units": 8, "hidden_layers": 1, "decoder_units": 8}


def portfolio(rows: int = ROWS) -> pl.DataFrame:
    """Clients with IDs 1, 2, … of plausible values; default rises with pay_1."""
    rng = np.random.default_rng(5)
    columns: dict[str, object] = {CLIENT_ID: [str(n) for n in range(1, rows + 1)]}
    ranges = {"age": (21, 70), "sex": (1, 3), "education": (0, 7), "marriage": (0, 4)}
    for attribute in ATTRIBUTES:
        amount = np.round(np.exp(rng.normal(9, 1, rows)), -2) + 100
        codes = rng.integers(*ranges.get(attribute.name, (-2, 5)), rows)
        columns[attribute.name] = amount if attribute.role == "amount" else codes
    columns[OUTCOME] = (rng.random(rows) < 1 / (1 + np.exp(1.5 - np.asarray(columns["pay_1"])))).astype(int)
    dtypes = {a.name: a.dtype for a in ATTRIBUTES} | {OUTCOME: pl.Int8}
    return pl.DataFrame(columns).cast(dtypes)  # type: ignore[arg-type]


def short(seed: int) -> Estimators:
    return replace(
        study_estimators(seed),
        plain_vae=VAEAnomalyDetector(**(STUDY_VAE | SMALL), random_state=seed),
        vae_anomaly=VAEAnomalyDetector(**SMALL, random_state=seed),
        vae_supervised=VAEClassifier(**SMALL, random_state=seed),
        folds=2,
        starts=2,
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return portfolio()


@pytest.fixture(scope="module")
def study(frame: pl.DataFrame) -> Study:
    return run_study(frame, build=short)


@pytest.fixture(scope="module")
def as_published(study: Study) -> Study:
    """The same study as if its data were the published ones, with both verdicts present."""
    sample = replace(
        study.sample, content_sha256="88bacc449fc3f84194870a0a7314f95385256cf0fc8b534c2c0789bc3035235f"
    )
    rows = (
        replace(row, verdict="matches" if row.subject == "logistic" else "differs")
        for row in study.comparison
    )
    return replace(study, sample=sample, comparison=tuple(rows))


def source_of(frame: pl.DataFrame, **facts: object) -> Source:
    usual: dict[str, object] = {"name": "clients.csv", "sha256": "ab" * 32, "received": frame.height}
    return Source(**({"frame": frame, "set_aside": {}} | usual | facts))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def written(study: Study, frame: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_study(study, tmp_path_factory.mktemp("out") / "new" / "folder", source_of(frame))


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────

ORIGINAL = (
    ["ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", "PAY_0"]
    + [f"PAY_{n}" for n in range(2, 7)]
    + [f"{stem}{n}" for stem in ("BILL_AMT", "PAY_AMT") for n in range(1, 7)]
    + ["default payment next month"]
)
NUMBERED = ["ID", *[f"X{n}" for n in range(1, 24)], "Y"]


@pytest.mark.parametrize("header", [ORIGINAL, NUMBERED], ids=["original", "numbered"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_reads_any_format_and_header(
    frame: pl.DataFrame, header: list[str], ending: str, tmp_path: Path
) -> None:
    file = tmp_path / f"bank.{ending}"
    renamed = frame.rename(dict(zip(frame.columns, header, strict=True)))
    renamed.write_csv(file, separator=";") if ending == "csv" else renamed.write_parquet(file)
    found = read_labelled(file)
    assert found.columns == [CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME]
    assert found.equals(frame)


def test_counts_what_was_set_aside(frame: pl.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "clients_2005-08.csv"
    spoiled = frame.with_columns(
        limit_bal=pl.when(pl.col(CLIENT_ID).is_in(["3", "7"])).then(-1.0).otherwise(pl.col("limit_bal")),
        defaulted=pl.when(pl.col(CLIENT_ID) == "9").then(4).otherwise(pl.col(OUTCOME)),
    )
    spoiled.rename(dict(zip(frame.columns, ORIGINAL, strict=True))).write_csv(file)
    source = read_source(file)
    assert (source.received, source.frame.height, source.rows_set_aside) == (ROWS, ROWS - 3, 3)
    assert sum(source.set_aside.values()) == 3
    assert not {"3", "7", "9"} & set(source.frame[CLIENT_ID])


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda f: f.drop(OUTCOME), HeaderRefused, "label column"),
        (lambda f: f.head(99), TrainingRefused, "99 clients"),
        (lambda f: f.with_columns(pl.lit(0).alias(OUTCOME)), TrainingRefused, "0 defaulted"),
        (lambda f: f.drop("age"), HeaderRefused, "(?i)age"),
        (lambda f: f.head(0), ContentRefused, "row"),
    ],
    ids=["no label", "99 rows", "one class", "no age", "no rows"],
)
def test_refuses_with_one_line(
    frame: pl.DataFrame, spoil: object, error: type[Exception], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "bank.csv"
    spoil(frame.rename({OUTCOME: "y"}).rename({"y": OUTCOME})).write_csv(file)  # type: ignore[operator]
    with pytest.raises(error, match=words) as raised:
        read_labelled(file)
    assert "\n" not in str(raised.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="nowhere"):
        read_labelled(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("name", "month"),
    [("clients_2005-08.csv", "2005-08"), ("bank.csv", "2005-09"), ("2005-13.csv", "2005-09")],
)
def test_month_comes_from_the_name(name: str, month: str) -> None:
    assert str(module._month_of(Path(name))) == month


# ── The JSON ────────────────────────────────────────────────────────────────────────────────────


def test_json_has_the_promised_shape(written: tuple[Path, Path], study: Study) -> None:
    facts = json.loads(written[1].read_text("utf-8"))
    assert list(facts["models"]) == [
        "logistic",
        "logistic_smote",
        "vae_latent",
        "vae_anomaly",
        "vae_supervised",
    ]
    for model in facts["models"].values():
        assert all(isinstance(model[f], float) for f in ("roc_auc", "accuracy", "precision", "recall", "f1"))
        assert model["support"] == model["per_class"]["1"]["support"] == study.sample.test_defaulters
        assert sum(map(sum, model["confusion_matrix"])) == study.sample.test_rows
        assert model["threshold_rule"]
    assert facts["vae_loss"]["first_batch"] == study.loss.first_batch
    assert facts["vae_loss"]["per_epoch"] == list(study.loss.per_epoch)
    assert set(facts["class_shares"]) == {"paid", "defaulted"}
    assert facts["split"]["random_state"] == 42
    assert facts["published"]["models"]["vae_supervised"]["roc_auc"] == 0.7784
    assert facts["file"] == {
        "name": "clients.csv",
        "sha256": "ab" * 32,
        "received": ROWS,
        "studied": ROWS,
        "set_aside": {},
    }
    assert len(facts["code_version"]) == 12
    assert facts["timings"]["total"] > 0


def test_only_the_timings_change_between_two_runs(
    frame: pl.DataFrame, written: tuple[Path, Path], tmp_path: Path
) -> None:
    again = write_study(run_study(frame, build=short), tmp_path, source_of(frame))
    first, second = (json.loads(path.read_text("utf-8")) for path in (written[1], again[1]))
    assert first.pop("timings").keys() == second.pop("timings").keys()
    assert first == second
    assert written[0].read_bytes() == again[0].read_bytes()


# ── The page ────────────────────────────────────────────────────────────────────────────────────


def test_page_stands_alone(written: tuple[Path, Path]) -> None:
    text = written[0].read_text("utf-8")
    links = re.findall(r'(?:src|href|action)="([^"]*)"|url\(([^)]*)\)', text)
    assert {link[:1] for pair in links for link in pair if link} <= {"#", "d"}
    assert all(link.startswith(("#", "data:")) for pair in links for link in pair if link)
    assert len(text) < 2_000_000


def test_page_has_every_chart_and_section_once(written: tuple[Path, Path]) -> None:
    text = written[0].read_text("utf-8")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    for name in module._SECTIONS:
        assert f'id="{name}"' in text
        assert f'href="#{name}"' in text
    # 23 variables; shares, two boxes, ID, ROC, loss and latent space.
    assert text.count("<svg") == 23 + 7
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_markup_in_names_is_only_text(study: Study, frame: pl.DataFrame) -> None:
    evil = "<script>alert('x')</script>.csv"
    rules = {"<img src=x onerror=alert(1)>": 2}
    text = module.render(study, source_of(frame, name=evil, received=ROWS + 2, set_aside=rules))
    assert text.count("<script") == 1  # ours
    assert "<img" not in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;.csv" in text
    assert "602, of which 2 set aside" in text


def test_another_file_is_held_against_nothing(study: Study) -> None:
    text = module.render(study, None)
    assert "Not the published data set" in text
    assert "this file holds 600 clients" in text
    assert ">matches<" not in text
    assert ">differs<" not in text


def test_published_data_are_held_against_the_report(as_published: Study) -> None:
    text = module.render(as_published, None)
    assert ">matches<" in text
    assert ">differs<" in text
    for printed in ("0.7150 for logistic regression", "0.7177 with SMOTE", "0.7784 for its final"):
        assert printed in text
    assert "the published data set" in text


def _with_auc(study: Study, subject: str, ours: float, verdict: str) -> Study:
    rows = (
        replace(r, ours=ours, verdict=verdict) if (r.subject, r.figure) == (subject, "roc_auc") else r
        for r in study.comparison
    )
    return replace(study, comparison=tuple(rows))


@pytest.mark.parametrize(
    ("joint", "smote", "tone", "words"),
    [
        ((0.7800, "differs"), (0.7177, "matches"), "good", "Both logistic regressions match"),
        ((0.7700, "differs"), (0.7177, "matches"), "alarm", "Both logistic regressions match"),
        ((0.7800, "differs"), (0.7100, "differs"), "alarm", "A logistic regression differs"),
        ((0.7800, "differs"), (0.7300, "differs"), "alarm", "A logistic regression differs"),
    ],
    ids=["better joint model", "worse joint model", "worse baseline", "better baseline"],
)
def test_headline_says_what_was_found(
    as_published: Study, joint: tuple[float, str], smote: tuple[float, str], tone: str, words: str
) -> None:
    study = _with_auc(_with_auc(as_published, "vae_supervised", *joint), "logistic_smote", *smote)
    found = module.result(study)
    assert (found.tone, words in found.headline) == (tone, True)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.00221, 4, "+0.0022"),
        (-0.00221, 4, "−0.0022"),
        (0.00001, 4, "0.0000"),
        (-0.00001, 4, "0.0000"),
        (0, 4, "0.0000"),
        (-0.014, 3, "−0.014"),
    ],
)
def test_signed(value: float, digits: int, text: str) -> None:
    assert module.signed(value, digits) == text


def test_many_points_stay_small_and_follow_the_theme() -> None:
    points = np.random.default_rng(0).random((30_000, 2))
    svg = module.raster("many", "many", (11, 4.2), points, points[:, 0] > 0.5, lambda axes: None)
    assert svg.count("<image") == 2
    assert re.findall(r"flood-color:var\((--\w+)\)", svg) == ["--current", "--alarm"]
    assert len(svg) < 600_000


def test_points_on_one_spot_are_drawn() -> None:
    points = np.zeros((5, 2))
    assert module.raster("spot", "spot", (3, 2), points, np.zeros(5, dtype=bool), lambda axes: None)


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────


def test_nothing_else_is_left_in_the_folder(written: tuple[Path, Path]) -> None:
    assert sorted(p.name for p in written[0].parent.iterdir()) == ["study.html", "study.json"]


def test_a_file_in_the_way_is_named(study: Study, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(HomeUnusable, match="out"):
        write_study(study, tmp_path / "out")


def test_a_failed_write_leaves_the_earlier_page(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study.html").write_text("earlier")

    def full(self: Path, *args: object) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HomeUnusable, match="No space left"):
        write_study(study, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "study.html").read_text() == "earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["study.html"]


# ── In a browser ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.browser
def test_page_opens_offline(written: tuple[Path, Path]) -> None:
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium found: CI must have one")
        pytest.skip("no Chromium found: install chromium to check the page in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        for scheme, width in (("light", 1280), ("dark", 400)):
            page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
            seen: list[str] = []
            page.on("console", lambda message, seen=seen: seen.append(message.text))
            page.on("pageerror", lambda error, seen=seen: seen.append(str(error)))
            page.on("request", lambda request, seen=seen: seen.append(request.url))
            page.goto(written[0].as_uri(), wait_until="load")
            assert [entry for entry in seen if not entry.startswith("data:")] == [written[0].as_uri()]
            heights = "[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)"
            drawn = [height for height in page.evaluate(heights) if height > 40]
            assert len(drawn) == 30
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
            page.close()
        browser.close()


# ── Charts ──────────────────────────────────────────────────────────────────────────────────────

_LEVEL = re.compile(
    r'<text [^>]*font-size: ([\d.]+)px[^>]*text-anchor: (\w+)[^>]* x="([\d.]+)"[^>]*rotate\(-0 [^>]*>([^<]*)<'
)


def test_no_text_of_a_chart_is_cut_off(study: Study) -> None:
    sample = replace(study.sample, rows=30_000, defaulters=6_636)
    found = module.charts(replace(study, sample=sample))
    found |= {d.name: chart for d, chart in found.pop("distributions")}
    seen = set()
    for svg in found.values():
        (width,) = re.findall(r'viewBox="0 0 ([\d.]+)', svg)
        for size, anchor, x, text in _LEVEL.findall(svg):
            wide = charts._text_width(text) * float(size) / charts._FONT_SIZE
            left = float(x) - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            assert left > -1, text
            assert left + wide < float(width) + 1, text
            seen.add(text)
    assert {"77.9% · 23,364", "LIMIT_BAL", "defaulted"} <= seen
