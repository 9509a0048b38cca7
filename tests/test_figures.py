"""Every figure is drawn from real tables: of several models, of one condition, and with little to draw."""

import builtins
import itertools
import re
import runpy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, trained
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection

from memorization.configuration.experiments import NEEDS, ConfigurationError, read_configuration
from memorization.configuration.settings import SETTINGS_OF_MODEL
from memorization.figures.drawing import CHANCE, axis_of_values, new_figure
from memorization.figures.labels import look_of_model, look_of_weights
from memorization.figures.layout import PAGE, SMALLEST_PANEL
from memorization.figures.selection import (
    condition_columns,
    conditions,
    just_trained,
    last_set,
    new_set_in_memory,
    share_trunk,
)
from memorization.storage import cache
from memorization.tables.aggregation import aggregate
from memorization.tables.registry import (
    KEYS,
    TABLES,
    FigureScriptError,
    name_of_figure,
    needs_of_figure,
    read_table_of_group,
    tables_of_figure,
)
from memorization.training.evaluation import evaluate_run

SCRIPTS = REPOSITORY / "workflow" / "scripts"
FIGURES = sorted(path.stem.removeprefix("plot_") for path in SCRIPTS.glob("plot_*.py"))
SMALL = {"K": 20, "batch_size": 8, "num_iters_per_set": 30, "num_iters_per_epoch": 3, "lr": 1e-2}
TRANSFORMER = {**SMALL, "len_context": 10, "num_heads": 2, "num_hidden_features": 4}
OF_MODEL = {
    "one_layer_attention": TRANSFORMER,
    "gpt": {**TRANSFORMER, "num_layers": 2},
    "dam": {**SMALL, "N": 10, "H": 4, "M": 50, "lr": 5e-2},
}


def swept(found):
    """The settings in which the conditions, (model, settings) each, differ. A list tells no conditions apart."""
    keys = {key for _, changed in found for key, value in changed.items() if not isinstance(value, list)}
    return sorted(key for key in keys if len({changed.get(key) for _, changed in found}) > 1)


class Group(dict):
    """The tables of an experiment with these conditions, (model, settings) each, made when they are asked for.

    With ``alike`` the runs of a model are those of its first condition, which are trained once.
    """

    def __init__(self, found, alike=False):
        super().__init__()
        keys = ["model", *swept(found)]
        self.runs, self.conditions, self.settings = [], [], []
        first = {}
        for model, changed in found:
            for seed in range(2):
                args = SETTINGS_OF_MODEL[model](**OF_MODEL[model] | changed, model=model, seed=seed).resolved()
                if not (alike and (model, seed) in first):
                    first[model, seed] = evaluate_run(*trained(args), 30)
                self.runs.append(first[model, seed])
                self.conditions.append({key: args.get(key) for key in keys})
                self.settings.append(args)

    def __missing__(self, name):
        sources = [run[TABLES[name].source] for run in self.runs]
        # The first condition of each model.
        references = {condition["model"]: condition for condition in reversed(self.conditions)}
        self[name] = aggregate(name, sources, self.conditions, self.settings, references)
        return self[name]


EXPERIMENTS = {
    "three models": [
        ("one_layer_attention", {"freeze": "none"}),
        ("one_layer_attention", {"freeze": "mlp"}),
        ("gpt", {"freeze": "none"}),
        ("dam", {"freeze": "A"}),
    ],
    "one condition": [("one_layer_attention", {})],
    "one condition of the DAM": [("dam", {})],
    "a sweep of K without a switch": [
        (model, {"K": K, "num_switches": 0}) for model in ("one_layer_attention", "gpt", "dam") for K in (10, 20)
    ],
    "a sweep of one number": [("dam", {"M": 30}), ("dam", {"M": 60})],
    "epochs as long as the sets": [("one_layer_attention", {"num_iters_per_epoch": 30})],
    "the experiment of the page": [
        ("one_layer_attention", {"optimizer": "adamw", "weight_decay": value}) for value in (0, 0.1, 1)
    ],
    "rates after the switch": [
        (model, {"lr_after_switch": lr, "batch_size_after_switch": batch, "num_iters_of_last_set": 30})
        for model in ("one_layer_attention", "dam")
        for lr, batch in ((0.01, 4), (0.01, 8), (0.01, 16), (0.1, 4))
    ],
    "three sets": [("gpt", {"num_switches": 2}), ("gpt", {"num_switches": 2, "reset_model_at_switch": True})],
    "heads of the DAM": [
        ("dam", {"H": H, "initial_heads": heads, "num_switches": 0})
        for heads in ("random", "one_bit")
        for H in (2, 5)
    ],
    "weights on the way": [
        ("one_layer_attention", {"saved_iters": [2, 10]}),
        ("one_layer_attention", {"saved_iters": [2, 10], "weights_seed": 1000}),
        ("dam", {"saved_iters": [2, 10]}),
    ],
    "weights on the way of several conditions": [
        ("gpt", {"saved_iters": [2, 10], "lr": lr, "num_switches": number})
        for lr, number in ((3e-2, 2), (1e-7, 1), (3e-2, 0))
    ],
    "two truth values": [("dam", {"reset_optimizer_at_switch": value}) for value in (False, True)],
}


