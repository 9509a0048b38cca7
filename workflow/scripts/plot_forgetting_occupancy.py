"""Recall of the old set against the sequences drawn since the switch, over the occupancy of the queue."""

from memorization.cache import read_table, write_figure
from memorization.figure_style import conditions, draw_points, new_figure, recall
from memorization.progress import start_log
from memorization.provenance import write_provenance

NEEDS = (
    "a switch",
    "the model dam",
)
# So many measured points, about, until the queue has lost the old set.
POINTS = 8
start_log(snakemake.log[0])
table = recall(read_table(snakemake.input.forgetting))
table = table[table["sequence_set"] == 0]
# The most frequent tested sequence, the middle of the ranks, and the rarest band.
bands = table[["rank_low", "rank_high"]].drop_duplicates().sort_values("rank_low").to_numpy()
bands = bands[[0, len(bands) // 2, -1]] if len(bands) > 3 else bands
figure, axes = new_figure(rows=1, columns=len(bands), width=2.6, height=2.6)
for ax, (low, high) in zip(axes[0], bands, strict=True):
    ax.axhline(0, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    ax.set_title(f"rank {low}" if low == high else f"ranks {low} – {high}")
    for label, colour, rows in conditions(table[table["rank_low"] == low], "sequence_set"):
        ax.plot(rows["iters_since_switch"], rows["occupancy_mean"], color=colour, linewidth=1)
        rows = rows.iloc[:: max(1, round(len(rows[rows["occupancy_mean"] > 0]) / POINTS))]
        style = {"color": colour, "linestyle": "", "marker": "o", "markersize": 2.5}
        draw_points(ax, rows["iters_since_switch"], rows, "recall", label=label or "measured", **style)
    ax.set_xlabel("iterations since the switch")
# Until the queue of the largest memory holds nothing of the old set any more, and a little longer.
gone = table.loc[table["occupancy_mean"] > 0, "iters_since_switch"].max()
axes[0, 0].set_xlim(-0.04 * gone, 1.5 * gone)
axes[0, 0].set_ylim(-0.25, 1.1)
axes[0, 0].set_ylabel("recall (2 · accuracy − 1)")
handles, labels = axes[0, 0].get_legend_handles_labels()
(theory,) = axes[0, 0].plot([], [], color="0.3", linewidth=1)
figure.legend(
    [*handles, theory],
    [*labels, "theory: occupancy $1 - (1 - p_r)^{M - t}$"],
    loc="outside lower center",
    ncols=len(labels) + 1,
)
for path in snakemake.output:
    write_figure(figure, path)
write_provenance(snakemake)
