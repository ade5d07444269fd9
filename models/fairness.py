"""Fairness monitoring: does the policy cut-off treat groups of clients alike, and does the PD hold in each?

This is monitoring and no legal verdict. A ratio or a gap says that groups differ and by how much; it does not
say why, and no single figure here makes a policy lawful or unlawful. The groups are those of
`models.segments.PROTECTED`, the attributes that the default policy keeps out of the models.

A client is *flagged* when the PD reaches the cut-off, and *selected* when it does not. Of each group:

- `selection_rate`: selected clients over clients. Needs no outcomes.
- `selection_rate_ratio`: over the rate of the reference group; what Feldman et al. (2015), "Certifying and
  removing disparate impact", KDD, call disparate impact.
- `true_positive_rate` and `false_positive_rate`: flagged defaulters over defaulters, flagged non-defaulters
  over non-defaulters; their gaps are the group's rate less the reference group's. With both gaps at zero odds
  are equalised (Hardt, Price & Srebro 2016, "Equality of opportunity in supervised learning", NIPS). Their
  equal opportunity, the same chance of the good decision for those who deserve it, is here a false positive
  gap of zero, because the positive class is default.
- `observed_to_expected`: defaults over the sum of the PDs, the calibration within the group.

In the words of Fairlearn's `MetricFrame`, with `flagged` as the prediction, these are 1 less `selection_rate`
and the values by group of `true_positive_rate` and `false_positive_rate`. Ratio and gaps are taken to one
group, where `difference` and `ratio` there span the extremes by default. The reference group is the
attribute's largest, and of equally large ones the first.

Intervals are 95 % intervals:

- of a rate: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22;
- of a ratio: Katz, Baptista, Azen & Pike (1978), "Obtaining confidence intervals for the risk ratio in cohort
  studies", Biometrics 34, method C;
- of a gap: Newcombe (1998), "Interval estimation for the difference between independent proportions:
  comparison of eleven methods", Statistics in Medicine 17, method 10;
- of observed over expected: the Jeffreys interval of the default rate, divided by the mean PD.

They cover the sampling of the clients and not the estimation of the PDs; nothing corrects for the number of
groups that are looked at.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from scipy.stats import binomtest
from scipy.stats.contingency import relative_risk

from creditflow.columns import OUTCOME
from models.backtest import jeffreys_interval
from models.discrimination import Interval
from models.segments import (
    MIN_CLIENTS,
    NOT_RECEIVED,
    PROTECTED,
    SEGMENT_SCHEMA,
    SEGMENTS,
    Group,
    groups,
    segment_rows,
)

LEVEL = 0.95
# 29 CFR 1607.4(D), Uniform Guidelines on Employee Selection Procedures (1978): a rate below four fifths of
# that of the group with the highest rate is generally regarded as evidence of adverse impact. It was written
# for hiring, and against the highest rate, not the largest group's.
FOUR_FIFTHS = 0.8
FOUR_FIFTHS_NOTE = (
    "The line at 0.8 is the four-fifths rule of 29 CFR 1607.4(D), written for hiring: an orientation for "
    "where to look, not a limit that a credit policy passes or fails."
)
REFERENCE = "reference group"
NO_CUT_OFF = "no cut-off is known"

MEASURES: dict[str, str] = {
    "selection_rate": "Selection rate",
    "selection_rate_ratio": "Selection rate over the reference group's",
    "true_positive_rate": "Defaulters flagged",
    "true_positive_rate_gap": "Defaulters flagged, less the reference group's",
    "false_positive_rate": "Non-defaulters flagged",
    "false_positive_rate_gap": "Non-defaulters flagged, less the reference group's",
    "observed_to_expected": "Defaults over those expected by the PD",
}
FAIRNESS_SCHEMA: dict[str, type[pl.DataType]] = {
    "attribute": pl.String,
    "position": pl.Int32,
    "group_label": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "clients": pl.Int64,
    "reference_group": pl.String,
    "reason": pl.String,
}


# --- intervals ---------------------------------------------------------------------------------------


def wilson_interval(part: int, whole: int, level: float = LEVEL) -> Interval:
    """A share and its score interval (Wilson 1927), without continuity correction.

    Raises:
        ValueError: `whole` is below 1, `part` is not in 0 … whole, or the level is not in [0, 1].
    """
    return Interval(*_wilson(part, whole, level), None)


def _wilson(part: int, whole: int, level: float) -> tuple[float, float, float]:
    limits = binomtest(part, whole).proportion_ci(level, method="wilson")
    # At none or all of the clients one limit is the share itself, which rounding may miss.
    low = 0.0 if part == 0 else float(limits.low)
    high = 1.0 if part == whole else float(limits.high)
    return part / whole, low, high


def newcombe_interval(part: int, whole: int, other: int, of_other: int, level: float = LEVEL) -> Interval:
    """`part / whole - other / of_other` of independent groups with its hybrid score interval.

    Source: Newcombe (1998), method 10; the limits lie in [-1, 1].

    Raises:
        ValueError: as `wilson_interval`.
    """
    share, low, high = _wilson(part, whole, level)
    against, against_low, against_high = _wilson(other, of_other, level)
    difference = share - against
    return Interval(
        difference,
        difference - math.hypot(share - low, against_high - against),
        difference + math.hypot(high - share, against - against_low),
        None,
    )


def ratio_interval(part: int, whole: int, other: int, of_other: int, level: float = LEVEL) -> Interval:
    """`(part / whole) / (other / of_other)` of independent groups with its log-normal interval.

    Source: Katz et al. (1978), method C. Without a value where `other` is 0; with a value and no limits where
    the variance of the logarithm is not defined (`part` is 0) or zero (both shares are 1).

    Raises:
        ValueError: a whole is below 1 or a part not in 0 … whole.
    """
    ratio = relative_risk(part, whole, other, of_other)
    if not other:
        return Interval(None, None, None, "the reference group's rate is 0")
    if not part:
        return Interval(0.0, None, None, "no interval: the rate is 0")
    value = float(ratio.relative_risk)
    if part == whole and other == of_other:
        return Interval(value, None, None, "no interval: both rates are 1")
    limits = ratio.confidence_interval(level)
    return Interval(value, float(limits.low), float(limits.high), None)


# --- shares ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Share:
    """`part` of `whole` clients, or the reason why no rate is made of them."""

    part: int
    whole: int
    reason: str | None

    @property
    def rate(self) -> Interval:
        return _none(self.reason) if self.reason else wilson_interval(self.part, self.whole)


def _selected(group: Group, min_clients: int) -> _Share:
    flags = group.clients["flagged"].drop_nulls()
    return _Share(int((~flags).sum()), flags.len(), _too_few(flags.len(), min_clients, NO_CUT_OFF, "clients"))


def _flagged(group: Group, outcome: int, min_clients: int) -> _Share:
    """Flagged clients of those with this outcome."""
    decided = group.known.drop_nulls("flagged")
    members = decided.filter(pl.col(OUTCOME) == outcome)["flagged"]
    nothing = NO_CUT_OFF if group.known.height else NOT_RECEIVED
    reason = _too_few(decided.height, min_clients, nothing, "known outcomes")
    if reason is None and members.is_empty():
        reason = f"no {'defaulters' if outcome else 'non-defaulters'} among {decided.height:,} clients"
    return _Share(int(members.sum()), members.len(), reason)


def _too_few(clients: int, min_clients: int, nothing: str, what: str) -> str | None:
    if not clients:
        return nothing
    return f"fewer than {min_clients:,} {what}: {clients:,}" if clients < min_clients else None


def _ratio(share: _Share, reference: _Share) -> Interval:
    return _against(share, reference) or ratio_interval(
        share.part, share.whole, reference.part, reference.whole
    )


def _gap(share: _Share, reference: _Share) -> Interval:
    return _against(share, reference) or newcombe_interval(
        share.part, share.whole, reference.part, reference.whole
    )


def _against(share: _Share, reference: _Share) -> Interval | None:
    """Why the two cannot be compared."""
    if share.reason:
        return _none(share.reason)
    return _none(f"{REFERENCE}: {reference.reason}") if reference.reason else None


def _observed_to_expected(group: Group, min_clients: int) -> Interval:
    known, expected = group.known.height, group.expected
    reason = _too_few(known, min_clients, NOT_RECEIVED, "known outcomes")
    if reason is not None:
        return _none(reason)
    # Of PDs that are next to nothing the reciprocal overflows.
    if not expected or not math.isfinite(known / expected):
        return _none("no default is expected: every PD is 0 or next to it")
    rate, scale = jeffreys_interval(known, group.defaulters), known / expected
    value, low, high = (
        None if figure is None else figure * scale for figure in (rate.value, rate.low, rate.high)
    )
    return Interval(value, low, high, rate.reason)


def _none(reason: str) -> Interval:
    return Interval(None, None, None, reason)


# --- the table ---------------------------------------------------------------------------------------


def fairness_table(frame: pl.DataFrame, min_clients: int = MIN_CLIENTS) -> pl.DataFrame:
    """Every measure of `MEASURES` for every group of `models.segments.PROTECTED`.

    Args:
        frame: one row a client with `pd`, `flagged`, `defaulted` (null where not known) and the attributes,
            as `models.segments.groups` takes it.
        min_clients: clients that a selection rate needs, and known outcomes that the other measures need.

    Returns:
        One row an attribute, group and measure, in that order, with the columns of `FAIRNESS_SCHEMA`.
        `clients` are those that the measure is over: of a rate its denominator, of a ratio or gap the group's
        own denominator. A `value` without limits, or no value, has its `reason`.

    Raises:
        ValueError: as `models.segments.groups`.
    """
    rows = [
        {"attribute": dimension.name} | row
        for dimension, members in groups(frame, PROTECTED)
        for row in _rows(members, min_clients)
    ]
    return pl.DataFrame(rows, schema=FAIRNESS_SCHEMA)


def both_tables(
    frame: pl.DataFrame | Iterable[pl.DataFrame], limit_cuts: Sequence[float]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What `models.segments.segment_table` and `fairness_table` give, from one division of the clients.

    Args:
        frame: as `models.segments.groups` takes it.
        limit_cuts: ascending upper edges of the limit bands.

    Raises:
        ValueError: as `models.segments.groups`.
    """
    segments: list[dict[str, Any]] = []
    fairness: list[dict[str, Any]] = []
    for dimension, members in groups(frame, (*SEGMENTS, *PROTECTED), limit_cuts):
        segments += segment_rows(dimension, members)
        if dimension.kind == "protected":
            fairness += ({"attribute": dimension.name} | row for row in _rows(members, MIN_CLIENTS))
    return pl.DataFrame(segments, schema=SEGMENT_SCHEMA), pl.DataFrame(fairness, schema=FAIRNESS_SCHEMA)