MANY = {
    "25 conditions with long labels": [
        ("one_layer_attention", {"num_hidden_features_mlp": width, "attention_init_std": std})
        for width in (4, 8, 12, 16, 20)
        for std in (0.01, 0.02, 0.05, 0.1, 0.2)
    ],
    "60 conditions of three models": [
        (model, {"lr": 1e-3 * (1 + i)}) for model in ("one_layer_attention", "gpt", "dam") for i in range(20)
    ],
    "three truth values": [
        ("dam", {"reset_optimizer_at_switch": one, "reset_model_at_switch": two, "clear_memory_at_switch": three})
        for one in (False, True)
        for two in (False, True)
        for three in (False, True)
    ],
}


@pytest.fixture(scope="session")
def tables():
    groups = {name: Group(found) for name, found in EXPERIMENTS.items()}
    return groups | {name: Group(found, alike=True) for name, found in MANY.items()}


TUTORIAL = (REPOSITORY / "docs" / "add-an-experiment.md").read_text()


def has(need, found):
    """Whether an experiment has what a figure needs, and the figure of one number is drawn with one."""
    settings = [
        SETTINGS_OF_MODEL[model](**OF_MODEL[model] | changed, model=model, seed=0) for model, changed in found
    ]
    return NEEDS[need][0](settings, ["model", *swept(found)])


def drawn(figure, experiment, tables, monkeypatch, folder=SCRIPTS):
    """Run the script of a figure on the tables of an experiment and return what it draws."""
    script = folder / f"plot_{figure}.py"
    found = []
    monkeypatch.setattr(
        "memorization.tables.registry.read_table_of_group", lambda path: tables[experiment][path].copy()
    )
    monkeypatch.setattr("memorization.figures.drawing.write_figure", lambda figure, path: found.append(figure))
    monkeypatch.setattr("memorization.figures.drawing.write_provenance", lambda job: None)
    monkeypatch.setattr("memorization.storage.log.start_log", lambda path: None)
    inputs = {table: table for table in tables_of_figure(script)}
    job = SimpleNamespace(
        input=SimpleNamespace(**inputs), output=["a"], log=["log"], params=SimpleNamespace(title=None)
    )
    monkeypatch.setattr(builtins, "snakemake", job, raising=False)
    runpy.run_path(str(script))
    return found[0]


CASES = [
    (figure, experiment)
    for figure in FIGURES
    for experiment, found in EXPERIMENTS.items()
    if all(has(need, found) for need in needs_of_figure(SCRIPTS / f"plot_{figure}.py"))
]


@pytest.mark.slow
@pytest.mark.parametrize("figure, experiment", CASES)
def test_a_figure_is_drawn_of_what_it_says_that_it_needs(figure, experiment, tables, monkeypatch):
    drawing = drawn(figure, experiment, tables, monkeypatch)
    visible = [ax for ax in drawing.axes if ax.get_visible()]
    assert any(ax.lines or ax.images or ax.containers for ax in visible)
    assert any(ax.get_xlabel() or ax.get_ylabel() for ax in visible)
    for low, high in (limits for ax in visible for limits in (ax.get_xlim(), ax.get_ylim())):
        assert np.isfinite([low, high]).all() and low != high
    assert_readable_page(drawing)


