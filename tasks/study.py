"""Writes the study: `study.html`, a page that opens offline, and `study.json`, its figures.

Runs when someone asks for it, outside the monthly run: `creditflow study FILE --out DIR`.
"""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from creditflow.columns import CLIENT_ID, OUTCOME
from creditflow.errors import HeaderRefused
from creditflow.month import Month
from creditflow.version import code_version
from expectations import intake
from models import study as figures
from models.study import Comparison, Distribution, Progress, Study
from tasks.home import unusable
from tasks.reports import pages
from tasks.reports.charts import ALARM, CURRENT, INK, MUTED, REFERENCE, THIRD, drawn

# ── Reading ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Source:
    """The file studied: its labelled clients in file order, and what became of its rows."""

    frame: pl.DataFrame
    name: str
    sha256: str
    received: int
    set_aside: dict[str, int]

    @property
    def rows_set_aside(self) -> int:
        return self.received - self.frame.height


def read_labelled(file: Path) -> pl.DataFrame:
    """The file's clients with their outcomes; see `read_source`."""
    return read_source(file).frame


def read_source(file: Path) -> Source:
    """Reads a labelled client file of any format and header spelling through the data contract.

    The frame has `client_id`, the 23 attributes and `defaulted`, in the order of the file.

    Raises:
        InputRefused: the data contract refuses the file, or it has no label column.
        TrainingRefused: too few clients, or too few of one class.
    """
    with tempfile.TemporaryDirectory(prefix="creditflow-study-") as work:
        nothing_known = intake.Context(known_clients=None, previous_clients=None, loaded={})
        checked = intake.check_file(file, "clients", _month_of(file), Path(work), nothing_known)
        if checked.outcomes_parquet is None:
            raise _unlabelled(file)
        clients = pl.read_parquet(checked.accepted_parquet).sort("row_number")
        outcomes = pl.read_parquet(checked.outcomes_parquet).select(CLIENT_ID, OUTCOME)
        rules = pl.read_parquet(checked.quarantine_parquet)["rule"].value_counts().sort("rule")
    frame = clients.join(outcomes, on=CLIENT_ID, how="inner", maintain_order="left").drop("row_number")
    set_aside = dict(rules.iter_rows())
    unlabelled = clients.height - frame.height
    if unlabelled:
        set_aside["no outcome"] = unlabelled
    figures.refuse_small(frame)
    return Source(frame, file.name, checked.sha256, checked.received, set_aside)


def _month_of(file: Path) -> Month:
    """The month in the file's name.

    The contract asks for one. Where the name holds none any will do, for the file is held against no other.
    """
    found = re.search(r"\d{4}-(0[1-9]|1[0-2])", file.name)
    return Month.parse(found[0]) if found else Month(2005, 9)


def _unlabelled(file: Path) -> HeaderRefused:
    return HeaderRefused(
        str(file),
        expected="a label column (default payment next month, or Y)",
        found="clients without outcomes",
        remedy="The study needs both: give it a client file with its labels.",
    )


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────


def study_file(file: Path, out: Path, seed: int = 42, progress: Progress | None = None) -> tuple[Path, Path]:
    """Reads, studies and writes: the whole of `creditflow study`. Gives the page's and the JSON's path."""
    source = read_source(file)
    return write_study(figures.run_study(source.frame, seed, progress), out, source)


def write_study(study: Study, out: Path, source: Source | None = None) -> tuple[Path, Path]:
    """Writes `study.html` and `study.json` into `out`, each by rename, and gives their paths.

    Raises:
        HomeUnusable: the folder cannot be created or written to.
    """
    started = time.perf_counter()
    page = render(study, source)
    timings = {**study.timings, "page": time.perf_counter() - started}
    facts = {**facts_of(study, source), "timings": timings}
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (
            _replace(out / "study.html", page),
            _replace(out / "study.json", json.dumps(facts, indent=2, allow_nan=False) + "\n"),
        )
    except OSError as error:
        raise unusable(out, error) from error


def facts_of(study: Study, source: Source | None) -> dict[str, Any]:
    """The content of `study.json` but for its timings: equal for equal data, seed and code."""
    return {"code_version": code_version(), "file": _file_facts(source), **study.figures()}


def _file_facts(source: Source | None) -> dict[str, Any] | None:
    if source is None:
        return None
    return {
        "name": source.name,
        "sha256": source.sha256,
        "received": source.received,
        "studied": source.frame.height,
        "set_aside": source.set_aside,
    }


