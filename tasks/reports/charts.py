"""Charts of the pages: matplotlib figures as inline SVG, the same bytes for the same figures.

Text stays text in the page's own font, and every colour is a CSS variable of the page, so one chart
serves light, dark and print. Figures are built without pyplot: no global state, safe in threads.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from io import StringIO
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import matplotlib as mpl
import numpy as np
from jinja2 import Template
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tasks.reports.gather import MODERATE, PD_BINS, SIGNIFICANT, DriftBin, DriftFact, MonthRow
from tasks.reports.templating import strict_environment

if TYPE_CHECKING:
    from tasks.reports.validation import Group, TrendPoint, Twentieth

# Stand-ins that only these charts use; `_themed` turns each into the page's CSS variable.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
CURRENT, REFERENCE, THIRD, ALARM = "#040404", "#050505", "#060606", "#070707"
PAPER = "#080808"
_VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    CURRENT: "--current",
    REFERENCE: "--reference",
    THIRD: "--third",
    ALARM: "--alarm",
    PAPER: "--paper",
}
_FONT_SIZE: Final = 9.0
_STYLE: Final = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "font.size": _FONT_SIZE,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "text.parse_math": False,  # a dollar sign in a label is a dollar sign
}
_LONGEST_LABEL = 36
_FULL_WIDTH = 10.9  # inches: the width of the page
_WIDE_FROM = 7.0  # inches: wider charts scroll in their box on a narrow screen

# --- From a drawing to an SVG element --------------------------------------------------------------


def drawn(key: str, label: str, size: tuple[float, float], draw: Callable[[Axes], None]) -> Markup:
    """One chart as an `<svg>` element.

    Args:
        key: a name that is unique within the page; it prefixes every id of the element.
        label: what the chart shows, for readers who hear the page.
        size: width and height in inches at 72 units an inch; the page scales it down where narrow.
        draw: puts the marks on the axes.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=size)
        axes = figure.add_subplot()
        draw(axes)
        _make_room(figure, axes)
        buffer = StringIO()
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return Markup(_themed(_tidied(buffer.getvalue(), key, label)))  # noqa: S704


# Points.
_EDGE: Final = 4.0  # stay free all around
_TICK: Final = 3.5  # between an axis and its tick labels, as in matplotlib's style
_LINE: Final = 1.2 * _FONT_SIZE  # a line of text
_BESIDE: Final = _LINE + 6.0  # a line beside the axes, with the gap before it


def _make_room(figure: Figure, axes: Axes) -> None:
    """Leaves room around the axes for what is written there.

    matplotlib's own layouts draw a chart once more to find out, which takes a third of its time. What stands
    here is known beforehand: tick labels, a label to each axis, a title, a legend on top.
    """
    width, height = 72 * figure.get_size_inches()
    across, up = _tick_labels(axes.xaxis), _tick_labels(axes.yaxis)
    left = max((_TICK + label.width for label in up), default=0) + (_BESIDE if axes.get_ylabel() else 0)
    bottom = (_TICK + _LINE if across else 0) + (_BESIDE if axes.get_xlabel() or _power(axes.xaxis) else 0)
    on_top = axes.get_title("left") or _power(axes.yaxis) or _legend_on_top(axes)
    top = _BESIDE if on_top else _LINE / 2
    # A label near the end of the axis reaches beyond it; before the ends are known, nearly so far.
    right = max((label.width / 2 - (1 - label.place) * 0.8 * width for label in across), default=0)
    figure.subplots_adjust(
        left=(_EDGE + left) / width,
        bottom=(_EDGE + bottom) / height,
        right=1 - (_EDGE + max(right, 0)) / width,
        top=1 - (_EDGE + top) / height,
    )


class _TickLabel(NamedTuple):
    place: float  # on its axis, from 0 to 1
    width: float  # points


def _tick_labels(axis: Axis) -> list[_TickLabel]:
    """The labels that will stand along the axis."""
    low, high = sorted(axis.get_view_interval())
    # As matplotlib does: 6 × 0.05 is a place on an axis that ends at 0.3.
    slack = 1e-10 * (high - low)
    places = [place for place in axis.get_majorticklocs() if low - slack <= place <= high + slack]
    words = axis.get_major_formatter().format_ticks(places)
    return [
        _TickLabel((place - low) / (high - low), _text_width(text))
        for place, text in zip(places, words, strict=True)
        if text
    ]