def levels(ax):
    """The values at which a panel has a line along one of its axes."""
    ends = [np.column_stack(line.get_data()) for line in ax.lines if len(line.get_xdata()) == 2]
    ends += [
        segment
        for lines in ax.collections
        if isinstance(lines, LineCollection)
        for segment in lines.get_segments()
    ]
    return {float(one[0]) for two in ends if len(two) == 2 for one in two.T if one[0] == one[1]}


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["by_epoch", "by_rank", "by_weights", "swap_by_size"])
def test_chance_and_the_ideal_observer_are_drawn_in_each_panel(figure, tables, monkeypatch):
    drawing = drawn(figure, "three models", tables, monkeypatch)
    for ax in [ax for ax in drawing.panels if ax.get_visible()]:
        assert CHANCE["accuracy"] in levels(ax), ax.get_ylabel()
        assert "ideal observer" in ax.get_legend_handles_labels()[1]


@pytest.mark.slow
def test_a_setting_has_its_swept_values_at_the_ticks(tables, monkeypatch):
    (ax,) = drawn("by_setting", "a sweep of one number", tables, monkeypatch).panels
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["30", "60"]


def overlapping_numbers(ax):
    """The pairs of neighbouring texts at the ticks of a panel that overlap."""
    pairs = []
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        axis.get_majorticklabels()  # places the ticks
        texts = [
            tick.label1
            for tick in sorted(axis.get_major_ticks(), key=lambda tick: tick.get_loc())
            if low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text()
        ]
        pairs += [
            (one.get_text(), two.get_text())
            for one, two in itertools.pairwise(texts)
            if one.get_window_extent().overlaps(two.get_window_extent())
        ]
    return pairs


# The figures that show each condition by itself.
OF_CONDITIONS = ("attention_similarity", "by_epoch", "by_rank", "by_weights", "contrasts", "plasticity")
CROWDED = [
    (figure, experiment)
    for figure in FIGURES
    for experiment, found in MANY.items()
    if all(has(need, found) for need in needs_of_figure(SCRIPTS / f"plot_{figure}.py"))
    and (figure in OF_CONDITIONS or experiment == "three truth values")
]


@pytest.mark.slow
@pytest.mark.parametrize("figure, experiment", CROWDED)
def test_a_figure_of_many_conditions_is_a_page_with_readable_panels(figure, experiment, tables, monkeypatch):
    assert_readable_page(drawn(figure, experiment, tables, monkeypatch))


def assert_readable_page(drawing):
    """Assert that a figure is a page at most, with panels that can be read and room for all texts."""
    width, height = drawing.get_size_inches()
    assert width <= PAGE[0] and height <= PAGE[1]
    for ax in [ax for ax in drawing.panels if ax.get_visible()]:
        assert min(ax.get_window_extent().size) / drawing.dpi >= SMALLEST_PANEL - 0.01
        assert not overlapping_numbers(ax)
    # The legend, the title and every label of every panel.
    around = drawing.get_tightbbox()
    # A title may end a pixel further.
    assert around.x0 >= 0 and around.y0 >= 0 and around.x1 <= width + 1 / drawing.dpi and around.y1 <= height


@pytest.mark.slow
def test_few_points_are_joined_by_no_line(tables, monkeypatch):
    (ax,) = drawn("by_setting", "a sweep of one number", tables, monkeypatch).panels
    measured = [container[0] for container in ax.containers]
    assert measured and all(line.get_linestyle() == "None" for line in measured)


@pytest.mark.slow
def test_an_interval_that_goes_on_beyond_its_panel_is_marked(tables, monkeypatch):
    table = tables["a sweep of one number"]["by_weights"]
    wide = table["accuracy_high"].where(table["sequence_set"] != 0, 5)
    monkeypatch.setitem(tables["a sweep of one number"], "by_weights", table.assign(accuracy_high=wide))
    drawing = drawn("by_setting", "a sweep of one number", tables, monkeypatch)
    (ax,) = drawing.panels
    assert ax.get_ylim()[1] < 2
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "^"] == [ax.get_ylim()[1]] * 2
    assert "interval goes on beyond the panel" in [text.get_text() for text in drawing.legends[0].texts]


def test_more_conditions_than_can_be_told_apart_are_refused():
    table = pd.DataFrame({"model": "dam", "M": range(61), "weights": "final"})
    with pytest.raises(ValueError, match=r"^61 conditions in one figure cannot be read; split the experiment"):
        conditions(table)
    looks = [
        (str(look.colour), look.marker)
        for _, look, _ in conditions(table[:60].assign(M=list(map(str, range(60)))))
    ]
    assert len(set(looks)) == 60