def _replace(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


# ── The page ────────────────────────────────────────────────────────────────────────────────────

_SECTIONS = {
    "result": "Result",
    "portfolio": "Portfolio",
    "limit": "LIMIT_BAL by class",
    "timeline": "LIMIT_BAL against ID",
    "variables": "Every variable",
    "models": "Models",
    "loss": "VAE loss",
    "latent": "Latent space",
    "origin": "Origin",
}


def render(study: Study, source: Source | None) -> str:
    """The page as one self-contained HTML text."""
    return (
        _environment()
        .get_template("study.html.j2")
        .render(
            sections=_SECTIONS,
            study=study,
            source=source,
            sample=study.sample,
            codes=study.sample.undocumented,
            code_values=sorted({code for counts in study.sample.undocumented.values() for code in counts}),
            final=study.models["vae_supervised"].title,
            limit=study.limit,
            timeline=study.timeline,
            models=list(study.models.values()),
            charts=charts(study),
            result=result(study),
            difference=figures.unlike_published(study.sample),
            figure_names=figures.FIGURES,
            beside=_beside(study),
            printed=figures.PUBLISHED_MODELS,
            tolerances=figures.TOLERANCES,
            data_source=figures.SOURCE,
            losses=[row for row in study.comparison if row.subject == "vae_loss"],
            latent_hidden=int((~latent_shown(study)).sum()),
            published_shares=figures.PUBLISHED_SHARES,
            explained=list(zip(study.latent.explained, np.cumsum(study.latent.explained), strict=True)),
            **_readings(study),
        )
    )


def _environment() -> Environment:
    """The report pack's own base page, macros and style, with the study's beside them."""
    folder = Path(__file__).with_name("templates")
    environment = pages.environment(folder)
    environment.filters["signed"] = signed
    style = (folder / "study.css").read_text("utf-8") + str(pages.environment().globals["style"])
    environment.globals["style"] = Markup(style)  # noqa: S704 - ours, not data
    return environment


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign; none where it rounds to nothing."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


@dataclass(frozen=True)
class Beside:
    """One model's row of the comparison; `verdicts` is empty where the data are not the published ones."""

    title: str
    ours: dict[str, float]
    published: dict[str, float]
    verdicts: dict[str, Comparison]


def _beside(study: Study) -> list[Beside]:
    comparable = [row for row in study.comparison if row.verdict != "not comparable"]
    return [
        Beside(
            title=model.title,
            ours=figures.headline(model),
            published=figures.PUBLISHED_MODELS.get(name, {}),
            verdicts={row.figure: row for row in comparable if row.subject == name},
        )
        for name, model in study.models.items()
    ]


# ── What the figures say ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Finding:
    """One sentence of the summary; `tone` is good, watch or plain."""

    tone: str
    text: str


@dataclass(frozen=True)
class Result:
    """The page's first lines."""

    tone: str
    headline: str
    findings: tuple[Finding, ...]


def result(study: Study) -> Result:
    """Whether the published figures are met, in one line and a few findings."""
    joint = study.models["vae_supervised"]
    unlike = figures.unlike_published(study.sample)
    if unlike:
        line = f"Not the published data set: {unlike} The joint model's ROC AUC here is {joint.roc_auc:.4f}."
        return Result("watch", line, ())
    aucs = {row.subject: row for row in study.comparison if row.figure == "roc_auc"}
    logistic = [aucs["logistic"].verdict, aucs["logistic_smote"].verdict]
    met = logistic == ["matches", "matches"]
    line = (
        f"{'Both logistic regressions match' if met else 'A logistic regression differs from'} the published "
        f"ROC AUC to ±{figures.TOLERANCES['roc_auc']:.3f}; the joint model reaches {joint.roc_auc:.4f}, "
        f"published {aucs['vae_supervised'].published:.4f}."
    )
    tones = {finding.tone for finding in _auc_findings(study, aucs)}
    findings = (*_auc_findings(study, aucs), *_vae_findings(study))
    return Result("alarm" if "alarm" in tones else "good", line, findings)


def _auc_findings(study: Study, aucs: dict[str, Comparison]) -> list[Finding]:
    return [
        Finding(
            "good" if _is_met(row) else "alarm",
            f"{study.models[name].title}: ROC AUC {row.ours:.4f}, published {row.published:.4f}: "
            f"{row.verdict}" + (f" by {signed(row.difference)}." if row.verdict == "differs" else "."),
        )
        for name, row in aucs.items()
    ]


def _is_met(row: Comparison) -> bool:
    """A baseline is to be reproduced: a better one is wrong too. The VAE-based model may be better."""
    return row.verdict == "matches" or (row.subject.startswith("vae_") and row.difference > 0)


def _vae_findings(study: Study) -> list[Finding]:
    latent, alone = study.models["vae_latent"], study.models["vae_anomaly"]
    printed = figures.PUBLISHED_MODELS["vae_latent"]
    epochs = len(study.loss.per_epoch)
    return [
        Finding(
            "plain",
            f"{latent.title}: finds {latent.report.defaulted.recall:.1%} of the defaulters at one half, "
            "published "
            f"{printed['recall']:.0%}; its ROC AUC, which the report does not print, is "
            f"{latent.roc_auc:.4f}.",
        ),
        Finding(
            "plain",
            f"{alone.title}, what the report's conclusion proposes: ROC AUC {alone.roc_auc:.4f} from the "
            "reconstruction error alone; the report prints no figure for it.",
        ),
        Finding(
            "plain",
            f"VAE loss: {study.loss.first_batch:.4f} on the first batch, published "
            f"{figures.PUBLISHED_FIRST_BATCH_LOSS:.4f}; {study.loss.per_epoch[-1]:.4f} after {epochs} epochs"
            + (
                f", published {figures.PUBLISHED_EPOCH_LOSS[epochs]:.4f}."
                if epochs in _PRINTED_EPOCHS
                else "."
            ),
        ),
    ]


_PRINTED_EPOCHS = frozenset(figures.PUBLISHED_EPOCH_LOSS)


def _readings(study: Study) -> dict[str, str]:
    """The sentences that depend on what was found."""
    ranked = sorted(study.distributions, key=lambda d: -d.separation)
    return {
        "limit_conclusion": _limit_conclusion(study),
        "trend": _trend(study),
        "most": _listed(ranked[:3]),
        "least": _listed(ranked[-3:]),
        "models_reading": _models_reading(study),
        "loss_reading": _loss_reading(study),
        "latent_reading": _latent_reading(study),
    }


def _listed(distributions: list[Distribution]) -> str:
    named = [f"{d.name.upper()} ({d.separation:.2f})" for d in distributions]
    return f"{', '.join(named[:-1])} and {named[-1]}"


def _limit_conclusion(study: Study) -> str:
    paid, defaulted = study.limit["paid"], study.limit["defaulted"]
    whole, without = paid.mean - defaulted.mean, paid.mean_without - defaulted.mean_without
    # Four fifths: a gap that keeps most of its size is not the work of a few clients.
    if whole * without > 0 and abs(without) >= 0.8 * abs(whole):
        return ": the gap is not the work of a few large limits."
    return ": a few extreme limits make up much of the gap."


def _trend(study: Study) -> str:
    found = max(abs(study.timeline.limit_correlation), abs(study.timeline.default_correlation))
    # Below 0.1 is less than "small" in Cohen's (1988) reading of a correlation.
    if found < 0.1:
        return "practically none, so neither the limits nor the defaults drift along the portfolio."
    return "there is a trend along the portfolio, and a random split hides what it would do to later clients."


def _models_reading(study: Study) -> str:
    models = sorted(study.models.values(), key=lambda m: -m.roc_auc)
    best, right = models[0], max(models, key=lambda m: m.report.accuracy)
    row = best.report.defaulted
    return (
        f"{best.title} ranks the clients best (ROC AUC {best.roc_auc:.4f}): at its cut it finds "
        f"{row.recall:.0%} of "
        f"the defaulters, and {row.precision:.0%} of those it flags do default. {right.title} is right most "
        "often "
        f"({right.report.accuracy:.0%} of the clients) while finding {right.report.defaulted.recall:.0%} of "
        "the "
        f"defaulters. Last comes {models[-1].title} with {models[-1].roc_auc:.4f}; 0.5 is chance. Recall and "
        "precision depend on the cut, the ROC AUC does not: compare models by the latter."
    )


def _loss_reading(study: Study) -> str:
    first, epochs = study.loss.first_batch, study.loss.per_epoch
    text = (
        f"The loss is {first:.4f} on the first batch, before any step, and falls from {epochs[0]:.4f} in "
        "epoch 1 to "
        f"{epochs[-1]:.4f} in epoch {len(epochs)}. The report prints "
        f"{figures.PUBLISHED_FIRST_BATCH_LOSS:.4f} on "
        f"its first batch and falls from {figures.PUBLISHED_EPOCH_LOSS[1]:.4f} to "
        f"{figures.PUBLISHED_EPOCH_LOSS[30]:.4f} in epoch 30, with a plateau from epoch 16 on."
    )
    return text + _starts_reading(study)


def _starts_reading(study: Study) -> str:
    others = study.loss.other_starts
    if not others or not study.sample.is_published:
        return ""
    inside = study.loss.covers(figures.PUBLISHED_FIRST_BATCH_LOSS)
    return (
        f" One batch is a small draw from a portfolio with long tails: from {len(others)} other random "
        "starts its "
        f"loss runs from {others[0]:.4f} to {others[-1]:.4f}, and the published one lies "
        f"{'inside' if inside else 'outside'} that range."
    )


def _latent_reading(study: Study) -> str:
    points, bad = study.latent.points, study.latent.defaulted
    gap = points[bad].mean(axis=0) - points[~bad].mean(axis=0)
    spread = np.sqrt((points[bad].var(axis=0) + points[~bad].var(axis=0)) / 2)
    distance = float(np.max(np.abs(gap) / np.where(spread > 0, spread, 1.0)))
    apart = (
        "overlap almost entirely"
        if distance < 0.5
        else "are shifted, but overlap"
        if distance < 1.5
        else "part"
    )
    return (
        f"The first two components hold {sum(study.latent.explained[:2]):.1%} of the variance of the "
        f"{len(study.latent.explained)} latent dimensions. The classes {apart}: their centres lie at most "
        f"{distance:.2f} standard deviations apart on either component. The plain VAE never saw an outcome; "
        "it "
        "arranges the clients by what varies most in their statements, whether or not that has to do with "
        "default."
    )


# ── Charts ──────────────────────────────────────────────────────────────────────────────────────

PAID, DEFAULTED = CURRENT, ALARM
_LINES: dict[str, dict[str, Any]] = {
    "vae_supervised": {"color": CURRENT, "linewidth": 2.2},
    "logistic_smote": {"color": REFERENCE, "linewidth": 1.4},
    "logistic": {"color": REFERENCE, "linewidth": 1.4, "linestyle": (0, (4, 2))},
    "vae_latent": {"color": THIRD, "linewidth": 1.6},
    "vae_anomaly": {"color": INK, "linewidth": 1.4, "linestyle": (0, (1, 1.5))},
}


def charts(study: Study) -> dict[str, Any]:
    """Every chart of the page by name, as inline SVG."""
    return {
        "shares": shares_chart(study),
        "limit_with": limit_boxes(study, outliers=True),
        "limit_without": limit_boxes(study, outliers=False),
        "timeline": timeline_scatter(study),
        "distributions": [(d, distribution_chart(d)) for d in study.distributions],
        "roc": roc_chart(study),
        "loss": loss_chart(study),
        "latent": latent_scatter(study),
    }


def shares_chart(study: Study) -> Markup:
    """The share of each class, with its clients."""
    sample = study.sample
    clients = {"defaulted": sample.defaulters, "paid": sample.rows - sample.defaulters}

    def draw(axes: Axes) -> None:
        bars = axes.barh(
            list(clients), [sample.shares[name] for name in clients], height=0.6, color=[DEFAULTED, PAID]
        )
        labels = [f"{sample.shares[name]:.1%} · {n:,}" for name, n in clients.items()]
        axes.bar_label(bars, labels, padding=4, color=INK)
        axes.set_xlim(0, 1.5 * max(sample.shares.values()))  # the label of the longest bar stands beside it
        axes.set_axisbelow(True)
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return drawn("class-shares", "Share of clients in each class", (4.6, 1.35), draw)


def limit_boxes(study: Study, *, outliers: bool) -> Markup:
    """LIMIT_BAL by class: boxes, whiskers to the furthest value inside Tukey's fences, outliers as dots."""

    def draw(axes: Axes) -> None:
        for place, (name, color) in enumerate((("defaulted", DEFAULTED), ("paid", PAID))):
            _box(axes, study, name, place, color, outliers)
        axes.set_yticks([0, 1], ["defaulted", "paid"])
        axes.set_ylim(-0.5, 1.5)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(_thousands())
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("LIMIT_BAL")
        axes.set_title("With outliers" if outliers else "Without outliers")

    key = "limit-with" if outliers else "limit-without"
    return drawn(key, f"Credit limit by class, {key.split('-')[1]} outliers", (5.2, 1.9), draw)


def _box(axes: Axes, study: Study, name: str, place: int, color: str, outliers: bool) -> None:
    box = study.limit[name]
    values = study.timeline.limit[study.timeline.defaulted == (name == "defaulted")]
    # Limits are round sums: one dot a distinct value shows the same picture as hundreds on top of each other.
    beyond = np.unique(values[(values < box.low_fence) | (values > box.high_fence)])
    line = {"color": color, "linewidth": 1.4}
    axes.bxp(
        [
            {
                "whislo": box.low_fence,
                "q1": box.q1,
                "med": box.median,
                "q3": box.q3,
                "whishi": box.high_fence,
                "fliers": beyond if outliers else [],
                "mean": box.mean if outliers else box.mean_without,
            }
        ],
        positions=[place],
        widths=0.5,
        orientation="horizontal",
        showmeans=True,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "edgecolor": color, "alpha": 0.35},
        medianprops={"color": color, "linewidth": 2.4},
        whiskerprops=line,
        capprops=line,
        flierprops={"marker": "o", "markersize": 2.6, "markerfacecolor": color, "markeredgecolor": "none"},
        meanprops={"marker": "D", "markersize": 4, "markerfacecolor": INK, "markeredgecolor": "none"},
    )


