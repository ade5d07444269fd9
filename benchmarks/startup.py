"""Times commands that have nothing to run, as whole processes, and prints a Markdown table.

python benchmarks/startup.py             a demonstration of its own, five times each
python benchmarks/startup.py HOME        a home in which `creditflow demo` was run
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMES = 5
# Arguments, and the seconds that are allowed.
COMMANDS = (
    (("--help",), 0.3),
    (("sql", "SELECT 1"), 0.6),
    (("status",), 1.0),
    (("status", "--timings"), 1.0),
    (("demo",), 8.0),
)


def seconds(home: Path, *arguments: str) -> float:
    """Wall seconds of one command.

    Raises:
        RuntimeError: it failed.
    """
    env = os.environ | {"CREDITFLOW_HOME": str(home)}
    command, started = [sys.executable, "-m", "flows.cli", *arguments], time.perf_counter()
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    spent = time.perf_counter() - started
    if done.returncode not in (0, 3):
        raise RuntimeError(f"{command} failed: {done.stderr}")
    return spent


def table(home: Path) -> str:
    """The measured table."""
    lines = ["| command | best, s | median, s | allowed, s |", "| --- | ---: | ---: | ---: |"]
    for arguments, allowed in COMMANDS:
        found = [seconds(home, *arguments) for _ in range(TIMES)]
        name = " ".join(("creditflow", *arguments))
        lines.append(f"| `{name}` | {min(found):.2f} | {statistics.median(found):.2f} | {allowed:g} |")
    return "\n".join(lines)


def main() -> None:
    """Measures the home that is named, or a demonstration made for it."""
    if len(sys.argv) > 1:
        print(table(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory(prefix="creditflow-startup-") as folder:
        seconds(Path(folder), "demo")
        print(table(Path(folder)))


if __name__ == "__main__":
    main()
