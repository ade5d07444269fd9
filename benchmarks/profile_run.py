"""Says what the two slowest stages of a run spend their time on, as Markdown.

    python benchmarks/profile_run.py MONTH         a month of the home that CREDITFLOW_HOME names

Runs the month in this process and looks a hundred times a second at what every thread is at. A look belongs
to the stage that is going on and to the innermost function of creditflow on the thread's stack; threads that
wait are left out, so that shares are of work and not of time. Looks cost about a hundredth of the run.
"""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tasks.timings import PART, START_UP

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("expectations", "flows", "models", "sql", "tasks")
PAUSE_SECONDS = 0.01
SHOWN = 12
# Where a thread stands that waits for another one or for the clock.
_WAITS = (
    "threading.py",
    "selectors.py",
    "queue.py",
    "thread.py",
    "_base.py",
    "base_events.py",
    "connection.py",
)

Look = tuple[str, str, str]


class Sampler(threading.Thread):
    """Counts looks by stage, function of creditflow and function of a library below it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stage = ""
        self.looks: Counter[Look] = Counter()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(PAUSE_SECONDS):
            for ident, frame in sys._current_frames().items():
                if ident != self.ident and self.stage:
                    self._look(frame)

    def _look(self, frame: FrameType) -> None:
        if Path(frame.f_code.co_filename).name in _WAITS:
            return
        own = next((f for f in _outwards(frame) if _room(f)), None)
        if own is not None and _room(own) != "tasks/stage.py":
            below = "" if own is frame else f"{frame.f_code.co_name} of {_library(frame)}"
            self.looks[self.stage, f"{own.f_code.co_qualname} ({_room(own)})", below] += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _room(frame: FrameType) -> str | None:
    """The file of a function of creditflow, such as models/trees.py."""
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return None
    inside = path.relative_to(ROOT)
    return str(inside) if inside.parts[0] in ROOMS else None


def _library(frame: FrameType) -> str:
    parts = Path(frame.f_code.co_filename).parts
    return parts[parts.index("site-packages") + 1] if "site-packages" in parts else "Python"


def profile(month: str) -> tuple[dict[str, float], Counter[Look]]:
    """Seconds of each stage, and the looks."""
    from flows.quiet import quiet_settings

    settings = quiet_settings()
    from flows.monthly import monthly
    from sql.warehouse import open_warehouse
    from tasks import stage
    from tasks.home import Home

    sampler = Sampler()
    stage.listeners.append(
        lambda name, _, moment: setattr(sampler, "stage", name if moment == "start" else "")
    )
    sampler.start()
    monthly(month)
    sampler.end()
    with open_warehouse(Home(settings.home).warehouse, read_only=True) as con:
        rows = con.execute(
            "SELECT stage, seconds FROM stage_timings "
            "WHERE run_id = (SELECT max_by(run_id, started_at) FROM runs)"
        ).fetchall()
    return dict(rows), sampler.looks


def page(seconds: dict[str, float], looks: Counter[Look]) -> str:
    """The two slowest stages, each with the functions that take most of its processor time."""
    # What comes before the first stage was over when the looks began.
    whole = {name: spent for name, spent in seconds.items() if PART not in name and name != START_UP}
    slowest = sorted(whole, key=lambda name: -whole[name])[:2]
    return "\n".join(line for name in slowest for line in _section(name, whole[name], looks))


def _section(stage: str, seconds: float, looks: Counter[Look]) -> Iterator[str]:
    own = Counter[str]()
    within: dict[str, Counter[str]] = {}
    for (name, function, below), count in looks.items():
        if name == stage:
            own[function] += count
            within.setdefault(function, Counter())[below] += count
    total = max(own.total(), 1)
    yield from (
        f"### {stage}: {seconds:.1f} s",
        "",
        "| share of the work | function | mostly in |",
        "| ---: | --- | --- |",
    )
    for function, count in own.most_common(SHOWN):
        deepest, _ = within[function].most_common(1)[0]
        yield f"| {count / total:.1%} | `{function}` | {f'`{deepest}`' if deepest else 'itself'} |"
    yield ""


if __name__ == "__main__":
    print(page(*profile(sys.argv[1])))
