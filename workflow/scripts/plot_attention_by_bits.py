"""How much each head attends to each pair of bits, against uniform attention.

It is drawn before the switch and at the end. There is a row for the first condition of each model.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import new_figure, save_figure
from memorization.figures.labels import OVER_UNIFORM_LABEL, look_of_weights
from memorization.figures.selection import attention_by_pairs, attention_over_uniform, by_model, first_condition
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer",)
PAIRS = [(0, 0), (0, 1), (1, 0), (1, 1)]
table = attention_over_uniform(read_table_of_group(snakemake.input.attention_maps))
models = [
    (model, attention_by_pairs(first_condition(of_model)))
    for model, of_model in by_model(table[table["query_bit"] >= 0])
]
moments = list(dict.fromkeys(weights for _, means in models for weights in means))
figure, axes = new_figure(len(models), len(moments), width=2.8, height=1.5, sharex=False, sharey=True)
largest = max(abs(values).max().max() for _, means in models for values in means.values())
for (model, means), row in zip(models, axes, strict=True):
    row[0].set_ylabel(model)
    for weights, ax in zip(moments, row, strict=True):
        if weights not in means:
            ax.set_visible(False)
            continue
        values = means[weights].loc[PAIRS]
        image = ax.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
        ax.set_xticks(range(values.shape[1]))
        ax.set_yticks(range(len(PAIRS)), [f"from {query} to {key}" for query, key in PAIRS])
        ax.set_title(look_of_weights(weights).label)
        ax.set_xlabel("head (of one seed)")
figure.colorbar(image, ax=axes, label=OVER_UNIFORM_LABEL, shrink=0.8)
figure.suptitle(
    title_of_figure(snakemake, "How much a head attends to each pair of bits, against uniform attention")
)
save_figure(figure, snakemake)
