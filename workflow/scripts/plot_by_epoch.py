"""Accuracy on the set that is being trained on, and on the first, by iterations.

The first set is shown after it was left. There is a row of panels for each model.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    condition_handles,
    draw_chance,
    draw_ideal,
    draw_line_with_bars,
    draw_switches,
    legend_below,
    limit_to,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import Look, lines
from memorization.figures.selection import by_model, conditions, first_set_left, shown_from, trained_now
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

# If the conditions are the same until the switch, they are drawn once until then.
SHARED = Look("all, before the switch", "0.35", "o")
table = read_table_of_group(snakemake.input.by_epoch)
models = by_model(table)
columns = 1 if first_set_left(table).empty else 2
figure, axes = new_figure(len(models), columns, width=3.8, height=2.1, sharex=False, sharey="row")
for (model, of_model), row in zip(models, axes, strict=True):
    row[0].set_ylabel(lines(model, "accuracy"))
    row[0].set_xlabel("iterations")
    begin = shown_from(of_model)
    draw_switches(row[0], of_model)
    shown = conditions(of_model)
    for i, (_, look, rows) in enumerate(shown):
        for current, of_set in trained_now(rows[rows["iter"] >= begin]).groupby("sequence_set"):
            draw_ideal(row[0], of_set, of_set["iter"], "accuracy")
            if not (begin and current == 0):
                draw_line_with_bars(row[0], of_set, "iter", "accuracy", look, i, len(shown))
            elif i == 0:
                draw_line_with_bars(row[0], of_set, "iter", "accuracy", SHARED)
        left = first_set_left(rows)
        if len(left):
            draw_ideal(row[1], left, left["since"], "accuracy")
            draw_line_with_bars(row[1], left, "since", "accuracy", look, i, len(shown), log=True)
    for ax in row:
        draw_chance(ax, "accuracy")
    if columns == 2:
        log_axis(row[1].xaxis)
        row[1].set_xlabel("iterations since the switch")
    limit_to(row[0], of_model[of_model["iter"] >= begin])
axes[0, 0].set_title("the set that is being trained on")
if columns == 2:
    axes[0, 1].set_title("the first set, after it was left")
forgotten = ", and how the first set is forgotten" if columns == 2 else ""
figure.suptitle(title_of_figure(snakemake, f"How a set is learned{forgotten}"))
shared = [SHARED] if any(shown_from(of_model) for _, of_model in models) else []
legend_below(figure, axes, condition_handles([conditions(of_model) for _, of_model in models], *shared))
legend_below(figure, axes)
save_figure(figure, snakemake)
