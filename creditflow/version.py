"""Which code produced a row: a digest of the sources that can change a result."""

import hashlib
from functools import cache
from pathlib import Path

ROOMS = ("creditflow", "expectations", "flows", "models", "sql", "tasks")
SOURCES = frozenset({".py", ".sql", ".json", ".html", ".j2", ".css", ".js"})


@cache
def code_version() -> str:
    """Twelve hexadecimal digits of the SHA-256 over every source file's name and content."""
    top = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(_sources(top)):
        digest.update(path.relative_to(top).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _sources(top: Path) -> list[Path]:
    return [p for room in ROOMS for p in (top / room).rglob("*") if p.suffix in SOURCES]
