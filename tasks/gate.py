"""Holds a new set's challenger to the promotion gate, on data: `models.gate` has the rules.

The clients to compare on are those of the newest month learned from that lie in the challenger's held-out
part. The parts are drawn by client, so it knows nothing of them. The champion was developed earlier on parts
of its own: it never saw that month either, but may have been fitted on earlier months of some of these
clients. Where it learned from the very month (a retraining that was asked for without newer outcomes), it may
know the outcomes themselves. Both favour the champion, so a challenger is at worst promoted a month late.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse
from tasks.decide import Champion, Decision
from tasks.options import Options
from tasks.stage import Run

if TYPE_CHECKING:
    from models.develop import DevelopedModel
    from models.gate import Limits, Sample, Verdict
    from models.stability import PsiResult

# The PSI of ten bins over as many rows is known to ±0.0003; more clients would cost time and tell nothing.
STABILITY_ROWS_MAX = 100_000


def hold(
    run: Run, decision: Decision, data: pl.DataFrame, challenger: "DevelopedModel"
) -> tuple["Verdict", "Sample"]:
    """The gate's verdict on the challenger, and the clients it was compared on.

    Args:
        run: the run that developed it.
        decision: names the champion and the months learned from.
        data: what the challenger was developed on.
        challenger: the best of the new set.

    Raises:
        ArtifactError: the champion's artifact is damaged.
    """
    from models.gate import judge

    sample = _sample(run, decision, _unseen(data, decision.training_months[-1], run.options.seed), challenger)
    return judge(sample, _stability(run, challenger), limits(run.options), run.options.seed), sample


def limits(options: Options) -> "Limits":
    """What the settings say of the gate."""
    from models.gate import Limits

    return Limits(
        options.gate_confidence, options.gate_margin_auc, options.gate_margin_brier, options.gate_max_psi
    )


def _unseen(data: pl.DataFrame, month: Month, seed: int) -> pl.DataFrame:
    """The newest month's clients of the held-out part."""
    from models.develop import split

    held_out = split(data, seed).held_out
    return held_out.filter(pl.col("month") == str(month)) if "month" in held_out.columns else held_out


def _sample(run: Run, decision: Decision, clients: pl.DataFrame, challenger: "DevelopedModel") -> "Sample":
    from models.gate import Sample

    no_champion = f"the champion cannot be used ({decision.unusable})" if decision.unusable else "no champion"
    champion = _champion(run, decision.champion) if decision.champion and not decision.unusable else None
    return Sample(
        clients["defaulted"].to_numpy().astype(np.int8),
        challenger.score(clients)["pd"].to_numpy(),
        champion.score(clients)["pd"].to_numpy() if champion else None,
        no_champion,
    )


def _champion(run: Run, champion: Champion) -> "DevelopedModel":
    from models.artifacts import load

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        folder, manifest, *_ = execute(
            con, "model_on_record", model=champion.model, version=champion.version
        )[0]
    return load(run.home.root / folder, manifest)


def _stability(run: Run, challenger: "DevelopedModel") -> "PsiResult":
    """PSI of the challenger's score from its reference to the clients of the run's month."""
    from models.stability import psi

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        clients = frame(
            con,
            "clients_to_gate",
            month=str(run.month),
            seed=str(run.options.seed),
            limit=STABILITY_ROWS_MAX,
        )
    scores = challenger.score(clients)["score"] if clients.height else None
    return psi(challenger.bins["score"], scores)


def check_rows(
    run: Run, decision: Decision, challenger: Champion, verdict: "Verdict", sample: "Sample"
) -> list[dict[str, Any]]:
    """The checks as rows of the table `gate_checks`."""
    champion = decision.champion
    common = {
        "month": str(run.month),
        "model": challenger.model,
        "version": challenger.version,
        "champion": champion.model if champion else None,
        "champion_version": champion.version if champion else None,
        "sample_month": str(decision.training_months[-1]),
        "clients": sample.defaulted.size,
        "defaulters": int(sample.defaulted.sum()),
    }
    return [
        common | {"position": position} | vars(check)
        for position, check in enumerate(verdict.checks, start=1)
    ]
