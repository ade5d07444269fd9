"""Writes the study: `study.html`, a page that opens offline, and `study.json`, its figures.

Runs when someone asks for it, outside the monthly run: `creditflow study FILE --out DIR`.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from creditflow.columns import CLIENT_ID, OUTCOME
from creditflow.errors import ContentRefused, HeaderRefused
from creditflow.month import Month
from creditflow.version import code_version
from expectations import intake
from models import study as figures
from models.study import Distribution, Progress, Study
from tasks.home import unusable
from tasks.reports.charts import ALARM, CURRENT, INK, MUTED, REFERENCE, RULE, THIRD, drawn

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
        checked = intake.check_file(file, "clients", _MONTH, Path(work), nothing_known)
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


# The contract keys a file by its month; a study has none, and holds its file against no other month.
_MONTH = Month(2005, 9)


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


# ── Charts ──────────────────────────────────────────────────────────────────────────────────────

PAID, DEFAULTED = REFERENCE, ALARM
_LINES: dict[str, dict[str, Any]] = {
    "vae_supervised": {"color": CURRENT, "linewidth": 2.2},
    "logistic_smote": {"color": REFERENCE, "linewidth": 1.4},
    "logistic": {"color": REFERENCE, "linewidth": 1.4, "linestyle": (0, (4, 2))},
    "vae_latent": {"color": THIRD, "linewidth": 1.6},
    "vae_anomaly": {"color": ALARM, "linewidth": 1.6, "linestyle": (0, (1, 1))},
}


def charts(study: Study) -> dict[str, Any]:
    """Every chart of the page by name, as inline SVG."""
    return {
        "limit_with": limit_boxes(study, outliers=True),
        "limit_without": limit_boxes(study, outliers=False),
        "timeline": timeline_scatter(study),
        "distributions": [distribution_chart(d) for d in study.distributions],
        "roc": roc_chart(study),
        "loss": loss_chart(study),
        "latent": latent_scatter(study),
    }


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
    for heights, color, style in (
        (distribution.paid, PAID, "-"),
        (distribution.defaulted, DEFAULTED, "-"),
    ):
        axes.fill_between(distribution.at, heights, color=color, alpha=0.16, linewidth=0)
        axes.plot(distribution.at, heights, color=color, linewidth=1.5, linestyle=style)
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

    return drawn("roc", "ROC curves of the five models on the test clients", (6.4, 5.4), draw)


def loss_chart(study: Study) -> Markup:
    """Loss per epoch, the published values as diamonds; place 0 is the first batch."""

    def draw(axes: Axes) -> None:
        ours = [study.loss.first_batch, *study.loss.per_epoch]
        published = {0: figures.PUBLISHED_FIRST_BATCH_LOSS, **figures.PUBLISHED_EPOCH_LOSS}
        axes.plot(
            range(len(ours)), ours, color=CURRENT, linewidth=1.6, marker="o", markersize=3, label="ours"
        )
        style = {"linestyle": "none", "marker": "D", "markersize": 5, "markerfacecolor": "none"}
        axes.plot(
            list(published), list(published.values()), label="published", markeredgecolor=REFERENCE, **style
        )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch (0: first batch, before any step)")
        axes.set_ylabel("loss")
        axes.legend(loc="upper right")

    return drawn("loss", "Training loss of the plain VAE by epoch", (8.6, 2.9), draw)


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
    return raster("timeline", label, (8.6, 3.6), points, timeline.defaulted, dress)


def latent_scatter(study: Study) -> Markup:
    """The test clients on the first two principal components of the latent means, by class."""
    shares = [*study.latent.explained, 0.0]

    def dress(axes: Axes) -> None:
        axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({shares[1]:.0%})")

    label = "Test clients on two principal components of the latent space, by class"
    return raster("latent", label, (6.4, 4.6), study.latent.points, study.latent.defaulted, dress)


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
    axes.scatter(points[:, 0], points[:, 1], s=1.6, color="white", alpha=0.55, linewidths=0)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba()).copy()
    # Opacity in sixteen steps looks the same and halves the page.
    picture[..., 3] = (picture[..., 3] // 17) * 17
    picture[..., :3] = 255
    return picture


def _tinted(svg: Markup, key: str) -> Markup:
    text = str(svg)
    filters = ""
    for number, variable in enumerate(("--reference", "--alarm")):
        name = f"{key}-tint-{number}"
        filters += (
            f'<filter id="{name}" x="0" y="0" width="1" height="1" color-interpolation-filters="sRGB">'
            f'<feFlood style="flood-color:var({variable})"/>'
            '<feComposite in2="SourceAlpha" operator="in"/></filter>'
        )
        text = text.replace("<image ", f'<IMAGE style="filter:url(#{name})" ', 1)
    text = text.replace("<IMAGE ", "<image ").replace("<defs>", f"<defs>{filters}", 1)
    return Markup(text)  # noqa: S704