def test_every_figure_names_the_tables_that_it_reads():
    for figure in FIGURES:
        script = SCRIPTS / f"plot_{figure}.py"
        assert tables_of_figure(script) and name_of_figure(script) == figure


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "table = snakemake.input.by_iteration",
            "plot_new.py: snakemake.input.by_iteration is not one of the tables",
        ),
        ("x = 1", "plot_new.py: snakemake.input.<table> is not one of the tables"),
        ("x = 1\nx = = 2", "plot_new.py: line 2: invalid syntax"),
        ('NEEDS = ("a switch")\nsnakemake.input.by_epoch', "plot_new.py: NEEDS is not a tuple of texts"),
        ("NEEDS = needs()\nsnakemake.input.by_epoch", "plot_new.py: NEEDS is not a tuple of texts"),
        (
            'NEEDS = ("a swich",)\nsnakemake.input.by_epoch',
            'plot_new.py: NEEDS has "a swich", which is not one of',
        ),
    ],
)
def test_what_is_wrong_with_the_script_of_a_figure_is_said_in_one_line(text, expected, tmp_path):
    script = tmp_path / "plot_new.py"
    script.write_text(text)
    with pytest.raises((FigureScriptError, ConfigurationError)) as caught:
        needs = {"new": needs_of_figure(script)}
        tables_of_figure(script)
        read_configuration({}, needs)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(expected)


@pytest.mark.parametrize("name", ["by_rank-copy{1}", "by_rank (1)", "by_rank\n", "ByRank", ""])
def test_a_script_whose_name_cannot_be_that_of_a_figure_is_named_in_one_line(name, tmp_path):
    with pytest.raises(FigureScriptError) as caught:
        name_of_figure(tmp_path / f"plot_{name}.py")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{f'plot_{name}.py'!r}: ")


@pytest.mark.slow
def test_no_two_conditions_of_a_table_look_or_are_called_the_same(tables):
    for experiment in tables.values():
        shown = conditions(experiment["by_weights"])
        for of_look in (lambda look: look.points, lambda look: look.line):
            assert len({str(of_look(look)) for _, look, _ in shown}) == len(shown)
        assert len({label for label, _, _ in shown}) == len(shown)


def test_the_conditions_of_a_table_are_told_by_the_settings_that_differ():
    table = pd.DataFrame(
        {"model": "gpt", "K": [10, 10, 20], "freeze": "mlp", "weights": "final", "loss_mean": 0.5}
    )
    assert condition_columns(table) == ["model", "K", "freeze"]
    (first, dark, ten), (second, bright, twenty) = conditions(table)
    assert (first, second) == ("K: 10", "K: 20") and dark.colour != bright.colour
    assert (len(ten), len(twenty)) == (2, 1)
    ((label, _, rows),) = conditions(table[table["K"] == 20])
    assert label == "" and rows.equals(twenty)


def test_no_setting_has_the_name_of_a_key_of_a_table():
    """The columns of a condition are those before the first key."""
    settings = {name for settings in SETTINGS_OF_MODEL.values() for name in settings.model_fields}
    assert not settings & KEYS


def test_a_model_and_weights_without_a_look_have_a_spare_one():
    assert look_of_model("linear_attention").label == "linear attention"
    state, norms = look_of_weights("swap_cell_state"), look_of_weights("swap_norms")
    assert state.label == "at the end, cell state swapped back"
    assert (state.colour, state.marker) != (norms.colour, norms.marker)
    assert look_of_weights("pre_switch_2").label == "pre switch 2"


def test_each_condition_is_drawn_from_its_own_weights_and_its_own_last_set():
    table = pd.DataFrame(
        [
            (num_switches, weights, sequence_set)
            for num_switches, kinds in ((0, ["final"]), (2, ["pre_switch_1", "pre_switch_2", "final"]))
            for weights in kinds
            for sequence_set in range(-1, num_switches + 1)
        ],
        columns=["num_switches", "weights", "sequence_set"],
    )
    assert set(just_trained(table)[["num_switches", "weights"]].itertuples(index=False, name=None)) == {
        (0, "final"),
        (2, "pre_switch_1"),
    }
    assert last_set(table).to_numpy().tolist() == [[0, "final", 0], [2, "final", 2]]
    assert last_set(table[table["num_switches"] == 2]).to_numpy().tolist() == [[2, "final", 2]]
    # A set that is in the memory of other weights only is no set that was trained on.
    more = pd.DataFrame([(2, "new_memory_final", s) for s in range(4)], columns=table.columns)
    table = pd.concat([table, more], ignore_index=True)
    assert last_set(table).to_numpy().tolist() == [[0, "final", 0], [2, "final", 2]]
    assert new_set_in_memory(table).to_numpy().tolist() == [[2, "new_memory_final", 3]]


