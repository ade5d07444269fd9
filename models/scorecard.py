"""Score points and grades from a probability of default.

Points follow the trade's scaling: points = offset + factor · ln(odds), factor = pdo / ln 2,
offset = base_points - factor · ln(base_odds), with odds = (1 - PD) / PD, good to bad.
Source: Siddiqi (2006), "Credit Risk Scorecards", chapter 6, "Scorecard scaling".

Grades come from a master scale: contiguous bands of PD, kept as JSON so that a risk analyst can edit it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from creditflow.errors import UsageError

MASTER_SCALE = Path(__file__).with_name("master_scale.json")
_SMALLINT = np.iinfo(np.int16)

Floats = NDArray[np.float64]


# --- points ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """`base_points` stand for `base_odds` (good : bad), and `pdo` more points double the odds.

    Points are rounded to the nearest whole number and held between `lowest` and `highest`.

    Raises:
        UsageError: odds or pdo are not above zero, or the limits do not fit a 16-bit integer.
    """

    base_points: float = 600.0
    base_odds: float = 50.0
    pdo: float = 20.0
    lowest: int = 0
    highest: int = 1000

    def __post_init__(self) -> None:
        if not (self.base_odds > 0 and self.pdo > 0 and math.isfinite(self.base_points)):
            raise _bad_scale("base odds and pdo above zero, finite base points", repr(self))
        if not _SMALLINT.min <= self.lowest < self.highest <= _SMALLINT.max:
            raise _bad_scale("lowest below highest, both within a 16-bit integer", repr(self))

    @property
    def factor(self) -> float:
        """Points for one unit of ln(odds)."""
        return self.pdo / math.log(2)

    @property
    def offset(self) -> float:
        """Points at odds of 1 : 1."""
        return self.base_points - self.factor * math.log(self.base_odds)


def points(pd: ArrayLike | pl.Series, scale: Scale | None = None) -> pl.Series:
    """Score points, more for lower risk.

    Args:
        pd: (n,) probabilities of default in [0, 1].
        scale: the scaling; by default 600 points at 50 : 1, 20 points to double the odds.

    Returns:
        (n,) Int16 series named `points`.

    Raises:
        ValueError: a PD lies outside [0, 1] or is missing.
    """
    scale = scale or Scale()
    risk = _checked(pd)
    with np.errstate(divide="ignore"):  # a PD of 0 or 1 means endless odds, which the limits catch
        raw = scale.offset + scale.factor * (np.log1p(-risk) - np.log(risk))
    rounded = np.clip(np.rint(raw), scale.lowest, scale.highest)
    return pl.Series("points", rounded.astype(np.int16))


def _bad_scale(expected: str, found: str) -> UsageError:
    return UsageError(
        "score scaling", expected=expected, found=found, remedy="Correct the scorecard settings."
    )


# --- grades ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """One grade: it holds pd_from ≤ PD < pd_to (the last band also holds 1)."""

    grade: str
    pd_from: float
    pd_to: float
    meaning: str


@cache
def read_bands(path: Path = MASTER_SCALE) -> tuple[Band, ...]:
    """The master scale, best grade first.

    Raises:
        UsageError: the file cannot be read, or its bands do not run from 0 to 1 without gap or overlap.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))["bands"]
        bands = tuple(_band(entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise _bad_bands(
            path, 'readable JSON with "bands": [{grade, pd_from, pd_to, meaning}]', found
        ) from error
    check_bands(bands, path)
    return bands


def check_bands(bands: Sequence[Band], path: Path = MASTER_SCALE) -> None:
    """Refuse bands that leave a PD without a grade or give it two.

    Raises:
        UsageError: names the first band that is wrong.
    """
    if not bands:
        raise _bad_bands(path, "at least one band", "none")
    names = [band.grade for band in bands]
    if len(set(names)) < len(names):
        raise _bad_bands(path, "each grade once", ", ".join(names))
    expected_start = 0.0
    for band in bands:
        if band.pd_from != expected_start:
            raise _bad_bands(path, f"{band.grade} to start at {expected_start:g}", f"{band.pd_from:g}")
        if not band.pd_to > band.pd_from:
            raise _bad_bands(path, f"{band.grade} to end above {band.pd_from:g}", f"{band.pd_to:g}")
        expected_start = band.pd_to
    if expected_start != 1.0:
        raise _bad_bands(path, f"the last band ({bands[-1].grade}) to end at 1", f"{expected_start:g}")


def grade(pd: ArrayLike | pl.Series, bands: Sequence[Band] | None = None) -> pl.Series:
    """The grade of each PD.

    Args:
        pd: (n,) probabilities of default in [0, 1].
        bands: the master scale; by default the one that `read_bands()` gives.

    Returns:
        (n,) series named `grade`: an Enum of the grades, best first (cast to String where text is needed).

    Raises:
        ValueError: a PD lies outside [0, 1] or is missing.
        UsageError: the bands are not contiguous from 0 to 1.
    """
    bands = read_bands() if bands is None else bands
    check_bands(bands)
    starts = np.array([band.pd_from for band in bands[1:]])
    index = np.searchsorted(starts, _checked(pd), side="right").astype(np.uint8)
    return pl.Series("grade", index).cat.to(pl.Enum([band.grade for band in bands]))


def _band(entry: dict[str, Any]) -> Band:
    return Band(
        str(entry["grade"]), float(entry["pd_from"]), float(entry["pd_to"]), str(entry.get("meaning", ""))
    )


def _bad_bands(path: Path, expected: str, found: str) -> UsageError:
    return UsageError(
        f"master scale {path.name}",
        expected=expected,
        found=found,
        remedy="Correct the file: bands run from 0 to 1, each starting where the one before ends.",
    )


# --- input -------------------------------------------------------------------------------------------


def _checked(pd: ArrayLike | pl.Series) -> Floats:
    risk = np.asarray(pd.to_numpy() if isinstance(pd, pl.Series) else pd, dtype=np.float64)
    if not ((risk >= 0) & (risk <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is missing")
    return risk
