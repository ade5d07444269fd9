import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.errors import MonthInvalid, UsageError
from creditflow.month import Month, month_range

months = st.builds(Month, st.integers(1900, 2999), st.integers(1, 12))


@pytest.mark.parametrize(
    "text", ["2005-13", "2005-00", "2005-1", "05-01", "2005/01", "", "2005-01-01", "1899-12", "２００５-01x"]
)
def test_text_that_is_no_month_is_refused(text):
    with pytest.raises(MonthInvalid, match="YYYY-MM"):
        Month.parse(text)


@given(months)
def test_text_and_month_round_trip(month):
    assert Month.parse(str(month)) == month


@given(months, st.integers(-600, 600))
def test_plus_and_minus_are_inverse(month, step):
    assert month.plus(step).minus(month) == step
    assert month.plus(step).plus(-step) == month


@given(months, months)
def test_order_is_that_of_the_text(one, other):
    assert (one < other) == (str(one) < str(other))


def test_range_crosses_the_year():
    found = [str(m) for m in month_range(Month(2005, 11), Month(2006, 2))]
    assert found == ["2005-11", "2005-12", "2006-01", "2006-02"]


def test_backward_range_is_a_usage_error():
    with pytest.raises(UsageError, match="2006-02 to 2005-11"):
        month_range(Month(2006, 2), Month(2005, 11))