@pytest.mark.slow
def test_what_is_before_the_switch_is_drawn_once_only_where_it_is_the_same(tables):
    def rows(experiment):
        return [rows for _, _, rows in conditions(tables[experiment]["by_epoch"])]

    assert share_trunk(rows("two truth values"))
    assert not share_trunk(rows("a sweep of one number"))
    assert not share_trunk(rows("one condition"))


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_figures_find_the_columns_that_they_are_promised(table, tables, tmp_path):
    path = tmp_path / f"{table}.parquet"
    cache.write_table(tables["one condition"][table], path)
    read = read_table_of_group(path)
    assert read.columns[0] == "model"
    assert {*read} >= {*TABLES[table].keys, *TABLES[table].columns_over_seeds}


@pytest.mark.slow
def test_the_experiment_of_the_page_that_adds_one_is_as_it_says(tables, monkeypatch, tmp_path):
    entry, *_ = re.findall(r"```yaml\n(experiments:.*?)```", TUTORIAL, re.DOTALL)
    text = (REPOSITORY / "config" / "config.yaml").read_text()
    config = yaml.safe_load(text) | yaml.safe_load(entry)
    known = {figure: needs_of_figure(SCRIPTS / f"plot_{figure}.py") for figure in FIGURES}
    assert len(read_configuration(config, known).runs) == 9
    assert all(f"`{need}`" in " ".join(TUTORIAL.split()) for need in NEEDS)
    script = next(
        block for block in re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL) if "save_figure" in block
    )
    figure = re.search(r"`workflow/scripts/plot_(\w+).py`", TUTORIAL)[1]
    (tmp_path / f"plot_{figure}.py").write_text(script)
    drawing = drawn(figure, "the experiment of the page", tables, monkeypatch, tmp_path)
    assert [len(found[0].get_xdata()) for ax in drawing.axes for found in ax.containers] == [3] * 4


@pytest.mark.slow
def test_each_condition_is_explained_until_the_next_switch(tables, monkeypatch):
    experiment = "weights on the way of several conditions"
    drawing, table = drawn("explained", experiment, tables, monkeypatch), tables[experiment]["model_comparison"]
    tree = table[(table["candidate"] == "prefix_tree") & (table["num_switches"] == 2)]
    before, new, old = drawing.axes[:3]
    for ax, moments, sequence_set in (
        (before, ("set_0_", "pre_switch_1"), 0),
        (new, ("set_1_", "pre_switch_2"), 1),
        (old, ("set_1_", "pre_switch_2"), 0),
    ):
        of_panel = tree[tree["weights"].str.startswith(moments) & (tree["sequence_set"] == sequence_set)]
        shown = [
            y for line in ax.lines if line.get_marker() == "^" and line.get_clip_on() for y in line.get_ydata()
        ]
        assert shown and set(shown) <= set(of_panel["explained_mean"])


@given(
    value=st.floats(-1e300, 1e300).map(abs),
    steps=st.integers(1, 100),
    others=st.lists(st.floats(0, 1e300) | st.integers(0, 10**9).map(float), max_size=3),
)
def test_swept_values_have_labels_of_their_own_however_near_they_are(value, steps, others):
    near = value
    for _ in range(steps):
        near = np.nextafter(near, np.inf)
    swept = list(dict.fromkeys([value, float(near), *others]))
    table = pd.DataFrame({"model": "dam", "lr": swept, "weights": "final"})
    shown = [label.removeprefix("learning rate: ") for label, _, _ in conditions(table)]
    # Read as numbers they are in the order of the values.
    assert np.argsort([*map(float, shown)]).tolist() == np.argsort(swept).tolist()
    assert len({*map(float, shown)}) == len(swept)


@pytest.mark.parametrize(
    "swept", [[0.031622, 0.0316227766, 0.03162278], [1e-5, 0.5, 0.50000001], [0, 1048576, 2e6]]
)
def test_the_ticks_of_an_axis_tell_the_swept_values_apart(swept):
    _, axes = new_figure(rows=1, columns=1, width=4, height=2)
    axes[0, 0].plot(swept, swept)
    axis_of_values(axes[0, 0].xaxis, swept)
    shown = [float(tick.get_text()) for tick in axes[0, 0].get_xticklabels()]
    assert shown == pytest.approx(swept, rel=1e-7)
    assert len({*shown}) == len(swept)