def distribution_chart(distribution: Distribution) -> Markup:
    """One attribute by class: two density curves, or a pair of bars a code."""

    def draw(axes: Axes) -> None:
        (_code_bars if distribution.kind == "codes" else _curves)(axes, distribution)
        axes.set_title(distribution.name.upper())
        axes.grid(axis="x", visible=False)

    return drawn(f"by-class-{distribution.name}", f"{distribution.name} by class", (3.1, 1.75), draw)


def _code_bars(axes: Axes, distribution: Distribution) -> None:
    places = np.arange(len(distribution.at))
    axes.bar(places - 0.2, distribution.paid, 0.4, color=PAID, label="paid")
    axes.bar(places + 0.2, distribution.defaulted, 0.4, color=DEFAULTED, label="defaulted")
    axes.set_xticks(places, [f"{code:g}" for code in distribution.at])
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _curves(axes: Axes, distribution: Distribution) -> None:
    for heights, color in ((distribution.paid, PAID), (distribution.defaulted, DEFAULTED)):
        axes.fill_between(distribution.at, heights, color=color, alpha=0.16, linewidth=0)
        axes.plot(distribution.at, heights, color=color, linewidth=1.5)
    axes.set_yticks([])
    axes.set_ylim(bottom=0)
    axes.set_xlim(*distribution.shown)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if distribution.shown[1] >= 10_000:
        axes.xaxis.set_major_formatter(_thousands())


