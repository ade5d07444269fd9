"""What a kept figure depends on: source files, packages, text. A change of any makes it out of date."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "creditflow")


def text_digest(*parts: str) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of the parts."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def packages(*names: str) -> str:
    """Names and installed versions.

    Raises:
        PackageNotFoundError: one is not installed (a ModuleNotFoundError).
    """
    return ", ".join(f"{name} {version(name)}" for name in names)


@cache
def sources_digest(module: str) -> str:
    """A digest of the module's source and of all that it imports from `ROOMS`, inside functions too."""
    return text_digest(*(f"{name}\n{_file(name).read_text('utf-8')}" for name in sorted(_behind(module))))


def _behind(module: str) -> set[str]:
    found, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in found and _file(name).is_file():
            found.add(name)
            waiting += _imported(ast.parse(_file(name).read_text("utf-8")))
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ROOMS:
            yield node.module
            # `from models import network` names a module, not a thing inside one.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in ROOMS)


def _file(module: str) -> Path:
    return ROOT / Path(*module.split(".")).with_suffix(".py")
