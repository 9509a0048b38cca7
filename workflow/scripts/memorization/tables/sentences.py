"""The sentences of claims with the numbers of a run.

They become a table, a page and a part of the report.
"""

import html
import math
from string import Formatter
from typing import Any

import pandas as pd

NO_NUMBER = "–"


def sentence_with_numbers(sentence: str, checked: pd.DataFrame) -> str:
    """Return a sentence with the numbers of a claim in place of the names in braces.

    ``checked`` are the rows of the claim in the table of `claims.check_claims`. A number is its mean and its
    interval, ``0.71 [0.68, 0.74]``; those of several rows follow each other.
    """
    parts = []
    for text, name, form, _ in Formatter().parse(sentence):
        parts.append(text)
        if name is not None:
            rows = checked[(checked["number"] == name) & checked["value"].notna()]
            shown = [number_in_words(row.value, row.low, row.high, form or "") for row in rows.itertuples()]
            parts.append(" and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]])) or NO_NUMBER)
    return "".join(parts)


def number_in_words(value: float, low: float, high: float, form: str) -> str:
    """Return a number, followed by its interval if it has one.

    Without a format a mean has two decimals if it is below 10, one below 100, none above; a number without an
    interval has three significant digits.
    """
    has_interval = not (math.isnan(low) or math.isnan(high))
    form = form or (f".{max(0, 2 - max(0, math.floor(math.log10(abs(value) or 1))))}f" if has_interval else ".3g")
    value_told, low_told, high_told = (format(number, form).replace("-", "−") for number in (value, low, high))
    return f"{value_told} [{low_told}, {high_told}]" if has_interval else value_told


def told_claims(sentences: dict[str, dict[str, str]], checked: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each claim, with its first number and its sentence.

    The sentence has the numbers of this run. ``sentences`` has the ``experiment`` and the ``sentence`` of each
    claim by its name, ``checked`` the tables of `claims.check_claims` of all experiments. A claim holds if it
    holds for each row that it selects. The numbers of several rows follow each other, and so do their intervals.
    """
    told = []
    for name, claim in sentences.items():
        rows = checked[checked["id"] == name]
        first = rows[rows["number"] == rows["number"].iloc[0]]
        told.append(
            {
                "id": name,
                "experiment": claim["experiment"],
                **{column: "; ".join(map(_six_digits, first[column])) for column in ("value", "low", "high")},
                "seeds": first["seeds"].min(),
                "holds": bool(rows["holds"].all()),
                "sentence": sentence_with_numbers(claim["sentence"], rows),
                "reason": "; ".join(dict.fromkeys(filter(None, map(_reason, rows.itertuples())))),
            }
        )
    return pd.DataFrame(told)


def _six_digits(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6g}"


def _reason(row: Any) -> str:
    return f"{row.rows}: {row.reason}" if row.reason and row.rows else row.reason


def last_line(told: pd.DataFrame) -> str:
    """Return how many claims hold, and which do not, in one line.

    It is for instance ``claims: 23 hold, 1 does not: capacity_plateau``.
    """
    holds = told["holds"].astype(bool)
    failing = told.loc[~holds, "id"].tolist()
    text = f"claims: {holds.sum()} hold{'s' if holds.sum() == 1 else ''}"
    if not failing:
        return text
    return f"{text}, {len(failing)} {'does' if len(failing) == 1 else 'do'} not: {', '.join(failing)}"


def page_of_claims(told: pd.DataFrame, computed_on: str) -> str:
    """Return the claims as Markdown, by experiment.

    The last line says how many hold.
    """
    parts = [f"# Claims\n\nComputed on {computed_on}.\n"]
    for experiment, claims in told.groupby("experiment", sort=False):
        lines = (f"* {_mark(claim)} {claim.sentence}{_why_not(claim)}\n" for claim in claims.itertuples())
        parts.append(f"## {experiment}\n\n{''.join(lines)}")
    return "\n".join([*parts, f"{last_line(told)}\n"])


def report_of_claims(told: pd.DataFrame, computed_on: str) -> str:
    """Return the claims as HTML for the report, by experiment.

    It is part of a page, whose style it does not change.
    """
    parts = [_STYLE, f'<div class="claims">\n<p><b>{html.escape(last_line(told))}</b></p>\n']
    for experiment, claims in told.groupby("experiment", sort=False):
        parts.append(f"<h3>{html.escape(str(experiment))}</h3>\n<table>\n")
        for claim in claims.itertuples():
            mark = f'<td class="{"holds" if claim.holds else "fails"}">{_mark(claim)}</td>'
            sentence = html.escape(f"{claim.sentence}{_why_not(claim)}")
            parts.append(f'<tr title="{html.escape(claim.id)}">{mark}<td>{sentence}</td></tr>\n')
        parts.append("</table>\n")
    return "".join([*parts, f"<p>Computed on {html.escape(computed_on)}.</p>\n</div>\n"])


_STYLE = """\
<meta charset="utf-8">
<style>
.claims { font-family: sans-serif; max-width: 56em; line-height: 1.45; }
.claims td { vertical-align: top; padding: 0.15em 0.6em 0.15em 0; border: none; }
.claims .holds { color: #006d4f; } .claims .fails { color: #b34700; }
</style>
"""


def _mark(claim: Any) -> str:
    return "✓" if claim.holds else "✗"


def _why_not(claim: Any) -> str:
    return "" if claim.holds else f" ({claim.id}: {claim.reason})"
