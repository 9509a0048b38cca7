"""Attention as heat maps: the mean over the heads and single heads.

They are shown before and after the first switch, and swapped.
"""

from memorization.figures.drawing import new_figure, save_figure
from memorization.figures.labels import lines, look_of_weights
from memorization.figures.selection import MOMENTS_OF_ATTENTION, by_model, first_condition, first_layer
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

SINGLE_HEADS = 3
start_log(snakemake.log[0])
table = first_layer(read_table_of_group(snakemake.input.attention_maps))
rows = []
for model, of_model in by_model(table):
    of_model = first_condition(of_model)
    rows += [(model, weights, of_model) for weights in MOMENTS_OF_ATTENTION if weights in set(of_model["weights"])]
heads = sorted(table["head"].unique())[: 1 + SINGLE_HEADS]
figure, axes = new_figure(len(rows), len(heads), width=2, height=1.9, sharex=False, sharey=False)
for (model, weights, of_model), row in zip(rows, axes, strict=True):
    for head, ax in zip(heads, row, strict=True):
        cells = of_model[(of_model["weights"] == weights) & (of_model["head"] == head)]
        if cells.empty:
            ax.set_visible(False)
            continue
        # The mean over the pairs of bits.
        values = cells.pivot_table(
            index="predicted_position", columns="key_position", values="attention_mean", aggfunc="mean"
        )
        extent = (-0.5, values.columns.max() + 0.5, values.index.max() + 0.5, values.index.min() - 0.5)
        image = ax.imshow(
            values, extent=extent, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
    row[0].set_ylabel(lines(model, look_of_weights(weights).label.replace(", ", ",\n"), "predicted bit"))
for head, ax in zip(heads, axes[0], strict=True):
    ax.set_title("mean over heads" if head < 0 else f"head {head}")
for ax in axes[-1]:
    ax.set_xlabel("position attended to")
figure.colorbar(image, ax=axes, label="attention", shrink=0.5)
save_figure(figure, snakemake)
