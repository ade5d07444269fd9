"""Finds the `.sql` files of this room: named queries, views, examples and migrations.

A file begins with comment lines that say what it gives, its grain and its owner.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Shelf = Literal["migrations", "queries", "views", "examples"]
_ROOT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Script:
    """One `.sql` file: its name without ending, its text, and the prose of its header comment."""

    name: str
    text: str

    @property
    def about(self) -> str:
        """The header comment, joined to one line."""
        lines = []
        for line in self.text.splitlines():
            if not line.startswith("--"):
                break
            lines.append(line.removeprefix("--").strip())
        return " ".join(lines)


def scripts(shelf: Shelf) -> list[Script]:
    """All files of a shelf, in the order of their names."""
    return [Script(p.stem, p.read_text("utf-8")) for p in sorted((_ROOT / shelf).glob("*.sql"))]


@cache
def query(name: str) -> str:
    """The text of `queries/NAME.sql`.

    Raises:
        FileNotFoundError: there is no such query (a programming error).
    """
    return (_ROOT / "queries" / f"{name}.sql").read_text("utf-8")


def printed(name: str, **values: str | float) -> str:
    """The text of a query with its parameters put in, as a reader may run it on the published database.

    Raises:
        KeyError: a parameter of the query is not among the values (a programming error).
    """
    return re.sub(r"\$(\w+)", lambda found: _literal(values[found[1]]), query(name)).strip()


def _literal(value: str | float) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
