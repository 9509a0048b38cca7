"""How much each head attends to each pair of bits, over what uniform attention would give."""

import numpy as np

from memorization.figures.drawing import WEIGHTS_LABELS, by_model, first_condition, new_figure, save_figure
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer",)
MOMENTS = ("pre_switch_1", "final", "swap_attention")
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1)]
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.attention_maps)
# Single heads of the first layer, where attention depends on the bits; the first condition of each model.
table = table[(table["layer"] == 0) & (table["head"] >= 0) & (table["query_bit"] >= 0)]
# A bit that asks itself is never another: only the positions before it have all four pairs.
table = table[table["key_position"] < table["predicted_position"] - 1]
rows = []
for model, of_model in by_model(table):
    of_model = first_condition(of_model, "weights")
    of_model = of_model.assign(over_uniform=of_model["attention_mean"] * of_model["predicted_position"])
    rows.append((model, of_model))
moments = [weights for weights in MOMENTS if weights in set(table["weights"])]
figure, axes = new_figure(len(rows), len(moments), width=2.9, height=2.1, sharex=False, sharey=False)
for (model, of_model), row in zip(rows, axes, strict=True):
    for weights, ax in zip(moments, row, strict=True):
        cells = of_model[of_model["weights"] == weights]
        # The mean over positions.
        means = cells.groupby(["query_bit", "key_bit", "head"])["over_uniform"].mean().unstack("head")
        image = ax.imshow(np.log2(means.loc[PAIRS]), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        ax.set_xticks(range(means.shape[1]))
        ax.set_yticks(range(len(PAIRS)), [f"{query} asks, {key} is asked" for query, key in PAIRS])
    row[0].set_ylabel(model)
for weights, ax in zip(moments, axes[0], strict=True):
    ax.set_title(WEIGHTS_LABELS[weights].replace(", ", ",\n"))
for ax in axes[-1]:
    ax.set_xlabel("head")
for ax in axes[:, 1:].flat:
    ax.tick_params(labelleft=False)
figure.colorbar(image, ax=axes, label="attention over uniform\n(powers of 2)", shrink=0.8)
save_figure(figure, snakemake)