@lru_cache(256)
def _text_width(text: str) -> float:
    """Points that a tick label takes, in matplotlib's own font; the page's is narrower."""
    size = FontProperties(size=_FONT_SIZE)
    return float(text_to_path.get_text_width_height_descent(text, size, ismath=False)[0])


def _power(axis: Axis) -> str:
    """The power of ten that all tick labels share, which stands at the end of the axis."""
    return axis.get_major_formatter().get_offset()


def _legend_on_top(axes: Axes) -> bool:
    """Whether a legend stands above the axes, where those do that are anchored to a point."""
    legend = axes.get_legend()
    return legend is not None and not legend.get_bbox_to_anchor().height


def _tidied(svg: str, key: str, label: str) -> str:
    """The element alone: no XML prolog or metadata, ids prefixed by the key, sized by the page."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", element, flags=re.S)
    element = re.sub(r">\s+<", "><", element)
    element = re.sub(r'\bid="([^"]+)"', rf'id="{key}-\1"', element)
    element = element.replace("url(#", f"url(#{key}-").replace('href="#', f'href="#{key}-')
    element = re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1 system-ui, sans-serif", element)
    element = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, sans-serif", element)
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', element)
    points = float(view[1]) if view else 72 * _FULL_WIDTH
    kind = ' class="wide"' if points > 72 * _WIDE_FROM else ""
    look = f"width:100%;max-width:{points * 4 / 3:.0f}px"
    head = f'<svg role="img"{kind} aria-label="{escape(label)}" style="{look}"'
    body = re.sub(r'^<svg\b([^>]*?) width="[^"]*"', r"<svg\1", element)
    body = re.sub(r'^<svg\b([^>]*?) height="[^"]*"', r"<svg\1", body)
    return body.replace("<svg", head, 1)


def _themed(svg: str) -> str:
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return svg


def shortened(text: str, longest: int = _LONGEST_LABEL) -> str:
    """The text, cut with an ellipsis where it would push the marks out of the chart."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


# --- Trends over months ---------------------------------------------------------------------------


def psi_trend(months: Sequence[MonthRow]) -> Markup:
    """PSI of the score by month, with the bands 0.10 and 0.25."""

    def draw(axes: Axes) -> None:
        _line(axes, [m.psi for m in months], CURRENT, "score PSI")
        _band_lines(axes.axhline)
        axes.set_ylim(0, max(0.3, *(1.15 * (m.psi or 0) for m in months)))
        _month_axis(axes, months)
        axes.set_title("PSI of the score")

    return drawn("psi-trend", "PSI of the score by month", _TREND, draw)


def default_trend(months: Sequence[MonthRow]) -> Markup:
    """Mean PD beside the default rate, once known, by month."""

    def draw(axes: Axes) -> None:
        _line(axes, [m.mean_pd for m in months], REFERENCE, "mean PD", dashed=True)
        _line(axes, [m.default_rate for m in months], CURRENT, "default rate")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_ylim(0, 1.15 * max([0.01, *_known(months, "mean_pd"), *_known(months, "default_rate")]))
        _month_axis(axes, months)
        _legend(axes)
        axes.set_title("Default rate and mean PD")

    return drawn("default-trend", "Default rate and mean PD by month", _TREND, draw)


def auc_trend(months: Sequence[MonthRow]) -> Markup:
    """Realised ROC AUC of the champion beside its held-out one, by month."""

    def draw(axes: Axes) -> None:
        _line(axes, [m.auc_held_out for m in months], REFERENCE, "held out", dashed=True)
        _line(axes, [m.auc_realised for m in months], CURRENT, "realised")
        _hollow_in_sample(axes, months)
        _pad_auc(axes, [*_known(months, "auc_held_out"), *_known(months, "auc_realised")])
        _month_axis(axes, months)
        _legend(axes)
        axes.set_title("ROC AUC")

    return drawn("auc-trend", "ROC AUC of the champion by month", _TREND, draw)


