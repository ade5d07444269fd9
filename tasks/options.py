"""The options of a run: what, besides files, models and code, decides its rows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The settings that change what a run computes."""

    seed: int = 42
    max_quarantine_share: float = 0.05
    max_model_age_months: int = 6
    training_window_months: int = 12
    training_max_rows: int = 200_000
    base_points: int = 600
    base_odds: float = 30
    points_to_double: float = 20
    report_sample_rows: int = 50_000
    evidently: bool = True
