"""Accuracy against the heads of the DAM, on a new set in its memory.

Beside it stands the accuracy on the set that it was trained on.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    IDEAL,
    THEORY,
    draw_chance,
    draw_points,
    legend_below,
    log_axis_of,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, look_of_heads
from memorization.figures.selection import just_trained, new_set_in_memory
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam", "a sweep of H")
table = read_table_of_group(snakemake.input.retrieval)
table = table[table["model"] == "dam"]
for setting in ("initial_heads", "A_and_B_trainable"):
    if setting not in table:
        table.insert(1, setting, "")
trained = just_trained(table)
panels = (
    (
        new_set_in_memory(table),
        "a new set in the memory,\nwhich no training has seen",
    ),
    (trained[trained["sequence_set"] == 0], "the set that was trained on"),
)
figure, axes = new_figure(rows=1, columns=2, width=3, height=2.4)
for ax, (rows, title) in zip(axes[0], panels, strict=True):
    draw_chance(ax, "accuracy")
    by_heads = rows.groupby("H")
    ideal, closed_form = by_heads["ideal_accuracy_mean"].mean(), by_heads["closed_form_mean"].mean()
    ax.plot(ideal.index, ideal, **IDEAL, label="ideal observer")
    ax.plot(closed_form.index, closed_form, **THEORY, label="closed form, one-bit heads, untrained")
    groups = list(rows.groupby(["initial_heads", "A_and_B_trainable"], sort=False))
    for i, (heads, points) in enumerate(groups):
        # Points side by side keep their intervals apart.
        x = points["H"] * 1.06 ** (i - (len(groups) - 1) / 2)
        draw_points(ax, x, points, "accuracy", **look_of_heads(*heads))
    ax.set_title(title)
    log_axis_of(ax.xaxis, rows["H"])
    ax.set_xlabel("heads H")
axes[0, 0].set_ylabel(AXIS_LABELS["accuracy"])
figure.suptitle(title_of_figure(snakemake, "Accuracy of retrieval against the number of heads"))
legend_below(figure, axes)
save_figure(figure, snakemake)
