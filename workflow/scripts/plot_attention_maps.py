"""Attention as heat maps: mean over the heads and single heads, before and after the first switch."""

from memorization.cache import read_table, write_figure
from memorization.figure_style import WEIGHTS_LABELS, condition_columns, new_figure
from memorization.progress import start_log

SINGLE_HEADS = 3
start_log(snakemake.log[0])
table = read_table(snakemake.input.attention_maps)
# One condition: the first.
columns = condition_columns(table, "weights")
if columns:
    table = table[(table[columns] == table[columns].iloc[0]).all(axis=1)]
table = table[table["layer"] == 0]
moments = [weights for weights in ("pre_switch_1", "final") if weights in set(table["weights"])]
heads = sorted(table["head"].unique())[: 1 + SINGLE_HEADS]
figure, axes = new_figure(rows=len(moments), columns=len(heads), width=2, height=1.9)
for weights, row in zip(moments, axes, strict=True):
    for head, ax in zip(heads, row, strict=True):
        cells = table[(table["weights"] == weights) & (table["head"] == head)]
        # Over the bits that ask and are asked, all pairs alike.
        values = cells.pivot_table(
            index="predicted_position", columns="key_position", values="attention_mean", aggfunc="mean"
        )
        extent = (-0.5, values.columns.max() + 0.5, values.index.max() + 0.5, values.index.min() - 0.5)
        image = ax.imshow(
            values, extent=extent, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        if weights == moments[0]:
            ax.set_title("mean over heads" if head < 0 else f"head {head}")
        if weights == moments[-1]:
            ax.set_xlabel("position attended to")
    row[0].set_ylabel(f"{WEIGHTS_LABELS[weights]}\npredicted bit")
figure.colorbar(image, ax=axes, label="attention", shrink=0.8)
for path in snakemake.output:
    write_figure(figure, path)
