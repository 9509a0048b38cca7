"""Bits memorised against the size of the set, of the model, and against its heads."""

import numpy as np
import pandas as pd

from memorization.figures.drawing import (
    REFERENCE,
    THEORY,
    draw_points,
    legend_beneath,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import condition_label, look_of_model, ordered_colours
from memorization.figures.selection import condition_columns, last_set
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a sweep of K",)
# Morris et al. 2025, see the caption.
PUBLISHED_BITS_PER_PARAMETER = 3.6
start_log(snakemake.log[0])
table = last_set(read_table_of_group(snakemake.input.capacity))
columns = condition_columns(table)
keys = [key for key in columns if key != "K"]
sizes = list(table.groupby(keys, sort=False, dropna=False))
figure, axes = new_figure(rows=1, columns=3, width=3.4, height=3.8, sharex=False, sharey=False)
by_set, by_parameters, by_heads = axes[0]
# The most that each size of a model has memorised. A model with a queue stores there, not in its parameters.
largest = []
for colour, (values, rows) in zip(ordered_colours(len(sizes)), sizes, strict=True):
    style = {"color": colour, "marker": look_of_model(rows["model"].iloc[0]).marker}
    label = condition_label(dict(zip(keys, values, strict=True)), table)
    rows = rows.sort_values("K")
    draw_points(by_set, rows["K"], rows, "bits", linestyle="-", label=label, **style)
    if (rows["queue_capacity"] == 0).all():
        most = rows.loc[[rows["bits_mean"].idxmax()]]
        largest.append(most)
        draw_points(by_parameters, most["num_parameters"], most, "bits", **style)
        if "num_heads" in columns:
            draw_points(by_heads, most["num_heads"], most, "bits", **style)
for length, rows in table.groupby("sequence_length"):
    K = np.geomspace(rows["K"].min(), rows["K"].max(), 50)
    by_set.plot(K, K * (length - np.log2(K)), **REFERENCE)
by_set.plot([], [], **REFERENCE, label="the most that prefixes tell: $K (L - \\log_2 K)$")
if largest:
    models = pd.concat(largest)
    parameters = np.array([models["num_parameters"].min() / 1.3, models["num_parameters"].max() * 1.3])
    for bits, linestyle in ((PUBLISHED_BITS_PER_PARAMETER, "-"), (1, "--")):
        label = f"{bits} bit{'s' if bits > 1 else ''} per parameter"
        by_parameters.plot(parameters, bits * parameters, **THEORY, linestyle=linestyle, label=label)
    theory = models[models["embedding_dimension"] > 0]
    if "num_heads" in columns and len(theory):
        theory = theory.drop_duplicates("num_heads").sort_values("num_heads")
        # Embeddings of dimension d = H · d_h.
        associations = 2 * theory["embedding_dimension"]
        by_heads.plot(theory["num_heads"], associations, **THEORY, label="attention alone, at least: $H d_h + d$")
by_set.set_xlabel("sequences in the set, K")
by_set.set_ylabel("bits memorised")
by_parameters.set_xlabel("parameters")
by_parameters.set_ylabel("bits memorised, the most over K")
by_heads.set_xlabel("heads")
by_heads.set_ylabel("bits memorised, the most over K")
for ax in axes[0]:
    log_axis(ax.xaxis)
    ax.set_yscale("log")
    legend_beneath(ax, 0.2)
save_figure(figure, snakemake)
