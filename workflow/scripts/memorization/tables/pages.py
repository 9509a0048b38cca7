"""The claims in a page, which a command fills with the numbers of a run.

They stand in blocks. A block is marked by comments, which a reader of the page does not see:
``<!-- claims: first second -->`` before bullets, or ``<!-- claims in a paragraph: first second -->`` before a
paragraph, and ``<!-- end of claims -->`` after it. The processor of the run stands between
``<!-- processor of the claims -->`` and ``<!-- end of processor -->``. Marks in a block of code are left alone.
"""

import re
import textwrap
from string import Formatter

import pandas as pd

WIDTH = 115
_CLAIMS = re.compile(
    r"(?P<begin><!-- claims(?P<paragraph> in a paragraph)?: (?P<names>[\w\s]*?) -->\n)(?P<text>.*?)"
    r"(?P<end><!-- end of claims -->)",
    re.DOTALL,
)
_PROCESSOR = re.compile(r"(<!-- processor of the claims -->).*?(<!-- end of processor -->)", re.DOTALL)
_CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
# A number with or without an interval, and several of them.
_ONE = r"(?:[+−]?[\d.,]+(?:e[+−]?\d+)?%?(?: \[[^\]]*\])?|[−+]?(?:inf|nan)|–)"
_NUMBERS = rf"{_ONE}(?:, {_ONE})*(?: and {_ONE})?"


class ClaimsInPageError(ValueError):
    """A page has a claim that is unknown or does not hold. The message is one line."""


def fill_in_claims(page: str, told: pd.DataFrame, processor: str) -> str:
    """Return a page with the sentences of its claims and the numbers of a run.

    ``told`` is the table of `sentences.told_claims`. Raises `ClaimsInPageError` if a claim of the page is not in
    it, or does not hold.
    """
    claims = {claim.id: claim for claim in told.itertuples()}

    def filled(block: re.Match[str]) -> str:
        sentences = []
        for name in block["names"].split():
            if name not in claims:
                raise ClaimsInPageError(f"{name}: no such claim in this run")
            if not claims[name].holds:
                raise ClaimsInPageError(f"{name}: does not hold in this run ({claims[name].reason})")
            sentences.append(claims[name].sentence)
        return f"{block['begin']}{_laid_out(sentences, bool(block['paragraph']))}{block['end']}"

    parts = _CODE.split(page)
    for i, text in enumerate(parts):
        if not _CODE.match(text):
            with_processor = _PROCESSOR.sub(lambda marks: f"{marks[1]}{processor}{marks[2]}", text)
            parts[i] = _CLAIMS.sub(filled, with_processor)
    return "".join(parts)


def _laid_out(sentences: list[str], as_paragraph: bool) -> str:
    """Return sentences as lines of a page, as one paragraph or as bullets."""
    parts = [" ".join(sentences)] if as_paragraph else sentences
    indents = {} if as_paragraph else {"initial_indent": "* ", "subsequent_indent": "  "}
    whole_words = {"break_long_words": False, "break_on_hyphens": False}
    return "".join(f"{textwrap.fill(part, WIDTH, **indents, **whole_words)}\n" for part in parts)


def claims_of_page(page: str) -> list[str]:
    """Return the names of the claims in a page."""
    return [name for block in _blocks(page) for name in block["names"].split()]


def _blocks(page: str) -> list[re.Match[str]]:
    return list(_CLAIMS.finditer(_CODE.sub("", page)))


def stale_claims(page: str, sentences: dict[str, str]) -> list[str]:
    """Return the names of the claims of each block whose sentences are out of date.

    The numbers may be any. ``sentences`` are the sentences by name, with names in braces for the numbers.
    """
    return [
        block["names"]
        for block in _blocks(page)
        if not re.fullmatch(_pattern_of_block(block, sentences), " ".join(block["text"].split()))
    ]


def _pattern_of_block(block: re.Match[str], sentences: dict[str, str]) -> str:
    bullet = "" if block["paragraph"] else r"\* "
    return " ".join(bullet + _pattern_of_sentence(sentences.get(name, name)) for name in block["names"].split())


def _pattern_of_sentence(sentence: str) -> str:
    return "".join(
        re.escape(text) + ("" if name is None else _NUMBERS) for text, name, *_ in Formatter().parse(sentence)
    )
