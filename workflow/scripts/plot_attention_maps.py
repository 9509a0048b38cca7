"""How far attention is from uniform, as maps.

These are the mean over the heads, and one head before and after the switch. There is a row for the first
condition of each model.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import MaxNLocator

from memorization.figures.drawing import new_figure, save_figure, title_panel
from memorization.figures.labels import OVER_UNIFORM_LABEL, lines, look_of_weights
from memorization.figures.selection import attention_over_uniform, by_model, first_condition, head_and_moments
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

table = attention_over_uniform(read_table_of_group(snakemake.input.attention_maps))
models = [(model, first_condition(of_model)) for model, of_model in by_model(table)]
maps = {}
for i, (_, of_model) in enumerate(models):
    for j, (head, weights) in enumerate(head_and_moments(of_model)):
        cells = of_model[(of_model["weights"] == weights) & (of_model["head"] == head)]
        # The mean over the pairs of bits.
        values = cells.pivot_table(index="predicted_position", columns="key_position", values="over_uniform")
        maps[i, j] = values, head, weights
figure, axes = new_figure(
    len(models), 1 + max(j for _, j in maps), width=2.3, height=2, sharex=False, sharey=False
)
largest = np.nanquantile(np.concatenate([values.to_numpy().ravel() for values, _, _ in maps.values()]), 0.99)
# Attention cannot be further below uniform than −1, but far above it.
norm = TwoSlopeNorm(0, -1, max(largest, 1))
for place in np.ndindex(axes.shape):
    ax = axes[place]
    if place not in maps:
        ax.set_visible(False)
        continue
    values, head, weights = maps[place]
    extent = (-0.5, values.columns.max() + 0.5, values.index.max() + 0.5, values.index.min() - 0.5)
    image = ax.imshow(values, extent=extent, cmap="RdBu_r", norm=norm, aspect="auto", interpolation="nearest")
    name = "mean over heads and seeds" if head < 0 else f"head {head} of one seed"
    title_panel(ax, f"{name}, {look_of_weights(weights).label}")
    ax.set_xlabel("position attended to")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
for (model, _), ax in zip(models, axes[:, 0], strict=True):
    ax.set_ylabel(lines(model, "predicted bit"))
bar = figure.colorbar(image, ax=axes, label=OVER_UNIFORM_LABEL, shrink=0.6, extend="max")
bar.set_ticks([-1, 0, *range(1, int(norm.vmax) + 1)])
figure.suptitle(title_of_figure(snakemake, "Where a head looks before the switch and at the end"))
save_figure(figure, snakemake)
