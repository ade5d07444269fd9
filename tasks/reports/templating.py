"""How templates of pages and drawings are filled in: what they are given is escaped, and a name that is
missing is an error.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parent / "templates"


def strict_environment(*folders: Path) -> Environment:
    """Templates of the report pack, and of `folders` before them."""
    return Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
