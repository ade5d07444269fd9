"""Generates the pages of docs/ that follow from the code: `make docs`. A test fails when one is stale."""

import json
import tempfile
from pathlib import Path

from flows.settings import Settings
from sql.publish import publish
from sql.warehouse import open_published, open_warehouse

CHECKOUT = Path(__file__).resolve().parent.parent
_HEAD = "<!-- Written by `make docs`; do not edit. -->\n"

# Tables by what they are about; what stands in none of them is a view.
_GROUPS = {
    "What came in": ("files", "clients", "outcomes", "quarantine", "expectation_results"),
    "Models": ("models", "decisions", "retrain_rules", "gate_checks", "promotions"),
    "Scores": ("scores", "score_rows", "scorings", "scores_history", "reasons", "reason_texts"),
    "Monitoring": ("drift", "drift_bins", "performance", "alerts", "alert_messages"),
    "Validation": ("validation", "calibration", "comparisons", "segments", "fairness"),
    "Runs": ("runs", "stage_timings", "backfills", "backfill_months"),
    "The publication itself": ("publication",),
}
_ABOUT_DICTIONARY = """# Data dictionary

The tables and views of `published/creditflow.duckdb`, from its own comments. `creditflow sql` lists them,
`creditflow sql "DESCRIBE portfolio_by_month"` the columns of one. The view `scores` is also published as
Parquet, `published/scores/month=YYYY-MM/scores.parquet`.

How it is published: [sql.md](sql.md)."""


def data_dictionary() -> str:
    """Every table, view and column of the published database, from its own comments."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "creditflow.duckdb"
        with open_warehouse(Path(folder) / "warehouse.duckdb") as con:
            publish(con, target)
        with open_published(target) as con:
            tables = con.execute(
                "SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal "
                "UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
            columns = con.execute(
                "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() "
                "WHERE NOT internal ORDER BY table_name, column_index"
            ).fetchall()
    meanings = dict(tables)
    views = sorted(meanings.keys() - {name for group in _GROUPS.values() for name in group})
    parts = [_HEAD, _ABOUT_DICTIONARY]
    for group, names in {"Views": views, **_GROUPS}.items():
        parts.append(f"\n## {group}\n")
        parts += [f"- [{name}](#{name}): {meanings[name]}" for name in names]
    for name in (*views, *(name for group in _GROUPS.values() for name in group)):
        parts += [
            f"\n### {name}\n",
            f"{meanings[name]}\n",
            "| column | type | meaning |\n| --- | --- | --- |",
        ]
        parts += [f"| `{c}` | {kind} | {what} |" for t, c, kind, what in columns if t == name]
    return "\n".join(parts) + "\n"


def features() -> str:
    """Every column of the feature matrix: what it is, in which unit, and which reason it speaks for."""
    from models.features import PROTECTED, RECENCY, FeatureSet
    from models.reasons import column_groups, reason_groups

    columns = FeatureSet("all").columns
    groups = [reason_groups()[i].group for i in column_groups([c.name for c in columns])]
    kept_out = set(FeatureSet("all").names) - set(FeatureSet().names)
    marks = dict.fromkeys(kept_out, " **(kept out)**")
    rows = [
        f"| `{c.name}` | {c.unit} | {c.definition}{marks.get(c.name, '')} | {group} |"
        for c, group in zip(columns, groups, strict=True)
    ]
    about = (
        "What every model of the monthly set takes, computed by `models/features.py`. L is the limit, B_t "
        "the bill, P_t the payment and S_t the payment status of statement t; 1 is the newest. A payment of "
        "statement t settles the bill of statement t + 1. Limits, and bills that payments are held against, "
        f"count as at least 1 where they divide. The recency weight is {RECENCY}.\n\n"
        f"The default policy keeps {', '.join(PROTECTED)} out of every model; `CREDITFLOW_ATTRIBUTES=all` "
        "lets them in. The last column is the group in which a column is explained.\n"
    )
    return "\n".join(
        [
            _HEAD,
            "# Features\n",
            about,
            "| column | unit | definition | group |\n| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def reasons() -> str:
    """Every reason that a client may be given."""
    from models.reasons import reason_groups

    about = (
        "What `reasons` and `creditflow explain` name, from `models/reasons.json`. A group is explained as "
        "one; of its reasons the first that is true of the client is given.\n"
    )
    rows = [
        f"| {reason.code} | {group.group} | {reason.reason} | {reason.meaning} |"
        for group in reason_groups()
        for reason in group.reasons
    ]
    table = "| code | group | reason | meaning |\n| --- | --- | --- | --- |"
    return "\n".join([_HEAD, "# Reasons\n", about, table, *rows, ""])


def metrics_schema() -> str:
    """JSON Schema of the `metrics.json` of every report pack."""
    from tasks.reports.metrics import schema

    return json.dumps(schema(), indent=1) + "\n"


def environment_example() -> str:
    """Every setting with its default and description, as `.env.example`."""
    lines = ["# Settings of creditflow. Copy to .env and uncomment what you change.", ""]
    for name, field in Settings.model_fields.items():
        default = "var" if name == "home" else "" if field.default is None else field.default
        lines += [f"# {field.description}", f"# CREDITFLOW_{name.upper()}={default}", ""]
    return "\n".join(lines)


PAGES = {
    CHECKOUT / "docs" / "data-dictionary.md": data_dictionary,
    CHECKOUT / "docs" / "features.md": features,
    CHECKOUT / "docs" / "reasons.md": reasons,
    CHECKOUT / "docs" / "metrics.schema.json": metrics_schema,
    CHECKOUT / ".env.example": environment_example,
}


def main() -> None:
    """Writes every generated page."""
    for path, write in PAGES.items():
        path.write_text(write(), "utf-8")


if __name__ == "__main__":
    main()
