"""How alike the attention before the switch and at the end is, for each condition."""

from memorization.cache import read_table, write_figure
from memorization.figure_style import by_model, conditions, draw_points, legend_below, new_figure
from memorization.progress import start_log

NEEDS = ("a switch",)
HEADS = {"same": ("o", "a head with itself"), "other": ("x", "with another head")}
start_log(snakemake.log[0])
table = read_table(snakemake.input.attention_similarity)
panels = [
    (f"{model}{f', layer {layer}' if of_model['layer'].nunique() > 1 else ''}".strip(", "), rows)
    for model, of_model in by_model(table)
    for layer, rows in of_model.groupby("layer")
]
figure, axes = new_figure(rows=1, columns=len(panels), width=2.8, height=3, sharex=False)
for (title, of_panel), ax in zip(panels, axes[0], strict=True):
    found = conditions(of_panel, "layer")
    for x, (_, colour, rows) in enumerate(found):
        for heads, (marker, _) in HEADS.items():
            points = rows[rows["heads"] == heads]
            style = {"color": colour, "marker": marker, "markersize": 4.5, "capsize": 2, "linestyle": ""}
            draw_points(ax, [x] * len(points), points, "similarity", **style)
    ax.axhline(0, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    ax.set_title(title)
    ax.set_xticks(range(len(found)), [label for label, _, _ in found], rotation=35, ha="right")
    ax.set_xlim(-0.5, len(found) - 0.5)
for marker, label in HEADS.values():
    axes[0, 0].plot([], [], color="0.3", linestyle="", marker=marker, label=label)
axes[0, 0].set_ylabel("similarity across the switch")
legend_below(figure, axes)
for path in snakemake.output:
    write_figure(figure, path)
