"""How alike the attention before the switch and at the end is, for each condition."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import REFERENCE, draw_across, legend_below, row_panels, save_figure
from memorization.figures.labels import BLACK, ORANGE, Look
from memorization.figures.selection import by_model, conditions, with_attention
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
HEADS = {"same": Look("a head with itself", BLACK, "o"), "other": Look("with another head", ORANGE, "X")}
table = with_attention(read_table_of_group(snakemake.input.attention_similarity))
shown = [
    (f"{model}{f', layer {layer + 1}' if of_model['layer'].nunique() > 1 else ''}".strip(", "), conditions(rows))
    for model, of_model in by_model(table)
    for layer, rows in of_model.groupby("layer")
]
figure, axes = row_panels(shown, width=4.4, lines_per_row=2)
for ax, (_, of_panel) in zip(axes, shown, strict=True):
    ax.axvline(0, **REFERENCE, label="as unlike as chance")
    for y, (_, _, rows) in enumerate(of_panel):
        for i, (heads, look) in enumerate(HEADS.items()):
            draw_across(
                ax, y + 0.3 * i - 0.15, rows[rows["heads"] == heads], "similarity", **look.points, label=look.label
            )
axes[-1].set_xlabel("similarity of the attention across the switch")
figure.suptitle(title_of_figure(snakemake, "How alike a head's attention is before the switch and at the end"))
legend_below(figure, axes)
save_figure(figure, snakemake)
