"""Bits memorised against the size of the set, of the model, and against its heads."""

import numpy as np
import pandas as pd

from memorization.figures.drawing import (
    condition_columns,
    condition_label,
    draw_points,
    last_set,
    log_axis,
    new_figure,
    ordered_colours,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a sweep of K",)
MARKERS = {"one_layer_attention": "o", "gpt": "s", "dam": "D"}
# Morris et al. 2025, see the caption.
PUBLISHED_BITS_PER_PARAMETER = 3.6
start_log(snakemake.log[0])
table = last_set(read_table_of_group(snakemake.input.capacity))
columns = condition_columns(table, "weights")
if "model" not in table:
    # One model: the DAM embeds nothing.
    table = table.assign(model=np.where(table["embedding_dimension"] == 0, "dam", "one_layer_attention"))
keys = [key for key in columns if key != "K"]
sizes = list(table.groupby(keys, sort=False, dropna=False)) if keys else [((), table)]
figure, axes = new_figure(rows=1, columns=3, width=3.4, height=3.8, sharex=False, sharey=False)
by_set, by_parameters, by_heads = axes[0]
largest = []
for i, (values, rows) in enumerate(sizes):
    model = rows["model"].iloc[0]
    colour = ordered_colours(len(sizes))[i]
    label = condition_label(dict(zip(keys, values, strict=True)), table)
    rows = rows.sort_values("K")
    draw_points(by_set, rows["K"], rows, "bits", color=colour, marker=MARKERS[model], markersize=3.5, label=label)
    largest.append(rows.loc[[rows["bits_mean"].idxmax()]].assign(colour=[colour]))
for length, rows in table.groupby("sequence_length"):
    K = np.geomspace(rows["K"].min(), rows["K"].max(), 50)
    ceiling = {"color": "0.55", "linewidth": 0.8, "linestyle": (0, (1, 2)), "zorder": 0}
    by_set.plot(K, K * (length - np.log2(K)), **ceiling)
by_set.plot([], [], **ceiling, label="all that prefixes tell: $K (L - \\log_2 K)$")
# What the DAM stores is in its queue, not in its parameters.
transformers = pd.concat([rows for rows in largest if rows["model"].iloc[0] != "dam"] or [table.head(0)])
for _, rows in transformers.groupby("model", sort=False):
    for _, row in rows.groupby(level=0):
        style = {"color": row["colour"].iloc[0], "marker": MARKERS[row["model"].iloc[0]], "markersize": 5}
        draw_points(by_parameters, row["num_parameters"], row, "bits", linestyle="", **style)
        if "num_heads" in columns:
            draw_points(by_heads, row["num_heads"], row, "bits", linestyle="", **style)
if len(transformers):
    parameters = np.array([transformers["num_parameters"].min() / 1.3, transformers["num_parameters"].max() * 1.3])
    for bits, style in ((PUBLISHED_BITS_PER_PARAMETER, "-"), (1, "--")):
        label = f"{bits} bit{'s' if bits > 1 else ''} a parameter"
        by_parameters.plot(parameters, bits * parameters, color="0.3", linewidth=1, linestyle=style, label=label)
if "num_heads" in columns and len(transformers):
    theory = transformers.drop_duplicates("num_heads").sort_values("num_heads")
    # Embeddings of dimension d = H · d_h.
    associations = 2 * theory["embedding_dimension"]
    by_heads.plot(
        theory["num_heads"], associations, color="0.3", linewidth=1, label="attention alone, at least: $H d_h + d$"
    )
by_set.set_xlabel("sequences in the set, K")
by_set.set_ylabel("bits memorised")
by_parameters.set_xlabel("parameters")
by_parameters.set_ylabel("bits memorised, the most over K")
by_heads.set_xlabel("heads")
by_heads.set_ylabel("bits memorised, the most over K")
for ax in axes[0]:
    log_axis(ax.xaxis)
    ax.set_yscale("log")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.2))
save_figure(figure, snakemake)