def roc_chart(study: Study) -> Markup:
    """The ROC curves of all models, the best on top of the legend."""
    ranked = sorted(study.models.values(), key=lambda m: -m.roc_auc)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        for model in ranked:
            label = f"{model.title}, AUC {model.roc_auc:.4f}"
            axes.plot(model.curve[:, 0], model.curve[:, 1], label=label, **_LINES[model.name])
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
        axes.set_aspect("equal")
        axes.set_xlabel("share of paying clients flagged (false positive rate)")
        axes.set_ylabel("share of defaulters found (true positive rate)")
        axes.legend(loc="lower right", handlelength=2.6)

    return drawn("roc", "ROC curves of the five models on the test clients", (5.4, 4.9), draw)


def loss_chart(study: Study) -> Markup:
    """Loss per epoch, the published values as diamonds; place 0 is the first batch."""

    def draw(axes: Axes) -> None:
        ours = [study.loss.first_batch, *study.loss.per_epoch]
        others = study.loss.other_starts
        if others:
            label = f"first batch of {len(others)} other starts"
            axes.plot([0, 0], [others[0], others[-1]], color=CURRENT, alpha=0.3, linewidth=6, label=label)
        published = {0: figures.PUBLISHED_FIRST_BATCH_LOSS, **figures.PUBLISHED_EPOCH_LOSS}
        axes.plot(
            range(len(ours)), ours, color=CURRENT, linewidth=1.6, marker="o", markersize=3, label="ours"
        )
        style: dict[str, Any] = {
            "linestyle": "none",
            "marker": "D",
            "markersize": 5,
            "markerfacecolor": "none",
        }
        axes.plot(
            list(published), list(published.values()), label="published", markeredgecolor=REFERENCE, **style
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (0: first batch, before any step)")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")

    return drawn("loss", "Training loss of the plain VAE by epoch", (6.4, 3.9), draw)