def rows_trend(months: Sequence[MonthRow]) -> Markup:
    """Accepted and quarantined rows by month."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(months))
        accepted = np.array([m.accepted or 0 for m in months])
        quarantined = np.array([m.quarantined or 0 for m in months])
        axes.bar(places, accepted, width=0.62, color=CURRENT, label="accepted")
        axes.bar(places, quarantined, width=0.62, bottom=accepted, color=REFERENCE, label="quarantined")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="x", visible=False)
        _month_axis(axes, months)
        axes.set_ylim(top=max(1.0, 1.25 * float((accepted + quarantined).max())))
        _legend(axes)
        axes.set_title("Rows received")

    return drawn("rows-trend", "Accepted and quarantined rows by month", _TREND, draw)


_TREND: Final = (5.2, 2.3)


def _known(months: Sequence[MonthRow], name: str) -> list[float]:
    return [v for v in (getattr(m, name) for m in months) if v is not None]


def _pad_auc(axes: Axes, values: Sequence[float]) -> None:
    """At least two points of AUC on the axis: noise in the fourth decimal must not look like a fall."""
    low, high = min(values), max(values)
    room = max(0.01, 0.15 * (high - low))
    axes.set_ylim(low - room, high + room)


def _line(
    axes: Axes, values: Sequence[float | None], color: str, label: str, *, dashed: bool = False
) -> None:
    """A line with a mark on each known month; a month without the figure is a gap, not a zero."""
    heights = [math.nan if v is None else v for v in values]
    style: dict[str, Any] = {"linestyle": (0, (4, 2)), "marker": "D", "markersize": 3.5}
    if not dashed:
        style = {"marker": "o", "markersize": 4}
    axes.plot(range(len(heights)), heights, color=color, linewidth=1.6, label=label, **style)


def _hollow_in_sample(axes: Axes, months: Sequence[MonthRow]) -> None:
    """Hollow marks where the model was developed on the month: its figure there flatters."""
    found = [(n, m.auc_realised) for n, m in enumerate(months) if m.basis == "in_sample" and m.auc_realised]
    if found:
        places, heights = zip(*found, strict=True)
        axes.plot(
            places,
            heights,
            marker="o",
            markersize=5,
            linestyle="",
            color=CURRENT,
            markerfacecolor=PAPER,
            label="in-sample",
        )


def _band_lines(line: Callable[..., object]) -> None:
    line(MODERATE, color=THIRD, linewidth=1, linestyle=(0, (4, 2)))
    line(SIGNIFICANT, color=ALARM, linewidth=1, linestyle=(0, (4, 2)))


def _month_axis(axes: Axes, months: Sequence[MonthRow]) -> None:
    step = max(1, math.ceil(len(months) / 8))
    places = range(0, len(months), step)
    axes.set_xticks(list(places), [months[p].month for p in places])
    axes.set_xlim(-0.5, max(len(months) - 0.5, 0.5))


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3, borderaxespad=0, handlelength=1.8)


# --- Scores of a month ----------------------------------------------------------------------------


def pd_histogram(
    current: Sequence[float],
    reference: Sequence[float] | None,
    earlier: tuple[str, Sequence[float]] | None = None,
) -> Markup:
    """Shares of clients by PD class of equal width: the month filled, the others as outlines."""

    def draw(axes: Axes) -> None:
        edges = np.linspace(0, 1, PD_BINS + 1)
        axes.stairs(current, edges, fill=True, color=CURRENT, alpha=0.75, label="this month")
        if reference is not None:
            axes.stairs(reference, edges, color=REFERENCE, linewidth=1.6, label="reference sample")
        if earlier is not None:
            axes.stairs(
                earlier[1], edges, color=THIRD, linewidth=1.2, linestyle=(0, (4, 2)), label=earlier[0]
            )
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlim(0, 1)
        axes.set_xlabel("PD, in classes of 2.5 percentage points")
        axes.set_ylabel("share of clients")
        axes.legend(loc="upper right")

    return drawn("pd-histogram", "Distribution of the champion's PD", (_FULL_WIDTH, 2.8), draw)


# --- Stability ------------------------------------------------------------------------------------


def drift_bars(facts: Sequence[DriftFact]) -> Markup:
    """PSI and CSI as bars, the score on top, with the bands 0.10 and 0.25."""
    known = [f for f in facts if f.value is not None][::-1]

    def draw(axes: Axes) -> None:
        values = [f.value or 0.0 for f in known]
        names = [shortened(f.name) for f in known]
        axes.barh(range(len(known)), values, height=0.66, color=[_bar_color(v) for v in values])
        axes.set_yticks(range(len(known)), names)
        axes.set_ylim(-0.6, len(known) - 0.4)
        _band_lines(axes.axvline)
        axes.set_xlim(0, max(0.3, 1.12 * max(values)))
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("PSI of the score, CSI of each attribute; dashed: 0.10 and 0.25")

    return drawn("drift-bars", "PSI and CSI by variable", (_FULL_WIDTH, 0.8 + 0.2 * len(known)), draw)


_BINS_BOX: Final = (46.8, 352.8, 17.8, 104.0)  # points: left, right, top, bottom of the axes of `bin_bars`


def bin_bars(name: str, number: int, bins: Sequence[DriftBin]) -> Markup:
    """Shares of reference and month in each reference bin of one variable.

    A pack has one for every variable. From a template they cost a small part of what matplotlib takes to lay
    them out; its rules set the ticks.
    """
    left, right, top, bottom = _BINS_BOX
    highest = 1.05 * max(1e-9, *(max(b.reference_share, b.current_share) for b in bins))
    unit = (right - left) / (1.1 * (len(bins) - 0.2))  # a bin; a twentieth of all stays free on either side
    first = left + unit * (0.05 * (len(bins) - 0.2) + 0.4)

    def height(share: float) -> float:
        return bottom - (bottom - top) * share / highest

    groups = [
        (first + unit * place, b.bin, height(b.reference_share), height(b.current_share))
        for place, b in enumerate(bins)
    ]
    drawing = _template("bins.svg.j2").render(
        key=f"bins-{number}",
        label=f"Shares by bin of {name}",
        box=_BINS_BOX,
        ticks=[(height(share), words) for share, words in _share_ticks(highest)],
        groups=groups,
        bar=0.4 * unit,
    )
    return Markup(drawing)  # noqa: S704


def _share_ticks(highest: float) -> list[tuple[float, str]]:
    """Shares from 0 to `highest` to be marked on an axis, and their words."""
    words = PercentFormatter(1, decimals=None)
    marks = MaxNLocator(4).tick_values(0, highest)
    return [(float(mark), words.format_pct(mark, highest)) for mark in marks if mark <= highest]


@cache
def _template(name: str) -> Template:
    environment = strict_environment()
    environment.filters["place"] = "{:.6g}".format
    return environment.get_template(name)


def _bar_color(value: float) -> str:
    return ALARM if value >= SIGNIFICANT else THIRD if value >= MODERATE else CURRENT


# --- Validation -----------------------------------------------------------------------------------


def estimate_trend(points: "Sequence[TrendPoint]") -> Markup:
    """Estimated ROC AUC beside the realised one with its 95 % interval, by month."""

    def draw(axes: Axes) -> None:
        _line(axes, [p.estimated for p in points], REFERENCE, "estimated from the PDs", dashed=True)
        _line(axes, [p.realised for p in points], CURRENT, "realised, with 95 % interval")
        for place, p in enumerate(points):
            if p.low is not None and p.high is not None:
                axes.vlines(place, p.low, p.high, color=CURRENT, linewidth=1)
        known = [v for p in points for v in (p.estimated, p.realised, p.low, p.high) if v is not None]
        _pad_auc(axes, known)
        step = max(1, math.ceil(len(points) / 12))
        axes.set_xticks(range(0, len(points), step), [p.month for p in points[::step]])
        axes.set_xlim(-0.5, len(points) - 0.5)
        axes.set_ylabel("ROC AUC")
        _legend(axes)

    return drawn("estimate-trend", "Estimated and realised ROC AUC by month", (_FULL_WIDTH, 2.6), draw)


def reliability_curve(groups: "Sequence[Group]") -> Markup:
    """Default rate against mean PD of each tenth, with its 95 % interval; on the diagonal the PD is right."""

    def draw(axes: Axes) -> None:
        top = 1.08 * max(max(g.mean_pd, g.rate_high or g.default_rate) for g in groups) + 1e-9
        axes.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle=(0, (4, 2)), label="PD is right")
        for g in groups:
            if g.rate_low is not None and g.rate_high is not None:
                axes.vlines(g.mean_pd, g.rate_low, g.rate_high, color=CURRENT, linewidth=1.2)
        axes.plot(
            [g.mean_pd for g in groups],
            [g.default_rate for g in groups],
            color=CURRENT,
            marker="o",
            markersize=4,
            linewidth=1.2,
            label="tenths of the clients, with 95 % interval",
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_xlim(0, top)
        axes.set_ylim(0, top)
        axes.set_xlabel("mean PD")
        axes.set_ylabel("default rate")
        axes.legend(loc="upper left")

    return drawn("reliability", "Reliability: default rate against PD", (5.2, 3.6), draw)


def gains_curve(twentieths: "Sequence[Twentieth]") -> Markup:
    """Share of the defaulters among the riskiest clients, against chance and a perfect order."""

    def draw(axes: Axes) -> None:
        clients = np.cumsum([0, *(t.clients for t in twentieths)])
        bad = np.cumsum([0, *(t.defaulters for t in twentieths)])
        rate = bad[-1] / clients[-1]
        axes.plot([0, rate, 1], [0, 1, 1], color=MUTED, linewidth=1, linestyle=(0, (1, 2)), label="perfect")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 2)), label="chance")
        axes.plot(
            clients / clients[-1], bad / bad[-1], color=CURRENT, marker="o", markersize=3, label="champion"
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("riskiest share of the clients")
        axes.set_ylabel("share of the defaulters")
        axes.legend(loc="lower right")

    return drawn("gains", "Gains: defaulters found among the riskiest clients", (5.2, 3.2), draw)


# --- The VAE --------------------------------------------------------------------------------------


def loss_curve(losses: Sequence[float]) -> Markup:
    """Mean total loss of each epoch of training."""

    def draw(axes: Axes) -> None:
        axes.plot(range(1, len(losses) + 1), losses, color=CURRENT, linewidth=1.6, marker="o", markersize=3)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean loss")

    return drawn("vae-loss", "Training loss by epoch", (5.2, 2.6), draw)


def latent_scatter(reference: np.ndarray, month: np.ndarray, explained: Sequence[float]) -> Markup:
    """Latent means of both sides on the two main axes of the reference's."""

    def draw(axes: Axes) -> None:
        for side, color, label in (
            (reference, REFERENCE, "reference sample"),
            (month, CURRENT, "this month"),
        ):
            second = side[:, 1] if side.shape[1] > 1 else np.zeros(len(side))
            axes.scatter(side[:, 0], second, s=5, color=color, alpha=0.45, linewidths=0, label=label)
        names = [f"axis {n} ({share:.0%} of the variance)" for n, share in enumerate(explained, start=1)]
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1] if len(names) > 1 else "no second axis")
        # Above the axes: among the points it would hide some of them.
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, borderaxespad=0, markerscale=2.5)

    return drawn("vae-latent", "Latent means on two principal axes", (5.2, 3.6), draw)


