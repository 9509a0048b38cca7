"""How alike the attention before the switch and at the end is, for each condition."""

from memorization.figures.drawing import REFERENCE, legend_below, new_figure, save_figure
from memorization.figures.selection import by_model, conditions, with_attention
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
HEADS = {"same": ("o", "a head with itself"), "other": ("x", "with another head")}
start_log(snakemake.log[0])
table = with_attention(read_table_of_group(snakemake.input.attention_similarity))
panels = [
    (f"{model}{f', layer {layer}' if of_model['layer'].nunique() > 1 else ''}".strip(", "), rows)
    for model, of_model in by_model(table)
    for layer, rows in of_model.groupby("layer")
]
figure, axes = new_figure(rows=len(panels), columns=1, width=5.5, height=1.6, sharey=False)
for (title, of_panel), ax in zip(panels, axes[:, 0], strict=True):
    shown = conditions(of_panel)
    for y, (_, colour, rows) in enumerate(shown):
        for heads, (marker, _) in HEADS.items():
            points = rows[rows["heads"] == heads]
            mean = points["similarity_mean"]
            interval = [mean - points["similarity_low"], points["similarity_high"] - mean]
            style = {"color": colour, "marker": marker, "linestyle": "", "elinewidth": 1}
            ax.errorbar(mean, [y] * len(points), xerr=interval, **style)
    ax.axvline(0, **REFERENCE)
    ax.set_title(title)
    ax.set_yticks(range(len(shown)), [label for label, _, _ in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
for marker, label in HEADS.values():
    axes[0, 0].plot([], [], color="0.3", linestyle="", marker=marker, label=label)
axes[-1, 0].set_xlabel("similarity of the attention across the switch")
axes[-1, 0].set_xlim(-1.05, 1.05)
legend_below(figure, axes)
save_figure(figure, snakemake)
