"""The claims of a study as data that the workflow checks, and one plain line for each mistake in them."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, RootModel, ValidationError

from .experiments import Configuration, ConfigurationError
from .files import mistake_of_file
from .settings import yaml_float
from .shape import NAME_PATTERN, Shape, line_of_mistake, mistake
from .wording import did_you_mean, one_of, shown, shown_key

_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)


def _name_of_claim(name: Any) -> str:
    if isinstance(name, str) and re.fullmatch(NAME_PATTERN, name):
        return name
    raise mistake(
        f"{shown(name)} is not a name of a claim: small letters, digits and underscores, a letter first, at most "
        "64",
        levels_up=2,
    )


def _listed(value: Any) -> list[Any]:
    """Return one value or a list of values as a list."""
    values = [yaml_float(one) for one in (value if isinstance(value, list) else [value])]
    if not values or not all(one is None or isinstance(one, str | int | float) for one in values):
        raise mistake(f"{shown(value)} is not a value or a list of values")
    return values


def _one_line(text: Any) -> Any:
    return " ".join(text.split()) if isinstance(text, str) else text


Line = Annotated[str, Field(min_length=1, json_schema_extra={"allowed": "a text"}), BeforeValidator(_one_line)]


class Claim(Shape):
    """One claim: a sentence, and what must be true of a table for it to hold."""

    model_config = ConfigDict(
        json_schema_extra={"allowed": "a mapping with experiment, sentence, table, rows and holds"}
    )

    experiment: Line = Field(description="the experiment that it is about")
    sentence: Line = Field(
        description="the claim in words; `{accuracy}` stands for the mean and the interval of this number in the "
        "rows, `{accuracy:.3f}` for the same with three decimals"
    )
    table: Line = Field(description="the table that has the numbers")
    rows: dict[Any, Annotated[list[Any], BeforeValidator(_listed)]] = Field(
        default_factory=dict,
        description="the rows of the table that it is about: for each of some columns a value or a list of values",
        json_schema_extra={"allowed": "a mapping from columns to values"},
    )
    holds: Line = Field(
        description="what must be true of each of these rows: comparisons of its numbers, joined by and, or, not"
    )
    figure: Line | None = Field(None, description="a figure of the experiment that shows it")
    title: Line | None = Field(None, description="the title of that figure if its claims hold")


class ClaimsFile(RootModel[dict[Annotated[Any, BeforeValidator(_name_of_claim)], Claim]]):
    """The claims of a study by their names."""

    model_config = ConfigDict(strict=True, json_schema_extra={"allowed": "a mapping from names to claims"})


class ExpressionError(ValueError):
    """An expression is not a comparison of numbers. The message is the end of a line about it."""


def read_claims(
    configuration: Configuration,
    keys: Mapping[str, tuple[str, ...]],
    numbers: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> dict[str, Claim]:
    """Read the file of claims of a configuration, and check it against the experiments and the tables.

    ``keys`` has for each table the columns that tell its rows apart beside those of the condition, ``numbers`` the
    numbers in its rows, each with its columns. Returns the claims by name: none if the file names none.
    Raises `ConfigurationError` with every mistake.
    """
    path = configuration.claims
    if path is None:
        return {}
    if wrong := mistake_of_file(path, "a mapping from names to claims", "report/claims.yaml"):
        raise ConfigurationError([wrong])
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    try:
        claims = ClaimsFile.model_validate(content).root
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigurationError(
            [f"{path}: {line_of_mistake(detail, ClaimsFile).removeprefix(': ')}" for detail in details]
        ) from error
    mistakes = [
        f"{path}: {name}.{wrong}"
        for name, claim in claims.items()
        for wrong in _mistakes_of_claim(claim, configuration, keys, numbers)
    ]
    mistakes += [f"{path}: {wrong}" for wrong in _different_titles(claims)]
    if mistakes:
        raise ConfigurationError(mistakes)
    return claims


def title_of_claims(claims: Mapping[str, Claim], experiment: str, figure: str) -> dict[str, Any] | None:
    """Return the title that claims give to a figure of an experiment.

    It comes with the names of the claims that must hold. None if they give none.
    """
    of_figure = {
        name: claim for name, claim in claims.items() if (claim.experiment, claim.figure) == (experiment, figure)
    }
    titles = [claim.title for claim in of_figure.values() if claim.title]
    return {"title": titles[0], "claims": [*of_figure]} if titles else None


def numbers_of_claim(claim: Claim, numbers: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the numbers that a claim is about: those in its sentence, then those that it is checked by.

    ``numbers`` are those of its table, each with its columns.
    """
    checked = [
        name for column in columns_of(claim.holds) for name, columns in numbers.items() if column in columns
    ]
    return list(dict.fromkeys([*(name for name, _ in placeholders(claim.sentence)), *checked]))


def placeholders(sentence: str) -> list[tuple[str, str]]:
    """Return the names in braces in a sentence, each with its format.

    Raises ValueError if a brace is left open.
    """
    return [
        (name + (f"!{conversion}" if conversion else ""), form or "")
        for _, name, form, conversion in Formatter().parse(sentence)
        if name is not None
    ]


