"""Accuracy on the sets before and after the switch, with a part swapped back, against the number of parameters."""

from memorization.figures.drawing import (
    AXIS_LABELS,
    WEIGHTS_COLOURS,
    WEIGHTS_LABELS,
    WEIGHTS_MARKERS,
    by_model,
    draw_chance,
    draw_points,
    legend_below,
    lines,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
SETS = {0: "set 0 (pre-switch)", 1: "set 1 (post-switch)"}
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.by_weights)
frozen = list(table["freeze"].unique()) if "freeze" in table else ["none"]
models = by_model(table)
figure, axes = new_figure(
    rows=len(models) * len(SETS), columns=len(frozen), width=3, height=2.2, sharex=False, sharey=True
)
for i, (model, of_model) in enumerate(models):
    for j, (sequence_set, set_name) in enumerate(SETS.items()):
        row = axes[len(SETS) * i + j]
        row[0].set_ylabel(lines(model, set_name, AXIS_LABELS["accuracy"]))
        for freeze, ax in zip(frozen, row, strict=True):
            draw_chance(ax, "accuracy")
            of_panel = of_model[of_model["sequence_set"] == sequence_set]
            of_panel = of_panel[of_panel["freeze"] == freeze] if "freeze" in table else of_panel
            for weights in [name for name in WEIGHTS_COLOURS if name in set(of_panel["weights"])]:
                rows = of_panel[of_panel["weights"] == weights].sort_values("num_parameters")
                style = {"color": WEIGHTS_COLOURS[weights], "marker": WEIGHTS_MARKERS[weights]}
                label = WEIGHTS_LABELS[weights]
                draw_points(ax, rows["num_parameters"], rows, "accuracy", markersize=4, label=label, **style)
            log_axis(ax.xaxis)
for freeze, ax in zip(frozen, axes[0], strict=True):
    ax.set_title("everything trained" if freeze == "none" else f"{freeze} frozen after the switch")
for ax in axes[-1]:
    ax.set_xlabel("parameters")
legend_below(figure, axes)
save_figure(figure, snakemake)
