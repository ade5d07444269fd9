"""Files that appear whole or not at all, and what has to be on the disk before anything relies on it."""

import glob
import os
from pathlib import Path


def to_disk(path: Path) -> None:
    """Makes a file's bytes, or the names in a folder, last: a rename is lost in a power cut until its folder
    is on the disk.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def new_name(target: Path) -> Path:
    """Where the successor of `target` is written: hidden, beside it, on the same disk."""
    return target.with_name(f".{target.name}.{os.getpid()}.new")


def put_in_place(fresh: Path, target: Path) -> None:
    """Renames, once the bytes are on the disk: a power cut leaves the one file or the other."""
    to_disk(fresh)
    fresh.replace(target)
    to_disk(target.parent)


def sweep(target: Path) -> None:
    """Removes successors of `target` that a kill or a fault left half written."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.new*"):
        leftover.unlink(missing_ok=True)