def columns_of(expression: str) -> list[str]:
    """Return the columns that an expression compares, each once.

    Raises `ExpressionError` if it has anything but comparisons, ``and``, ``or``, ``not``, arithmetic, numbers,
    ``abs()`` and names, or if it is not true or false.
    """
    try:
        tree = ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError("is not an expression such as accuracy_low > 0.6") from None
    columns = list(dict.fromkeys(_names_in_truth(tree)))
    if not columns:
        raise ExpressionError("compares no column of the table")
    return columns


def _names_in_truth(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.BoolOp(values=parts):
            for part in parts:
                yield from _names_in_truth(part)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            yield from _names_in_truth(part)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            isinstance(op, _COMPARISONS) for op in ops
        ):
            for part in (left, *others):
                yield from _names_in_number(part)
        case _:
            raise ExpressionError(f"has {shown(ast.unparse(node))} in place of a comparison of numbers")


def _names_in_number(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            pass
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
            yield from _names_in_number(left)
            yield from _names_in_number(right)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=part):
            yield from _names_in_number(part)
        case ast.Call(func=ast.Name(id="abs"), args=[part], keywords=[]):
            yield from _names_in_number(part)
        case _:
            raise ExpressionError(
                f"has {shown(ast.unparse(node))}, which is no column, no number and no sum, difference, product, "
                "quotient or abs() of them"
            )


def _mistakes_of_claim(
    claim: Claim,
    configuration: Configuration,
    keys: Mapping[str, tuple[str, ...]],
    numbers: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> Iterator[str]:
    """Yield the end of a line for each mistake in a claim, from the key on."""
    experiments, experiment = configuration.figures, claim.experiment
    if experiment not in experiments:
        yield f"experiment: {_unknown(experiment, experiments)}"
    elif claim.figure is not None and claim.figure not in experiments[experiment]:
        drawn = ", ".join(experiments[experiment]) or "none"
        yield f"figure: {shown(claim.figure)} is not a figure that {experiment} draws ({drawn})"
    if claim.title is not None and claim.figure is None:
        yield "title: needs a figure, whose title it is"
    if claim.table not in keys:
        yield f"table: {_unknown(claim.table, keys)}"
    elif experiment in experiments:
        conditions = [run.condition for run in configuration.runs if run.group == experiment]
        known = [*conditions[0], *keys[claim.table]]
        yield from _mistakes_of_rows(claim, conditions, known)
        yield from _mistakes_of_holds(claim, known, numbers[claim.table])
        yield from _mistakes_of_sentence(claim, numbers[claim.table])


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    return f"{shown(name)} is not {one_of(known)}{did_you_mean(name, known)}"


def _mistakes_of_rows(claim: Claim, conditions: list[dict[str, Any]], known: list[str]) -> Iterator[str]:
    for column, values in claim.rows.items():
        path = f"rows.{shown_key(column)}"
        if column not in known:
            yield f"{path}: is not a column that tells rows of {claim.table} apart{did_you_mean(column, known)}"
        elif column in conditions[0]:
            there = list(dict.fromkeys(shown(condition[column]) for condition in conditions))
            for value in values:
                if not any(_same(value, condition[column]) for condition in conditions):
                    yield f"{path}: no condition of {claim.experiment} has {shown(value)}, but {', '.join(there)}"
                    return
    of_condition = {column: values for column, values in claim.rows.items() if column in conditions[0]}
    if not any(
        all(any(_same(value, condition[column]) for value in values) for column, values in of_condition.items())
        for condition in conditions
    ):
        yield f"rows: no condition of {claim.experiment} has all of these values"


def _same(value: Any, other: Any) -> bool:
    """Tell whether two values are equal. A truth value is no number."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _mistakes_of_holds(claim: Claim, keys: list[str], numbers: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    of_numbers = [column for columns in numbers.values() for column in columns]
    known = [*of_numbers, *keys]
    try:
        columns = columns_of(claim.holds)
    except ExpressionError as error:
        yield f"holds: {shown(claim.holds)} {error}"
        return
    unknown = [column for column in columns if column not in known]
    for column in unknown:
        yield f"holds: {shown(column)} is not a column of {claim.table}{did_you_mean(column, known)}"
    if not unknown and not set(columns) & set(of_numbers):
        yield f"holds: {shown(claim.holds)} compares no number of {claim.table}"


def _mistakes_of_sentence(claim: Claim, numbers: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    try:
        named = placeholders(claim.sentence)
    except ValueError:
        yield "sentence: has a brace that is not closed, or not opened; write {{ or }} for a brace"
        return
    for name, form in named:
        if name not in numbers:
            yield f"sentence: {{{name}}} is not a number of {claim.table}{did_you_mean(name, numbers)}"
            continue
        try:
            format(0.5, form)
        except ValueError:
            yield f"sentence: {shown(form)} is not a format of a number such as .3f"


def _different_titles(claims: Mapping[str, Claim]) -> Iterator[str]:
    """Yield a line for each claim that gives a figure another title than an earlier claim does."""
    first: dict[tuple[str, str | None], str] = {}
    for name, claim in claims.items():
        if claim.title is not None:
            earlier = first.setdefault((claim.experiment, claim.figure), name)
            if claims[earlier].title != claim.title:
                yield f"{name}.title: {earlier} gives {claim.figure} another title; give one of the two"
