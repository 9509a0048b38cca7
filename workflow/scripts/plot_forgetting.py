"""Recall of earlier sets against the iterations since each was left, with fitted laws and their AIC."""

import pandas as pd
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    FORM_LABELS,
    by_model,
    conditions,
    draw_points,
    legend_below,
    lines,
    log_spaced,
    new_figure,
    ranks_label,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets")
# So many of the measured points are drawn.
POINTS = 14
MARKERS = dict(zip(FORM_LABELS, "os^", strict=True))
DASHES = dict(zip(FORM_LABELS, [(0, (1, 1)), (0, (4, 2)), "-"], strict=True))
start_log(snakemake.log[0])
curves = read_table_of_group(snakemake.input.forgetting_curves)
fits = read_table_of_group(snakemake.input.forgetting_fits)


def shown_bands(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return all ranks, the most frequent tested sequence and the rarest band of a model."""
    bands = sorted(set(zip(rows["rank_low"], rows["rank_high"], strict=True)))
    all_ranks = max(bands, key=lambda band: band[1] - band[0])
    single = [band for band in bands if band != all_ranks]
    return [all_ranks, *([single[0], single[-1]] if len(single) > 1 else [])]


models = by_model(curves)
figure, axes = new_figure(2 * len(models), 3, width=2.7, height=2.1, sharex=False, sharey=False)
for i, (model, of_model) in enumerate(models):
    name = of_model["model"].iloc[0] if model else None
    fits_of_model = fits[fits["model"] == name] if model else fits
    for j, (low, high) in enumerate(shown_bands(of_model)):
        ax, below = axes[2 * i, j], axes[2 * i + 1, j]
        in_band = of_model[(of_model["rank_low"] == low) & (of_model["rank_high"] == high)]
        for label, colour, rows in conditions(in_band, "rank_low", of_model):
            rows = rows[rows["iters_since_switch"] > 0]
            points = log_spaced(rows, POINTS)
            style = {"color": colour, "linestyle": "", "marker": "o", "markersize": 3}
            draw_points(ax, points["iters_since_switch"], points, "recall", label=label or "measured", **style)
            for form in FORM_LABELS:
                ax.plot(
                    rows["iters_since_switch"],
                    rows[f"{form}_mean"],
                    color=colour,
                    linewidth=1,
                    linestyle=DASHES[form],
                )
        ax.axhline(0, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        ax.set_xscale("log")
        ax.set_ylim(-0.25, 1.05)
        ax.set_xlabel("iterations since the set was left")
        ax.set_title("all ranks" if j == 0 else ranks_label(low, high))
        fits_in_band = fits_of_model[(fits_of_model["rank_low"] == low) & (fits_of_model["rank_high"] == high)]
        # An interval that is far wider is cut.
        most = max(fits_in_band["delta_aic_mean"].max(), 10) if len(fits_in_band) else 10
        for k, (_, colour, rows) in enumerate(conditions(fits_in_band, "rank_low", fits_of_model)):
            for x, form in enumerate(FORM_LABELS):
                of_form = rows[rows["form"] == form]
                style = {"color": colour, "linestyle": "", "marker": MARKERS[form], "markersize": 4, "capsize": 2}
                draw_points(below, [x + 0.15 * k] * len(of_form), of_form, "delta_aic", **style)
        below.set_xticks(range(len(FORM_LABELS)), [label.replace(" ", "\n") for label in FORM_LABELS.values()])
        below.set_ylim(-0.05 * most, 1.3 * most)
        below.set_xlim(-0.5, len(FORM_LABELS) - 0.2)
    axes[2 * i, 0].set_ylabel(lines(model, "recall"))
    axes[2 * i + 1, 0].set_ylabel(lines(model, "AIC above the best"))
for form, label in FORM_LABELS.items():
    axes[0, 0].add_line(Line2D([], [], color="0.3", linewidth=1, linestyle=DASHES[form], label=f"fit: {label}"))
legend_below(figure, axes)
save_figure(figure, snakemake)
