"""What has to be on the disk before anything relies on it."""

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
