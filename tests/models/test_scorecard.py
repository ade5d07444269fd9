import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.errors import UsageError
from models.scorecard import MASTER_SCALE, Band, Scale, grade, points, read_bands


def test_published_scaling():
    # Siddiqi (2006), chapter 6: 600 points at 50 : 1 and 20 points to double the odds give
    # factor 28.8539 and offset 487.123.
    scale = Scale(base_points=600, base_odds=50, pdo=20)
    assert scale.factor == pytest.approx(28.8539, abs=5e-5)
    assert scale.offset == pytest.approx(487.123, abs=5e-4)


@pytest.mark.parametrize(
    ("odds", "expected"), [(50, 600), (100, 620), (25, 580), (1, 487), (200, 640), (6.25, 540)]
)
def test_points_of_odds(odds, expected):
    assert points([1 / (1 + odds)])[0] == expected


def test_points_are_small_integers_held_within_limits():
    result = points([0.0, 1e-300, 0.5, 1.0], Scale(lowest=300, highest=850))
    assert result.dtype == pl.Int16
    assert result.name == "points"
    assert result.to_list() == [850, 850, 487, 300]


def test_series_and_arrays_give_the_same():
    pd = np.linspace(0.001, 0.999, 101)
    assert points(pl.Series(pd)).equals(points(pd))
    assert grade(pl.Series(pd)).equals(grade(pd))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_more_risk_never_gives_more_points_or_a_better_grade(risks):
    ordered = np.sort(risks)
    assert (np.diff(points(ordered).to_numpy().astype(int)) <= 0).all()
    assert (np.diff(grade(ordered).to_physical().to_numpy().astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_odds": 0},
        {"pdo": 0},
        {"pdo": math.nan},
        {"base_points": math.inf},
        {"lowest": 10, "highest": 10},
        {"highest": 40_000},
    ],
)
def test_impossible_scaling_is_refused(wrong):
    with pytest.raises(UsageError, match="score scaling"):
        Scale(**wrong)


@pytest.mark.parametrize("function", [points, grade])
@pytest.mark.parametrize("pd", [[-0.1], [1.1], [np.nan], pl.Series([0.1, None])])
def test_what_is_no_probability_is_refused(function, pd):
    with pytest.raises(ValueError, match="outside"):
        function(pd)


def test_grades_at_the_edges_of_their_bands():
    bands = (Band("A", 0, 0.1, ""), Band("B", 0.1, 0.5, ""), Band("C", 0.5, 1, ""))
    risks = [0, np.nextafter(0.1, 0), 0.1, 0.49, 0.5, 1]
    result = grade(risks, bands)
    assert result.to_list() == ["A", "A", "B", "B", "C", "C"]
    assert result.dtype == pl.Enum(["A", "B", "C"])


def test_every_band_of_the_master_scale_holds_its_own_start():
    bands = read_bands()
    assert grade([band.pd_from for band in bands]).to_list() == [band.grade for band in bands]
    assert len(bands) == 11
    assert all(band.meaning for band in bands)


def write(path, bands):
    path.write_text(json.dumps({"bands": [{"grade": g, "pd_from": a, "pd_to": b} for g, a, b in bands]}))
    return path


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ([], "at least one band"),
        ([("A", 0, 0.5), ("B", 0.6, 1)], "B to start at 0.5, found 0.6"),
        ([("A", 0, 0.5), ("B", 0.4, 1)], "B to start at 0.5, found 0.4"),
        ([("A", 0.1, 1)], "A to start at 0, found 0.1"),
        ([("A", 0, 0.5), ("B", 0.5, 0.9)], r"\(B\) to end at 1, found 0.9"),
        ([("A", 0, 0), ("B", 0, 1)], "A to end above 0, found 0"),
        ([("A", 0, 0.5), ("A", 0.5, 1)], "each grade once"),
        ([("A", 0, float("nan"))], "A to end above 0, found nan"),
    ],
)
def test_broken_master_scale_is_refused(tmp_path, bands, message):
    with pytest.raises(UsageError, match=message):
        read_bands(write(tmp_path / "scale.json", bands))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"bands": [{"grade": "A"}]}', '{"bands": [{"grade":"A","pd_from":"x"}]}']
)
def test_unreadable_master_scale_is_refused(tmp_path, text):
    path = tmp_path / "scale.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"master scale scale\.json"):
        read_bands(path)


def test_missing_master_scale_is_refused(tmp_path):
    with pytest.raises(UsageError, match="FileNotFoundError"):
        read_bands(tmp_path / "none.json")


def test_the_master_scale_is_where_an_analyst_finds_it():
    assert MASTER_SCALE.name == "master_scale.json"
    assert MASTER_SCALE.is_file()