def timeline_scatter(study: Study) -> Markup:
    """LIMIT_BAL of every client against its ID, by class."""
    timeline = study.timeline

    def dress(axes: Axes) -> None:
        axes.yaxis.set_major_formatter(_thousands())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("ID" if timeline.by_id else "row of the file")
        axes.set_ylabel("LIMIT_BAL")

    points = np.column_stack([timeline.position, timeline.limit])
    label = "Credit limit of every client against its ID, by class"
    return raster("timeline", label, (11.0, 4.2), points, timeline.defaulted, dress)


def latent_scatter(study: Study) -> Markup:
    """The test clients on the first two principal components of the latent means, by class."""
    shares = [*study.latent.explained, 0.0]

    def dress(axes: Axes) -> None:
        axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({shares[1]:.0%})")

    label = "Test clients on two principal components of the latent space, by class"
    shown = latent_shown(study)
    return raster(
        "latent", label, (6.4, 4.8), study.latent.points[shown], study.latent.defaulted[shown], dress
    )


def latent_shown(study: Study) -> np.ndarray:
    """(test rows,) which clients are drawn: the middle 99% on either component; a few far ones would fill "
    "the page."""
    low, high = np.quantile(study.latent.points, [0.005, 0.995], axis=0)
    return ((study.latent.points >= low) & (study.latent.points <= high)).all(axis=1)


