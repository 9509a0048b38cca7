"""The numbers that the DAM logs of itself, against iterations.

These are the sharpness of A, the correlation of the heads and the size of the memory.
"""

from memorization.figures.drawing import draw_mean, draw_switches, new_figure, save_figure
from memorization.figures.selection import conditions
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam",)
PANELS = {
    "sharpness": "sharpness of A",
    "head_correlation": "correlation of heads",
    "num_distinct_stored": "distinct sequences stored",
}
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.diagnostics)
# Only the DAM logs these numbers.
table = table.dropna(subset=[f"{metric}_mean" for metric in PANELS], how="all")
figure, axes = new_figure(rows=len(PANELS), columns=1, width=5.8, height=1.7, sharey=False)
for (metric, label), ax in zip(PANELS.items(), axes[:, 0], strict=True):
    draw_switches(ax, table)
    # The curves are the same before the switch: the first condition is drawn on top.
    for i, (name, colour, rows) in enumerate(conditions(table)):
        draw_mean(ax, rows, "iter", metric, color=colour, label=name or None, zorder=3 - i / 100)
    ax.set_ylabel(label)
axes[-1, 0].set_xlabel("iterations")
if axes[0, 0].get_legend_handles_labels()[0]:
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
save_figure(figure, snakemake)
