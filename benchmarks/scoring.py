"""Holds the scoring of a set against the bare matrix products that it needs, as Markdown.

    python benchmarks/scoring.py MONTH             a scored month of the home that CREDITFLOW_HOME names

One processor scores 131,072 of the month's clients by every model of the set that scored it, from stored
columns to PDs. Every matrix product on the way is noted with its shape; products of the same shapes and
nothing else, by the same operator on random numbers, are what it is held against. The fastest of three rounds
counts, in turn.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from creditflow.month import Month  # noqa: E402
from flows.settings import load_settings  # noqa: E402
from models.develop import ClientScorer  # noqa: E402
from sql.warehouse import execute, open_warehouse  # noqa: E402
from tasks.home import Home  # noqa: E402

CLIENTS = 131_072
ROUNDS = 3
# Rows, inputs and outputs of a product: how often it is done.
Shapes = Counter[tuple[int, int, int]]


class Products(TorchDispatchMode):
    """Notes the shape of every matrix product, whichever operator does it."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Shapes = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in ("_linear_pointwise", "mm", "addmm", "linear", "mkldnn_linear"):
            rows = args[1] if name == "addmm" else args[0]
            inputs, outputs = rows.shape[-1], result.shape[-1]
            self.shapes[rows.numel() // inputs, inputs, outputs] += 1
        elif name in ("bmm", "baddbmm"):
            batches, rows, inputs = args[-2].shape
            self.shapes[rows, inputs, result.shape[-1]] += batches
        return result


def bare(shapes: Shapes) -> Callable[[], None]:
    """The products alone."""
    made = []
    for (rows, inputs, outputs), times in shapes.items():
        weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(outputs, inputs), None)
        made.append((torch.randn(rows, inputs), weight, times))

    def multiply() -> None:
        for rows, weight, times in made:
            for _ in range(times):
                torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")

    return multiply


def seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def scorer_and_clients(month: Month) -> tuple[ClientScorer, pl.DataFrame]:
    """The set that scored the month, and some of its clients."""
    from models.artifacts import load

    home = Home(load_settings().home)
    with open_warehouse(home.warehouse, read_only=True) as con:
        version = execute(con, "champion_of_scores", month=str(month))[0][1]
        shared: dict[str, Any] = {}
        models = {
            name: load(home.root / folder, manifest, shared)
            for name, folder, manifest, _ in execute(con, "models_of_version", version=version)
        }
        clients = con.sql(
            "SELECT * EXCLUDE (month, file_sha256) FROM clients WHERE month = $month LIMIT $rows",
            params={"month": str(month), "rows": CLIENTS},
        ).pl()
    return ClientScorer(models), clients


def section(month: Month) -> str:
    """The Markdown."""
    # One processor, so that a product does not wait for threads on either side.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    scorer, clients = scorer_and_clients(month)
    with torch.inference_mode():
        with Products() as noted:
            scorer(clients)
        multiply = bare(noted.shapes)
        multiply()
        rounds = [(seconds(multiply), seconds(lambda: scorer(clients))) for _ in range(ROUNDS)]
    products, whole = (min(times) for times in zip(*rounds, strict=True))
    operations = sum(2 * n * i * o * times for (n, i, o), times in noted.shapes.items())
    return "\n".join(
        [
            "| one processor | µs a client | ratio |",
            "| --- | ---: | ---: |",
            f"| {noted.shapes.total():,} matrix products alone ({operations / clients.height / 1e3:,.0f} "
            f"thousand operations a client) | {products / clients.height * 1e6:.2f} | 1 |",
            f"| all models, from stored columns to PDs | {whole / clients.height * 1e6:.2f} | "
            f"{whole / products:.2f} |",
        ]
    )


if __name__ == "__main__":
    print(section(Month.parse(sys.argv[1])))
