"""Claims: the mistakes of their file, whether they hold, their sentences, and the pages that have them."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, Named, copy_repository, snakemake

from memorization.configuration.claims import columns_of, read_claims, title_of_claims
from memorization.configuration.experiments import ConfigurationError, read_configuration
from memorization.figures.titles import title_of_figure
from memorization.storage.cache import write_table
from memorization.tables.claims import check_claims
from memorization.tables.pages import ClaimsInPageError, claims_of_page, fill_in_claims, stale_claims
from memorization.tables.registry import TABLES, numbers_of_table
from memorization.tables.sentences import last_line, sentence_with_numbers, told_claims

CONFIGURATION = {
    "defaults": {
        "dam": {
            "K": 20,
            "N": 10,
            "H": 4,
            "M": 50,
            "batch_size": 8,
            "num_iters_per_set": 60,
            "num_iters_per_epoch": 20,
        }
    },
    "experiments": {
        "memory": {
            "model": "dam",
            "sweep": {"lr": ["1e-2", 0.1], "clear_memory_at_switch": [False, True]},
            "seeds": 2,
            "figures": ["by_rank", "by_weights"],
        },
        "heads": {"model": "dam", "conditions": [{"H": 4}, {"H": 8, "M": 60}], "seeds": 1},
    },
}
CLAIM = {
    "experiment": "memory",
    "sentence": "It is recalled: {accuracy}.",
    "table": "by_weights",
    "rows": {"lr": "1e-2", "clear_memory_at_switch": False, "weights": ["final", "swap_A"]},
    "holds": "accuracy_low > 0.5 and not abs(loss_mean - ideal_loss_mean) / 2 >= 1",
    "figure": "by_rank",
    "title": "It is recalled",
}
NUMBERS = {table: numbers_of_table(table) for table in TABLES}


def read(folder, text):
    """The claims of a file with this text."""
    path = folder / "claims.yaml"
    path.write_text(text)
    configuration = read_configuration(CONFIGURATION | {"claims": str(path)}, {"by_rank": (), "by_weights": ()})
    return read_claims(configuration, {name: table.keys for name, table in TABLES.items()}, NUMBERS)


def test_a_sound_file_has_no_mistake_and_no_file_has_no_claims(tmp_path):
    claims = read(tmp_path, yaml.safe_dump({"recalled": CLAIM}))
    assert claims["recalled"].rows["lr"] == [0.01]
    assert title_of_claims(claims, "memory", "by_rank") == {"title": "It is recalled", "claims": ["recalled"]}
    assert title_of_claims(claims, "memory", "by_weights") is None
    assert read_claims(read_configuration(CONFIGURATION, {"by_rank": (), "by_weights": ()}), {}, {}) == {}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"experiment": "memry"}, 'experiment: "memry" is not one of memory, heads; did you mean memory?'),
        ({"table": "by_wieghts"}, 'table: "by_wieghts" is not one of'),
        ({"rows": {"eta": 1}}, "rows.eta: is not a column that tells rows of by_weights apart"),
        ({"rows": {"accuracy_mean": 1}}, "rows.accuracy_mean: is not a column that tells rows"),
        ({"rows": {"lr": [0.01, 0.2]}}, "rows.lr: no condition of memory has 0.2, but 0.01, 0.1"),
        ({"rows": {"model": "gpt"}}, 'rows.model: no condition of memory has "gpt", but "dam"'),
        ({"rows": {"clear_memory_at_switch": 1}}, "rows.clear_memory_at_switch: no condition of memory has 1"),
        (
            {"experiment": "heads", "rows": {"H": 4, "M": 60}, "figure": None, "title": None},
            "rows: no condition of heads has all of these values",
        ),
        ({"rows": {"lr": {"a": 1}}}, 'rows.lr: {"a": 1} is not a value or a list of values'),
        ({"rows": []}, "rows: [] is not a mapping from columns to values"),
        ({"holds": "acuracy_low > 0.5"}, 'holds: "acuracy_low" is not a column of by_weights; did you mean'),
        ({"holds": "accuracy_low >"}, 'holds: "accuracy_low >" is not an expression'),
        ({"holds": "lr > 0.5"}, 'holds: "lr > 0.5" compares no number of by_weights'),
        ({"holds": "0.4 < 0.5"}, 'holds: "0.4 < 0.5" compares no column'),
        ({"sentence": "It is {acuracy}."}, "sentence: {acuracy} is not a number of by_weights; did you mean"),
        ({"sentence": "It is {accuracy"}, "sentence: has a brace that is not closed"),
        ({"sentence": "It is {accuracy:.3q}"}, 'sentence: ".3q" is not a format of a number'),
        ({"sentence": 5}, "sentence: 5 is not a text"),
        ({"figure": "by_epoch"}, 'figure: "by_epoch" is not a figure that memory draws (by_rank, by_weights)'),
        ({"figure": None}, "title: needs a figure"),
        ({"tittle": "It is"}, "tittle: unknown key; did you mean title?"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line(changed, line, tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, yaml.safe_dump({"recalled": CLAIM | changed}))
    (mistake,) = raised.value.mistakes
    assert mistake.startswith(f"{tmp_path}/claims.yaml: recalled.{line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("recalled: {}\nrecalled: {}\n", "line 2: recalled is there twice"),
        ("[1]", "is not a mapping from names to claims"),
        ("recalled: 5", "recalled: 5 is not a mapping with experiment, sentence, table, rows and holds"),
        ("{", "line 1, column 2: not YAML"),
        (yaml.safe_dump({"Is it?": CLAIM}), '"Is it?" is not a name of a claim'),
        (
            yaml.safe_dump({"recalled": CLAIM, "forgotten": CLAIM | {"title": "It is forgotten"}}),
            "recalled.title: forgotten gives by_rank another title",
        ),
    ],
)
def test_a_mistake_in_the_file_of_claims_is_one_line(text, line, tmp_path):
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, text)
    (mistake,) = raised.value.mistakes
    assert mistake.startswith(f"{tmp_path}/claims.yaml: {line}")


def test_a_file_of_claims_that_is_absent_is_one_line(tmp_path):
    configuration = read_configuration(
        CONFIGURATION | {"claims": "no/claims.yaml"}, {"by_rank": (), "by_weights": ()}
    )
    with pytest.raises(ConfigurationError, match=r"^no/claims\.yaml: No such file or directory"):
        read_claims(configuration, {}, {})


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').getcwd() > 1",
        "accuracy_low.real > 1",
        "accuracy_low[0] > 1",
        "abs(accuracy_low, 1) > 1",
        "round(accuracy_low) > 1",
        "(accuracy_low > 0) + 1 > 1",
        "accuracy_low > 'a'",
        "accuracy_low > True",
        "accuracy_low in (1, 2)",
        "accuracy_low ** 9 > 1",
        "accuracy_low",
        "abs(accuracy_low)",
        "accuracy_low > 1 if loss_mean else loss_mean > 1",
        "[accuracy_low for accuracy_low in loss_mean] > 1",
        "@accuracy_low > 1",
    ],
)
def test_an_expression_that_is_no_comparison_of_numbers_is_refused(expression, tmp_path):
    with pytest.raises(ConfigurationError, match=r": recalled\.holds: "):
        read(tmp_path, yaml.safe_dump({"recalled": CLAIM | {"holds": expression}}))


# Whether claims hold.


def check(holds, table, rows=None, numbers=("accuracy",)):
    """The rows of the table of claims for one claim."""
    claim = {"table": "by_weights", "rows": rows or {}, "holds": holds, "numbers": list(numbers)}
    return check_claims({"it": claim | {"columns": columns_of(holds)}}, {"by_weights": table})


def table(**columns):
    """A table of a group with these columns; the others are the same in every row."""
    same = {"num_seeds": 3, "accuracy_mean": 0.7, "accuracy_low": 0.6, "accuracy_high": 0.8}
    return pd.DataFrame({"model": "dam"} | {k: v for k, v in columns.items() if k not in same} | same | columns)


@pytest.mark.parametrize(
    "expression",
    [
        "accuracy_low > 0.5 and accuracy_high < 0.9",
        "accuracy_low > 0.5 or accuracy_high < 0.9 and accuracy_mean > 0.6",
        "not accuracy_low > 0.5 and accuracy_high < 0.9",
        "not (accuracy_low > 0.5 and accuracy_high < 0.9) or accuracy_mean == 0.6",
        "0.5 < accuracy_low <= accuracy_mean != accuracy_high",
        "abs(accuracy_low - accuracy_high) * 2 / 3 >= accuracy_mean - -0.5",
    ],
)
def test_an_expression_means_what_it_means_in_python(expression):
    for low, mean, high in itertools.product([0.5, 0.6, 0.9], repeat=3):
        values = {"accuracy_low": low, "accuracy_mean": mean, "accuracy_high": high}
        (row,) = check(expression, table(weights=["final"], **values)).itertuples()
        assert row.holds == eval(expression, {}, values), values


def test_a_claim_is_checked_on_each_row_that_it_selects():
    tables = table(lr=[0.1, 0.1, 0.2, 0.2], weights=["final", "swap_A"] * 2, accuracy_low=[0.6, 0.1, 0.4, 0.1])
    checked = check("accuracy_low > 0.5", tables, {"weights": ["final"], "model": ["dam"]})
    assert checked["rows"].tolist() == ["lr 0.1", "lr 0.2"]
    assert checked["holds"].tolist() == [True, False]
    assert checked["reason"].tolist() == ["", "accuracy_low > 0.5 is false: accuracy_low is 0.4"]
    assert checked[["value", "low", "high", "seeds"]].values.tolist() == [[0.7, 0.6, 0.8, 3], [0.7, 0.4, 0.8, 3]]


def test_a_claim_names_its_rows_by_the_values_that_were_swept():
    swept = [0.0316227766, 0.03162278]
    checked = check("accuracy_low > lr", table(lr=swept, accuracy_low=0.012345678))
    assert checked["rows"].tolist() == [f"lr {lr}" for lr in swept]
    assert checked["reason"][0] == "accuracy_low > lr is false: accuracy_low is 0.0123457, lr is 0.0316227766"
    (row,) = check("accuracy_low > 0", table(lr=swept), {"lr": [0.0316227]}).itertuples()
    assert row.reason == "by_weights has no row with lr 0.0316227"


def test_a_truth_value_is_no_number_and_null_is_a_setting_that_a_model_lacks():
    tables = table(H=[1, np.nan], cleared=pd.Series([True, None], dtype=object), accuracy_mean=[0.1, 0.2])
    for rows, expected in (
        ({"H": [1]}, [0.1]),
        ({"H": [True]}, []),
        ({"cleared": [1]}, []),
        ({"H": [None]}, [0.2]),
    ):
        assert check("accuracy_low > 0", tables, rows)["value"].dropna().tolist() == expected


def test_without_a_row_or_an_interval_a_claim_does_not_hold_and_says_why():
    rows = {"weights": ["finall"], "model": ["dam", "gpt"]}
    (row,) = check("accuracy_low > 0.5", table(weights=["final"]), rows).itertuples()
    assert (row.holds, row.seeds) == (False, 0)
    assert row.reason == "by_weights has no row with weights finall, model dam or gpt"
    (row,) = check("not accuracy_low > 0.5", table(weights=["final"], accuracy_low=np.nan)).itertuples()
    assert (row.holds, row.value) == (False, 0.7)
    assert row.reason == "not accuracy_low > 0.5 cannot be told: accuracy_low is nan"


# Sentences.


def test_a_sentence_has_the_numbers_of_its_rows_in_their_order():
    tables = table(
        lr=[0.1, 0.2, 0.3],
        accuracy_mean=[0.712, -0.1, 1081.4],
        accuracy_low=[0.68, -0.25, 986.2],
        accuracy_high=[0.744, 0.05, 1176.6],
    )
    numbers = ("accuracy", "num_seeds")

    def told(sentence, rows=None):
        return sentence_with_numbers(sentence, check("accuracy_low > 0.5", tables, rows, numbers))

    shown = ["0.71 [0.68, 0.74]", "−0.10 [−0.25, 0.05]", "1081 [986, 1177]"]
    assert told("It is {accuracy}!") == f"It is {shown[0]}, {shown[1]} and {shown[2]}!"
    assert told("{num_seeds} seeds: {accuracy}", {"lr": [0.2]}) == f"3 seeds: {shown[1]}"
    assert told("{accuracy:.1f}, {{so}}", {"lr": [0.1, 0.2]}) == "0.7 [0.7, 0.7] and −0.1 [−0.2, 0.1], {so}"
    assert told("{accuracy}", {"lr": [9]}) == "–"
    tables["accuracy_low"] = tables["accuracy_high"] = np.nan
    assert told("{accuracy}", {"lr": [0.1]}) == "0.712"


def told_of(*holds):
    """The table of claims a, b, … of which these hold."""
    parts = []
    for name, value in zip("abc", holds, strict=False):
        checked = check(f"accuracy_low {'>' if value else '<'} 0.5", table(weights=["final"]))
        parts.append(checked.assign(id=name))
    sentences = {
        name: {"experiment": "memory", "sentence": f"{name} is {{accuracy}}."} for name in "abc"[: len(holds)]
    }
    return told_claims(sentences, pd.concat(parts))


@pytest.mark.parametrize(
    ("holds", "line"),
    [
        ((True, True), "claims: 2 hold"),
        ((True, False), "claims: 1 holds, 1 does not: b"),
        ((False, True, False), "claims: 1 holds, 2 do not: a, c"),
    ],
)
def test_the_last_line_counts_the_claims_and_names_those_that_do_not_hold(holds, line):
    assert last_line(told_of(*holds)) == line


def test_a_figure_has_its_title_only_if_all_of_its_claims_hold(tmp_path):
    checked = check("accuracy_low > 0.5", table(lr=[1, 2], accuracy_low=[0.6, 0.4]))
    write_table(pd.concat([checked, checked[:1].assign(id="other")]), tmp_path / "claims.parquet")
    inputs = Named(claims=tmp_path / "claims.parquet")

    def title(claims):
        params = Named(title={"title": "It is", "claims": claims} if claims else None)
        return title_of_figure(SimpleNamespace(params=params, input=inputs), "Accuracy")

    assert (title(["other"]), title(["it"]), title(["it", "other"]), title([])) == ("It is", *["Accuracy"] * 3)


# Pages.

BLOCK = "<!-- claims: a b -->\n* old\n<!-- end of claims -->\n"
CODE = "```\n<!-- claims: c -->\n<!-- end of claims -->\n```\n"
PAGE = f"# Page\n\n{BLOCK}\n{CODE}<!-- processor of the claims -->x<!-- end of processor -->\n"


def test_a_page_is_filled_with_the_sentences_and_the_processor_but_for_its_code():
    filled = fill_in_claims(PAGE, told_of(True, True), r"A\1")
    sentences = "* a is 0.70 [0.60, 0.80].\n* b is 0.70 [0.60, 0.80].\n"
    assert filled == PAGE.replace("* old\n", sentences).replace(">x<", r">A\1<")
    assert claims_of_page(filled) == ["a", "b"]
    paragraph = filled.replace("claims:", "claims in a paragraph:")
    expected = paragraph.replace(sentences, "a is 0.70 [0.60, 0.80]. b is 0.70 [0.60, 0.80].\n")
    assert fill_in_claims(paragraph, told_of(True, True), r"A\1") == expected


def test_a_page_with_a_claim_that_does_not_hold_or_is_unknown_is_refused():
    with pytest.raises(ClaimsInPageError, match=r"^b: does not hold in this run .accuracy_low < 0.5 is false"):
        fill_in_claims(PAGE, told_of(True, False), "x")
    with pytest.raises(ClaimsInPageError, match=r"^b: no such claim"):
        fill_in_claims(PAGE, told_of(True), "x")


def test_a_page_with_other_words_is_stale_and_one_with_other_numbers_is_not():
    sentences = {"a": "a is {accuracy}.", "b": "b is {accuracy}."}
    filled = fill_in_claims(PAGE, told_of(True, True), "x")
    assert stale_claims(filled, sentences) == []
    assert stale_claims(filled.replace("0.70 [0.60, 0.80]", "−1.2 [−3.40, 5] and 7e+04", 1), sentences) == []
    for old, new in (("b is", "b was"), ("b is 0.70 [0.60, 0.80].\n", "b is good.\n"), ("* b", "b")):
        assert stale_claims(filled.replace(old, new), sentences) == ["a b"]
    assert stale_claims(PAGE, sentences) == ["a b"]


def test_each_claim_of_the_study_is_on_a_page_with_its_words():
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    claims = yaml.safe_load((REPOSITORY / "report" / "claims.yaml").read_text())
    sentences = {name: " ".join(claim["sentence"].split()) for name, claim in claims.items()}
    texts = {page.name: page.read_text() for page in pages}
    assert {name: stale for name, text in texts.items() if (stale := stale_claims(text, sentences))} == {}
    assert {name for text in texts.values() for name in claims_of_page(text)} == sentences.keys()


# The workflow.

OF_THE_WORKFLOW = {
    "claims": "report/claims.yaml",
    "experiments": {
        "memory": {
            **{"model": "dam", "num_switches": 0, "num_held_out": 20, "seeds": 2, "figures": ["by_rank"]},
            **CONFIGURATION["defaults"]["dam"],
        }
    },
}
TARGETS = ("results/memory/by_rank.png", "claims")


def write_claims(folder, **changed):
    """Write two claims, of which the second does not hold."""
    claim = {
        "experiment": "memory",
        "sentence": "It is {accuracy}.",
        "table": "by_weights",
        "rows": {"sequence_set": 0, "weights": "final"},
        "holds": "0.4 < accuracy_mean <= 1",
        "figure": "by_rank",
        "title": "It is recalled",
    }
    wrong = {key: claim[key] for key in ("experiment", "table", "rows")} | {
        "sentence": "No.",
        "holds": "loss_low > 9",
    }
    claims = {"recalled": claim | changed, "wrong": wrong}
    (folder / "report" / "claims.yaml").write_text(yaml.safe_dump(claims, sort_keys=False))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A repository in which the claims about a small experiment were checked."""
    folder = copy_repository(tmp_path_factory.mktemp("ran"))
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(OF_THE_WORKFLOW))
    write_claims(folder)
    snakemake(folder, "--cores", "1", *TARGETS)
    return folder


