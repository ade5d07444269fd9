import inspect
import pickle

import pytest

from creditflow import errors
from creditflow.errors import CreditflowError

KINDS = [k for _, k in inspect.getmembers(errors, inspect.isclass) if issubclass(k, CreditflowError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_error_is_one_line_with_all_four_parts_and_stands_in_the_tree(kind):
    error = kind("file.csv", expected="25\ncolumns", found="24", remedy="Add PAY_6.")
    assert str(error) == "file.csv: expected 25 columns, found 24. Add PAY_6."
    assert error.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)
    assert kind.__name__ in errors.__doc__


def test_errors_survive_the_trip_between_processes():
    error = errors.HeaderRefused("f", expected="a", found="b", remedy="c")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
