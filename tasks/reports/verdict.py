"""The month in words: one headline and the findings it rests on, each with its figure and threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.reports.gather import MODERATE, SIGNIFICANT, AlertFact, GateCheck, MonthRow, Promotion

Tone = Literal["good", "watch", "alarm", "plain"]
_ORDER: tuple[Tone, ...] = ("plain", "good", "watch", "alarm")
_ALERTED: dict[str, Tone] = {"critical": "alarm", "warning": "watch", "info": "plain"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `threshold` in words, None where it is told for the record."""

    tone: Tone
    text: str
    rule: str = ""
    threshold: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The worst tone among the findings, a headline in words, and the findings."""

    tone: Tone
    headline: str
    findings: list[Finding]


def verdict(row: MonthRow, alerts: Sequence[AlertFact] = ()) -> Verdict:
    """What a reader should know first about a month; it is never calmer than the alerts that are raised."""
    findings = list(_findings(row))
    tones = [_ALERTED[alert.severity] for alert in alerts if alert.state == "raised"]
    tone = max((*(f.tone for f in findings), *tones), key=_ORDER.index)
    return Verdict(tone, f"{row.month}: {_headline(row, tone)}", findings)


def band(value: float | None) -> Tone:
    """The tone of a PSI or CSI: from 0.25 on alarm, from 0.10 on watch, below good."""
    if value is None:
        return "plain"
    return "alarm" if value >= SIGNIFICANT else "watch" if value >= MODERATE else "good"


def _headline(row: MonthRow, tone: Tone) -> str:
    if row.received is None:
        return f"no client file was taken; the last run ended {row.run_status or 'before it began'}."
    if row.champion is None:
        return "loaded and validated; not scored, awaiting a first model."
    scored = f"{row.scored:,} clients scored by {row.champion}"
    return {
        "alarm": f"{scored}; the month needs attention.",
        "watch": f"{scored}; some points are worth a look.",
    }.get(tone, f"{scored}; nothing calls for attention.")


def _findings(row: MonthRow) -> Iterator[Finding]:
    yield _rows_finding(row)
    if row.checks:
        yield _checks_finding(row)
    if row.champion is None:
        yield from (Finding("watch", text, "Choice by hand", "none made") for text in row.by_hand)
        if row.received is not None:
            yield Finding("plain", "No score, drift or performance: awaiting a first model.", "Model")
        return
    yield _basis_finding(row)
    yield from (Finding("watch", text, "Choice by hand", "none made") for text in row.by_hand)
    yield _psi_finding(row)
    yield _csi_finding(row)
    yield _outcome_finding(row)


def _rows_finding(row: MonthRow) -> Finding:
    if row.received is None:
        text = row.run_message or "No client file of this month was taken."
        return Finding("watch", text, "Rows", "a file")
    share = (row.quarantined or 0) / row.received if row.received else 0.0
    return Finding(
        "plain",
        f"{row.received:,} rows received = {row.accepted:,} accepted + {row.quarantined:,} quarantined "
        f"({share:.2%}).",
        "Rows",
    )


def _checks_finding(row: MonthRow) -> Finding:
    passed = row.checks - row.checks_failed - row.checks_noted - row.checks_not_run
    parts = [f"{passed} passed"]
    if row.checks_failed:
        parts.append(f"{row.checks_failed} failed")
    if row.checks_noted:
        # Such as undocumented codes, which real months always hold: told, but no reason for concern.
        parts.append(f"{row.checks_noted} for information found something to report")
    if row.checks_not_run:
        parts.append(f"{row.checks_not_run} not run")
    return Finding(
        "watch" if row.checks_failed else "good",
        f"{row.checks} checks of the data: {', '.join(parts)}.",
        "Checks of the data",
        "none failed",
    )


def _basis_finding(row: MonthRow) -> Finding:
    meaning = {
        "live": "live, by a model that knew nothing of this month",
        "in_sample": "in-sample: the model was developed on this month, so its figures flatter",
        "retrospective": "retrospectively, once a first champion existed",
    }
    basis = row.basis or ""
    return Finding("plain", f"Scored {meaning.get(basis, basis)} (version {row.version}).", "Basis")


def _psi_finding(row: MonthRow) -> Finding:
    if row.psi is None:
        return Finding(
            "plain",
            f"PSI of the score not computed: {row.psi_reason or 'not recorded yet'}.",
            "PSI of the score",
        )
    place = {"good": "below 0.10", "watch": "between 0.10 and 0.25", "alarm": "0.25 or more"}[band(row.psi)]
    text = f"PSI of the score {row.psi:.3f}, {place}."
    return Finding(band(row.psi), text, "PSI of the score", "amber from 0.10, red from 0.25")


def _csi_finding(row: MonthRow) -> Finding:
    if not row.csi_known:
        return Finding("plain", "CSI of the attributes not computed yet.", "CSI of the attributes")
    if not row.moved:
        text = f"None of {row.csi_known} attributes has a CSI of 0.25 or more."
        return Finding("good", text, "CSI of the attributes", "red from 0.25")
    named = ", ".join(row.moved[:6]) + (" …" if len(row.moved) > 6 else "")
    return Finding(
        "alarm",
        f"{len(row.moved)} of {row.csi_known} attributes have a CSI of 0.25 or more: {named}.",
        "CSI of the attributes",
        "red from 0.25",
    )


def _outcome_finding(row: MonthRow) -> Finding:
    if not row.outcomes:
        text = f"Outcomes for {row.month} not yet received"
        if row.auc_estimated is not None:
            text += f"; ROC AUC {row.auc_estimated:.4f} estimated from the PDs"
        return Finding("plain", text + ".", "Outcomes")
    text = f"Default rate {row.default_rate:.2%} against a mean PD of {row.mean_pd:.2%}"
    if row.auc_realised is not None:
        text += f"; ROC AUC {row.auc_realised:.4f} realised"
        if row.auc_held_out is not None:
            text += f", {row.auc_held_out:.4f} held out"
        if row.auc_estimated is not None:
            text += f", {row.auc_estimated:.4f} estimated from the PDs"
    return Finding("plain", text + ".", "Outcomes")


# --- What changed ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One figure of the month before and of this one, in words; `difference` says by how much it moved."""

    name: str
    before: str
    now: str
    difference: str