def _rows(members: list[Group], min_clients: int) -> Iterator[dict[str, Any]]:
    if not members:
        return
    reference = max(members, key=lambda group: group.clients.height)
    base = _shares(reference, min_clients)
    for group in members:
        shares = _shares(group, min_clients)
        figures = _rates(shares, base, is_reference=group is reference)
        figures["observed_to_expected"] = group.known.height, _observed_to_expected(group, min_clients)
        for measure in MEASURES:
            clients, interval = figures[measure]
            yield {
                "position": group.position,
                "group_label": group.label,
                "measure": measure,
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "clients": clients,
                "reference_group": reference.label,
                "reason": interval.reason,
            }


def _shares(group: Group, min_clients: int) -> dict[str, _Share]:
    return {
        "selection_rate": _selected(group, min_clients),
        "true_positive_rate": _flagged(group, 1, min_clients),
        "false_positive_rate": _flagged(group, 0, min_clients),
    }


def _rates(
    shares: dict[str, _Share], base: dict[str, _Share], *, is_reference: bool
) -> dict[str, tuple[int, Interval]]:
    """Each rate, and how it compares with the reference group's."""
    figures = {}
    for name, share in shares.items():
        suffix, compare, itself = ("_ratio", _ratio, 1.0) if name == "selection_rate" else ("_gap", _gap, 0.0)
        comparison = compare(share, base[name])
        if is_reference and comparison.value is not None:
            comparison = Interval(itself, None, None, REFERENCE)
        figures[name] = share.whole, share.rate
        figures[name + suffix] = share.whole, comparison
    return figures