def activity_bars(activity: Sequence[float], threshold: float) -> Markup:
    """Variance of each latent dimension's mean over the clients; grey where it carries nothing."""

    def draw(axes: Axes) -> None:
        colors = [CURRENT if variance > threshold else MUTED for variance in activity]
        axes.bar(range(1, len(activity) + 1), activity, width=0.6, color=colors)
        axes.set_xlim(0.4, max(len(activity), 4) + 0.6)  # a bar or two would fill the chart otherwise
        axes.axhline(threshold, color=THIRD, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_xticks(range(1, len(activity) + 1, math.ceil(len(activity) / 10)))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("latent dimension")
        axes.set_ylabel("variance of the mean")

    return drawn("vae-activity", "Activity of the latent dimensions", (5.2, 2.6), draw)


def error_histogram(reference: np.ndarray, month: np.ndarray) -> Markup:
    """Shares of clients by reconstruction error; the highest hundredth shares the last class."""

    def draw(axes: Axes) -> None:
        top = max(float(np.quantile(side, 0.99)) for side in (reference, month)) or 1.0
        edges = np.linspace(0, top, 41)
        shares = [np.histogram(np.minimum(side, top), edges)[0] / len(side) for side in (reference, month)]
        axes.stairs(shares[1], edges, fill=True, color=CURRENT, alpha=0.75, label="this month")
        axes.stairs(shares[0], edges, color=REFERENCE, linewidth=1.6, label="reference sample")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_xlim(0, top)
        axes.set_xlabel("reconstruction error (mean squared deviation)")
        axes.set_ylabel("share of clients")
        axes.legend(loc="upper right")

    return drawn("vae-errors", "Reconstruction error against the reference", (_FULL_WIDTH, 2.6), draw)