def changes(before: MonthRow, now: MonthRow) -> list[Change]:
    """What a reader compares first; a figure that neither month has is left out."""
    found = [
        _champion(before, now),
        _change("Rows received", before.received, now.received, "{:,.0f}"),
        _change("Rows quarantined", _quarantined(before), _quarantined(now), "{:.2%}"),
        _change("Mean PD", before.mean_pd, now.mean_pd, "{:.2%}"),
        _change("Default rate", before.default_rate, now.default_rate, "{:.2%}"),
        _change("ROC AUC, estimated", before.auc_estimated, now.auc_estimated, "{:.4f}"),
        _change("ROC AUC, realised", before.auc_realised, now.auc_realised, "{:.4f}"),
        _change("PSI of the score", before.psi, now.psi, "{:.3f}"),
        _change("Attributes with a CSI of 0.25 or more", _moved(before), _moved(now), "{:,.0f}"),
        _change("Checks of the data that failed", before.checks_failed, now.checks_failed, "{:,.0f}"),
    ]
    return [c for c in found if (c.before, c.now) != (_NONE, _NONE)]


_NONE = "—"


def _change(name: str, before: float | None, now: float | None, form: str) -> Change:
    then, present = (_NONE if value is None else form.format(value) for value in (before, now))
    if before is None or now is None:
        difference = _NONE
    elif form.endswith("%}"):
        difference = _signed(100 * (now - before), "{:+.2f}") + " points"
    else:
        difference = _signed(now - before, form.replace("{:", "{:+"))
    return Change(name, then, present, difference)


def _signed(value: float, form: str) -> str:
    return form.format(value).replace("-", "−")


def _champion(before: MonthRow, now: MonthRow) -> Change:
    then, present = (" ".join(filter(None, (r.champion, r.version))) or _NONE for r in (before, now))
    return Change("Champion", then, present, "the same" if then == present else "another")


def _quarantined(row: MonthRow) -> float | None:
    return (row.quarantined or 0) / row.received if row.received else None


def _moved(row: MonthRow) -> int | None:
    return len(row.moved) if row.csi_known else None


# --- The promotion gate ---------------------------------------------------------------------------


def gate_verdict(checks: Sequence[GateCheck], promotions: Sequence[Promotion]) -> Finding | None:
    """What the gate said of one challenger, in words; None where it judged none.

    Args:
        checks: all of one challenger, in their order.
        promotions: a change of champion that the gate made is what tells a promotion from a refusal.
    """
    if not checks:
        return None
    challenger = _named(checks[0].model, checks[0].version)
    champion = _named(checks[0].champion, checks[0].champion_version) if checks[0].champion else None
    failed, unknown = ([_spoken(c.name) for c in checks if c.passed is wanted] for wanted in (False, None))
    tail = _listed(
        f"{len(checks) - len(failed) - len(unknown)} of {len(checks)} checks passed", failed, unknown
    )
    if _promoted(checks[0], promotions):
        what = f"replaced {champion}" if champion else "became the first champion"
        return Finding(
            "good" if not failed and not unknown else "watch", f"Promoted: {challenger} {what}; {tail}."
        )
    return Finding("watch", f"Refused: {challenger} did not replace {champion or 'anyone'}; {tail}.")


def _promoted(check: GateCheck, promotions: Sequence[Promotion]) -> bool:
    return any(
        p.action in ("gate", "first", "replacement")
        and (p.month, p.model, p.version) == (check.month, check.model, check.version)
        for p in promotions
    )


def _named(model: str, version: str | None) -> str:
    return f"{model} {version or ''}".strip()


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _listed(passed: str, failed: Sequence[str], unknown: Sequence[str]) -> str:
    parts = [passed]
    if failed:
        parts.append(f"failed: {', '.join(failed)}")
    if unknown:
        parts.append(f"could not be evaluated: {', '.join(unknown)}")
    return "; ".join(parts)