def _thousands() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value / 1000:,.0f}k" if value else "0")


# ── Charts of many points ───────────────────────────────────────────────────────────────────────

_PIXELS_PER_INCH = 150


def raster(
    key: str,
    label: str,
    size: tuple[float, float],
    points: np.ndarray,
    defaulted: np.ndarray,
    dress: Callable[[Axes], None],
) -> Markup:
    """A scatter of points (n, 2) by class, as one picture a class inside an `<svg>`.

    A vector mark a client would make megabytes. The pictures hold opacity alone; a filter gives them the
    page's colours, so that they follow light and dark as every other chart does.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.02 * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin
    pictures = [_opacity(points[chosen], low, high, size) for chosen in (~defaulted, defaulted)]

    def draw(axes: Axes) -> None:
        extent = (low[0], high[0], low[1], high[1])
        for picture in pictures:
            axes.imshow(picture, extent=extent, aspect="auto", interpolation="none")
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        dress(axes)

    return _tinted(drawn(key, label, size, draw), key)


def _opacity(points: np.ndarray, low: np.ndarray, high: np.ndarray, size: tuple[float, float]) -> np.ndarray:
    """(height, width, 4) uint8: one translucent dot a point, white, on nothing."""
    figure = Figure(figsize=size, dpi=_PIXELS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1), frameon=False)
    axes.set_axis_off()
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.scatter(points[:, 0], points[:, 1], s=3.0, color="white", alpha=0.55, linewidths=0)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba()).copy()
    # Opacity in sixteen steps looks the same and halves the page.
    picture[..., 3] = (picture[..., 3] // 17) * 17
    picture[..., :3] = 255
    return picture


def _tinted(svg: Markup, key: str) -> Markup:
    text = str(svg)
    filters = ""
    for number, variable in enumerate(("--current", "--alarm")):
        name = f"{key}-tint-{number}"
        filters += (
            f'<filter id="{name}" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">'
            f'<feFlood style="flood-color:var({variable})"/>'
            '<feComposite in2="SourceAlpha" operator="in"/></filter>'
        )
        text = text.replace("<image ", f'<IMAGE style="filter:url(#{name})" ', 1)
    text = text.replace("<IMAGE ", "<image ").replace("<defs>", f"<defs>{filters}", 1)
    return Markup(text)  # noqa: S704
