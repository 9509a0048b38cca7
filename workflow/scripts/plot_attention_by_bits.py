"""How much each head attends to each pair of bits.

It is shown as a multiple of uniform attention.
"""

import numpy as np

from memorization.figures.drawing import new_figure, save_figure
from memorization.figures.labels import look_of_weights
from memorization.figures.selection import MOMENTS_OF_ATTENTION, by_model, first_condition, first_layer
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer",)
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1)]
start_log(snakemake.log[0])
table = first_layer(read_table_of_group(snakemake.input.attention_maps))
# Single heads, of models whose attention depends on the bits.
table = table[(table["head"] >= 0) & (table["query_bit"] >= 0)]
# A bit that attends to itself has only two pairs; the positions before it have all four.
table = table[table["key_position"] < table["predicted_position"] - 1]
table = table.assign(over_uniform=table["attention_mean"] * table["predicted_position"])
rows = [(model, first_condition(of_model)) for model, of_model in by_model(table)]
moments = [weights for weights in MOMENTS_OF_ATTENTION if weights in set(table["weights"])]
figure, axes = new_figure(len(rows), len(moments), width=2.9, height=2.1, sharex=False, sharey=False)
for (model, of_model), row in zip(rows, axes, strict=True):
    for weights, ax in zip(moments, row, strict=True):
        cells = of_model[of_model["weights"] == weights]
        # The mean over positions.
        means = cells.groupby(["query_bit", "key_bit", "head"])["over_uniform"].mean().unstack("head")
        image = ax.imshow(np.log2(means.loc[PAIRS]), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        ax.set_xticks(range(means.shape[1]))
        ax.set_yticks(range(len(PAIRS)), [f"from {query} to {key}" for query, key in PAIRS])
    row[0].set_ylabel(model)
for weights, ax in zip(moments, axes[0], strict=True):
    ax.set_title(look_of_weights(weights).label.replace(", ", ",\n"))
for ax in axes[-1]:
    ax.set_xlabel("head")
for ax in axes[:, 1:].flat:
    ax.tick_params(labelleft=False)
figure.colorbar(image, ax=axes, label="attention over uniform\n(powers of 2)", shrink=0.8)
save_figure(figure, snakemake)
