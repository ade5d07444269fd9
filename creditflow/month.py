"""Calendar months, written `YYYY-MM`: the key of every partition."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering
from typing import Self

from creditflow.errors import MonthInvalid, UsageError

_PATTERN = re.compile(r"(\d{4})-(\d{2})")


@total_ordering
@dataclass(frozen=True)
class Month:
    """A calendar month; `str()` gives `YYYY-MM`."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `YYYY-MM`.

        Raises:
            MonthInvalid: the text has another form, or names a month outside 01…12.
        """
        match = _PATTERN.fullmatch(text)
        if match is None or not 1 <= int(match[2]) <= 12 or int(match[1]) < 1900:
            raise MonthInvalid(
                "month",
                expected="a calendar month as YYYY-MM, from 1900-01 on",
                found=repr(text),
                remedy="Write it like 2005-09.",
            )
        return cls(int(match[1]), int(match[2]))

    def plus(self, months: int) -> "Month":
        """The month that many months later (earlier when negative)."""
        year, index = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, index + 1)

    def minus(self, other: "Month") -> int:
        """Months from `other` to this one."""
        return (self.year - other.year) * 12 + self.number - other.number

    def __lt__(self, other: "Month") -> bool:
        return (self.year, self.number) < (other.year, other.number)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"


def month_range(first: Month, last: Month) -> Iterator[Month]:
    """Every month from `first` to `last`, both included.

    Raises:
        UsageError: `last` comes before `first`.
    """
    if last < first:
        raise UsageError(
            "months",
            expected="a first month that is not after the last",
            found=f"{first} to {last}",
            remedy="Swap the two.",
        )
    return (first.plus(step) for step in range(last.minus(first) + 1))