@pytest.mark.slow
def test_the_workflow_checks_the_claims_on_its_tables(ran):
    made = pd.read_parquet(ran / "results" / "memory" / "by_weights.parquet")
    (row,) = made.query("weights == 'final' and sequence_set == 0").itertuples()
    told = pd.read_csv(ran / "results" / "claims.csv").set_index("id")
    assert told.loc["recalled", "sentence"] == (
        f"It is {row.accuracy_mean:.2f} [{row.accuracy_low:.2f}, {row.accuracy_high:.2f}].".replace("-", "−")
    )
    assert float(told.loc["recalled", "value"]) == pytest.approx(row.accuracy_mean, rel=1e-5)
    assert told["holds"].to_dict() == {"recalled": True, "wrong": False}
    page = (ran / "results" / "claims.md").read_text().splitlines()
    assert page[-1] == "claims: 1 holds, 1 does not: wrong"
    assert f"* ✓ {told.loc['recalled', 'sentence']}" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        ({}, set()),
        ({"sentence": "It was {accuracy}."}, {"claims"}),
        ({"title": "It was recalled"}, {"plot_by_rank"}),
        ({"holds": "accuracy_mean > 0.5"}, {"claims_of_group", "claims", "plot_by_rank"}),
        ({"table": "by_appearances"}, {"aggregate", "claims_of_group", "claims", "plot_by_rank"}),
    ],
    ids=["nothing", "sentence", "title", "holds", "table"],
)
def test_a_changed_claim_computes_again_only_what_depends_on_it(changed, rules, ran):
    write_claims(ran, **changed)
    planned = snakemake(ran, "-n", *TARGETS).stdout
    write_claims(ran)
    assert set(re.findall(r"^rule (\w+):", planned, re.MULTILINE)) == rules


@pytest.mark.slow
def test_another_first_seed_plans_the_study_on_other_seeds_in_other_folders(ran):
    call = ("-n", "--config", "first_seed=100", "cache_dir=other", "results_dir=others", "--", "memory", "claims")
    planned = snakemake(ran, *call).stdout
    assert set(re.findall(r"^    wildcards: group=memory, run=(\w+)$", planned, re.MULTILINE)) == {
        "dam_seed_100",
        "dam_seed_101",
    }
    assert "others/claims.csv" in planned


@pytest.mark.slow
def test_a_configuration_without_claims_has_none_of_their_files(ran):
    without = {key: value for key, value in OF_THE_WORKFLOW.items() if key != "claims"}
    (ran / "without.yaml").write_text(yaml.safe_dump(without))
    planned = snakemake(ran, "-n", "--forceall", "--configfile", "without.yaml").stdout
    assert "claims.csv" not in planned
    assert "rule plot_by_rank:" in planned
