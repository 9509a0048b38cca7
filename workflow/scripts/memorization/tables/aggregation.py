"""The tables of an experiment.

They are made over the seeds from what each run contributes: as a rule the mean and its interval.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..ideal_observer import TIE
from ..sequences import HELD_OUT, rank_probabilities
from .comparison import model_comparison  # noqa: F401
from .contrasts import paired_differences
from .fits import FORMS, errors_of_other_seeds, fit_forgetting, half_life_of_curve, left_out_errors
from .registry import TABLES, WITH_IDEAL
from .student import CONFIDENCE, two_sided_quantile
from .survival import median_times
from .theory import (
    iteration_of_weights,
    one_bit_accuracy,
    queue_half_life,
    queue_ideal_recall,
    queue_occupancy,
)

NUM_SEQUENCES = "num_sequences"
# The numbers whose differences between conditions are tested.
CONTRASTED = ("accuracy", "weighted_accuracy", "loss", "fraction_of_ideal")
# Rows that are weighted at once: more would take memory for no time.
ROWS_AT_ONCE = 2**20
THRESHOLDS = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# The functions below have the names of `registry.TABLES`. Each takes the source table of a run and the run's
# resolved settings, with the first seed of the experiment as `first_seed` beside them. It returns the run's rows
# of the table: its keys, and the numbers to average over seeds. One whose table is `across` runs takes all of them
# and returns the rows of each.


def by_epoch(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the plain and the weighted mean over each set's tests, by epoch."""
    return _with_fraction_of_ideal(_plain_and_weighted_means(epochs, TABLES["by_epoch"].keys, args))


def by_weights(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the plain and the weighted mean over each set's sequences.

    There is a row for each kind of weights. The number of parameters stands beside.
    """
    means = _plain_and_weighted_means(evaluation, ("weights", "sequence_set"), args)
    return _with_fraction_of_ideal(means).assign(num_parameters=evaluation.attrs["num_parameters"])


def contrasts(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the means over each set that was trained on, under the final weights.

    There is a row for each of `CONTRASTED`.
    """
    at_the_end = (evaluation["weights"] == "final") & (evaluation["sequence_set"] != HELD_OUT)
    keys = ["weights", "sequence_set"]
    means = _with_fraction_of_ideal(_plain_and_weighted_means(evaluation[at_the_end], tuple(keys), args))
    return means.melt(keys, CONTRASTED, var_name="metric").assign(seed=args["seed"])


def contrasts_while_learning(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the means over the tests of each set during its training.

    There is a row for each of `CONTRASTED`. The tests are those at the ends of epochs, so that a set that is
    learned sooner has the higher accuracy.
    """
    means = _plain_and_weighted_means(_tests_while_learning(epochs, args), ("sequence_set",), args)
    means = _with_fraction_of_ideal(means)
    return means.melt(["sequence_set"], CONTRASTED, var_name="metric").assign(seed=args["seed"])


def by_rank(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the mean over bands of rank.

    The bands are 0, 1 – 2, 3 – 6, … (powers of two, less 1) up to K − 1.
    """
    trained = evaluation[evaluation["sequence_set"] != HELD_OUT]
    means = _mean_over_sequences(_with_rank_bands(trained, args), TABLES["by_rank"].keys)
    return _with_fraction_of_ideal(means)


def by_appearances(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the mean over bands of the number of appearances.

    The bands are 0, 1, 2 – 3, 4 – 7, … (powers of two).
    """
    low, high = _bands(evaluation["num_appearances"].to_numpy())
    table = evaluation.assign(appearances_low=low, appearances_high=high)
    return _with_fraction_of_ideal(_mean_over_sequences(table, TABLES["by_appearances"].keys))


def by_position(positions: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the mean over the sequences of each set for each predicted bit.

    There is one for each kind of weights.
    """
    return _with_fraction_of_ideal(positions)


def attention_maps(attention: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the attention of the first layer: the mean over heads, and single heads.

    The mean has ``head`` −1; the single heads are those of the first seed alone. The heads of two seeds have
    nothing in common but their number.
    """
    attention = attention[attention["layer"] == 0]
    keys = [key for key in TABLES["attention_maps"].keys if key != "head"]
    over_heads = attention.groupby(keys, sort=False)["attention"].mean().reset_index().assign(head=-1)
    return pd.concat([over_heads, attention] if args["seed"] == args["first_seed"] else [over_heads])


def occupancy(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return each sequence beside the probability that the queue holds it.

    Its recall by the best retrieval from the queue stands beside them. The sequences are those of each set; the
    queue is that of the DAM. For the states just before a switch and at the end; NaN for a model without a queue.
    """
    moments, ranks = iteration_of_weights(args), np.arange(args["K"])
    recall = queue_ideal_recall(args, np.array([*moments.values()]), ranks)
    parts = []
    for (weights, iteration), of_moment in zip(moments.items(), recall, strict=True):
        for sequence_set, of_set in enumerate(of_moment):
            rows = evaluation[(evaluation["weights"] == weights) & (evaluation["sequence_set"] == sequence_set)]
            rank = rows["sequence_rank"]
            held = queue_occupancy(args, iteration, sequence_set)[rank]
            parts.append(rows.assign(occupancy=held, queue_ideal_recall=of_set[rank]))
    metrics = (*WITH_IDEAL, "queue_ideal_recall")
    means = _mean_over_sequences(pd.concat(parts), TABLES["occupancy"].keys, metrics)
    return _with_fraction_of_ideal(means)


def retrieval(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the accuracy on each set, beside that of untrained one-bit heads.

    The latter is the closed form for a set in the queue; NaN for a model without one.
    """
    known = evaluation[evaluation["sequence_set"] != HELD_OUT]
    means = _mean_over_sequences(known, TABLES["retrieval"].keys)
    return means.assign(closed_form=one_bit_accuracy(args))


def forgetting(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return each set after it was left, by iterations and by draws since then.

    ``recall`` is 2 · accuracy − 1. The mean occupancy of the tested sequences stands beside, and their recall by
    the best retrieval from the queue (NaN for a model without a queue).
    """
    since = _since_left(epochs, args)
    means = _mean_over_sequences(since, ("iter", "sequence_set", "iters_since_switch"))
    means = means.merge(_queue_at_tests(since, args), how="left", on=["iter", "sequence_set"])
    draws = means["iters_since_switch"].astype("int64") * args["batch_size_after_switch"]
    return means.assign(draws_since_switch=draws, recall=2 * means["accuracy"] - 1).drop(columns="iter")


def iterations_to_accuracy(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return how many iterations on a set it took to reach each threshold.

    The mean accuracy over the set's tested sequences has to reach it. For each of `THRESHOLDS` the first epoch
    whose accuracy is not below it; NaN if there is none in the ``trained_iterations`` on the set. The accuracy of
    the ideal observer stands beside.
    """
    current = _tests_while_learning(epochs, args)
    accuracy = _mean_over_sequences(current, ("sequence_set", "iter"), ("accuracy", "ideal_accuracy"))
    accuracy = accuracy.astype({"sequence_set": "int64"})
    accuracy["iterations"] = accuracy["iter"] - accuracy["sequence_set"] * args["num_iters_per_set"]
    of_set = accuracy.groupby("sequence_set")
    beside = pd.DataFrame(
        {"trained_iterations": of_set["iterations"].max(), "ideal_accuracy": of_set["ideal_accuracy"].last()}
    )
    of_threshold = {}
    for threshold in THRESHOLDS:
        # Accuracies are rounded to single precision.
        first = accuracy[accuracy["accuracy"] > threshold - 1e-6].groupby("sequence_set")["iterations"].min()
        of_threshold[threshold] = beside.assign(iterations=first)
    return pd.concat(of_threshold, names=["threshold"]).reset_index()


def forgetting_curves(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the recall of earlier sets against the iterations since each was left.

    Recall is 2 · accuracy − 1, its mean over the tested sequences of all sets that were left. Beside it stand the
    recall of the ideal observer that knows the set, and each fitted form. A run without a switch has no rows.
    """
    t, recall, ideal = _curve(epochs, args)
    fits = fit_forgetting(t, recall)
    fitted = {form: fits[form].fitted if form in fits else np.full(len(t), math.nan) for form in FORMS}
    return pd.DataFrame({"iters_since_switch": t, "recall": recall, "ideal_recall": ideal, **fitted})


def forgetting_fits(runs: list[tuple[pd.DataFrame, dict, dict]]) -> list[pd.DataFrame]:
    """Return the laws fitted to each run's recall, and their errors on the run.

    The error is that of the law fitted to the other seeds of the condition (`left_out_errors`). ``excess_error``
    is the error less that of the mean curve of these seeds (`errors_of_other_seeds`). ``tau`` is in iterations; a
    parameter that a law does not have is NaN.
    """
    curves = [_curve(epochs, args) for epochs, args, _ in runs]
    rows: list[list[dict]] = [[] for _ in runs]
    distinct, numbers = _numbers_of_conditions([condition for _, _, condition in runs])
    for number in range(len(distinct)):
        seeds = [run for run, of_run in enumerate(numbers) if of_run == number]
        t, recalls = curves[seeds[0]][0], np.stack([curves[run][1] for run in seeds])
        if not len(t):
            continue
        errors, of_others = left_out_errors(t, recalls), errors_of_other_seeds(recalls)
        for place, run in enumerate(seeds):
            rows[run] = [
                {
                    "form": form,
                    **fit.parameters,
                    "left_out_error": errors[form][place],
                    "excess_error": errors[form][place] - of_others[place],
                }
                for form, fit in fit_forgetting(t, recalls[place]).items()
            ]
    keys, metrics = TABLES["forgetting_fits"].keys, TABLES["forgetting_fits"].metrics
    types = {"form": str} | dict.fromkeys(metrics, float)
    return [pd.DataFrame(of_run, columns=[*keys, *metrics]).astype(types) for of_run in rows]


def half_life(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return how long it takes to forget half of each set that was left.

    Recall is the mean over the tested sequences. ``half_life_iters`` is that of its curve (`half_life_of_curve`).
    ``reached`` is 1, or 0 if there is none; then the half-lives are NaN. ``queue_half_life_draws`` is that of a
    queue of the model's capacity (`queue_half_life`).
    """
    since = _since_left(epochs, args)
    means = _mean_over_sequences(since, ("sequence_set", "iters_since_switch"), ("accuracy",))
    ranks = since["sequence_rank"].unique()
    rows = []
    for sequence_set, curve in means.groupby("sequence_set"):
        recall = 2 * curve["accuracy"].to_numpy() - 1
        iterations = half_life_of_curve(curve["iters_since_switch"].to_numpy(), recall)
        rows.append(
            {
                "sequence_set": sequence_set,
                "recall_at_switch": recall[0],
                "half_life_iters": iterations,
                "half_life_draws": iterations * args["batch_size_after_switch"],
                "lr_times_half_life": iterations * args["lr_after_switch"],
                "reached": float(not math.isnan(iterations)),
                "queue_half_life_draws": queue_half_life(args, sequence_set, ranks),
            }
        )
    keys, metrics = TABLES["half_life"].keys, TABLES["half_life"].metrics
    return pd.DataFrame(rows, columns=[*keys, *metrics])


def capacity(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the bits memorised of each set.

    They are Σ over sequences and predictions of (log 2 − loss) / log 2. A gain on held-out sequences is no memory
    and is subtracted. A mean loss above log 2 counts as zero: an encoder can always fall back to one bit per bit.
    ``ideal_bits`` are those of the ideal observer, all that predictions can have of the set.
    """
    means = evaluation.groupby(["weights", "sequence_set"], sort=False)[["loss", "ideal_loss"]].mean()
    gained = _bits_gained(means["loss"], args).unstack("sequence_set")
    memorised = gained.drop(columns=HELD_OUT).sub(gained[HELD_OUT], axis=0)
    ideal = _bits_gained(means["ideal_loss"], args).rename("ideal_bits")
    table = memorised.stack().rename("bits").to_frame().join(ideal).reset_index()
    num_parameters = evaluation.attrs["num_parameters"]
    return table.assign(
        bits_per_parameter=table["bits"] / num_parameters,
        num_parameters=num_parameters,
        sequence_length=args["len_context"],
        # 0 for a model that has no such heads, and for one that has no queue.
        embedding_dimension=args.get("num_heads", 0) * args.get("num_hidden_features", 0),
        queue_capacity=args.get("M", 0),
    )


def capacity_by_epoch(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the bits memorised of each set at the end of each epoch on it.

    They are those of `capacity`, but for held-out sequences, which are not tested during training. ``most_bits``
    are the most so far: the weights of some epoch hold them, and they do not go up and down with the last steps.
    ``last_quarter`` is the share of them that the last quarter of the iterations on the set so far has added.
    """
    current = _tests_while_learning(epochs, args).astype({"sequence_set": "int64", "iter": "int64"})
    loss = current.groupby(["sequence_set", "iter"], sort=False)["loss"].mean()
    table = _bits_gained(loss, args).rename("bits").reset_index()
    curves = []
    for sequence_set, curve in table.groupby("sequence_set", sort=False):
        iterations, most = curve["iter"] - sequence_set * args["num_iters_per_set"], curve["bits"].cummax()
        before = np.interp(0.75 * iterations, [0, *iterations], [0, *most])
        curves.append(curve.assign(most_bits=most, last_quarter=(most - before) / most.where(most > 0)))
    return pd.concat(curves)


def _bits_gained(loss: pd.Series, args: dict) -> pd.Series:
    """Return by how many bits losses lie below chance, over all predictions of a set.

    The losses are means over the predictions. It is 0 for a loss above that of chance.
    """
    gained = (1 - loss.astype(float) / math.log(2)).clip(lower=0)
    return gained * args["K"] * args["num_predictions"]


def attention_similarity(attention: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return how alike each layer's attention before the switch and at the end is.

    The switch is the first one. The similarity is the cosine of the deviations of two maps from uniform attention
    (attention − 1 / n over the n positions before bit n). ``heads`` is ``same``, the mean over heads of each with
    itself, or ``other``, the mean over pairs of different heads, which have nothing in common but the positions.
    """
    cells = ["predicted_position", "key_position", "query_bit", "key_bit"]
    maps = attention[attention["weights"].isin(["pre_switch_1", "final"])]
    maps = maps.assign(deviation=maps["attention"].astype(float) - 1 / maps["predicted_position"])
    rows = []
    for layer, of_layer in maps.groupby("layer"):
        # Only the cells that both have: a pair of bits can be nowhere among the sequences.
        values = of_layer.pivot(index=["weights", "head"], columns=cells, values="deviation").dropna(axis=1)
        norms = np.linalg.norm(values, axis=1)
        # Uniform attention deviates from 1 / n by rounding alone, less than 1e-7 in a cell: it resembles nothing.
        unit = values.div(np.where(norms > 1e-7 * values.shape[1] ** 0.5, norms, np.nan), axis=0)
        if values.index.get_level_values("weights").nunique() == 2:
            cosine = unit.loc["pre_switch_1"].to_numpy() @ unit.loc["final"].to_numpy().T
            same = np.eye(len(cosine), dtype=bool)
            # Heads that resemble nothing are left out of the means.
            rows.append({"layer": layer, "heads": "same", "similarity": pd.Series(cosine[same]).mean()})
            if len(cosine) > 1:
                rows.append({"layer": layer, "heads": "other", "similarity": pd.Series(cosine[~same]).mean()})
    return pd.DataFrame(rows, columns=["layer", "heads", "similarity"])


def aggregate(
    table: str,
    runs: Iterable[pd.DataFrame],
    conditions: list[dict],
    settings: list[dict],
    references: dict[str, dict] | None = None,
) -> pd.DataFrame:
    """Return one table of an experiment.

    Args:
        table: a name in `registry.TABLES`, which is that of a function above.
        runs: the source table of each run; one at a time is held in memory, unless the table is across runs.
        conditions: the settings in which the runs differ; runs of one condition differ in their seed alone.
        settings: the resolved settings of each run.
        references: for a table that is paired, the condition of each model that the others are compared with.

    The columns are the condition, the keys of the table, ``num_seeds``, ``num_sequences`` (over all seeds) and
    for each metric the mean over seeds with the bounds of its 95 % confidence interval: Student's t interval
    over the means of the seeds. One seed has no interval (NaN). A table with statistics of its own has those.

    Raises ValueError if the function returns other columns than the registry says.
    """
    keys = list(TABLES[table].keys)
    distinct, numbers = _numbers_of_conditions(conditions)
    reduced = []
    first_seed = min((one.get("seed", 0) for one in settings), default=0)
    settings = [one | {"first_seed": first_seed} for one in settings]
    if TABLES[table].across:
        rows_of_runs = globals()[table](list(zip(runs, settings, conditions, strict=True)))
    else:
        # A run's table is gone before the next one is read.
        rows_of_runs = map(globals()[table], runs, settings)
    for rows, number in zip(rows_of_runs, numbers, strict=True):
        if missing := {*keys, *TABLES[table].metrics} - {*rows.columns}:
            raise ValueError(f"the function {table} of tables/aggregation.py lacks {', '.join(sorted(missing))}")
        reduced.append(rows.assign(condition=number))
    # Runs without rows would change the types of the columns.
    reduced = [rows for rows in reduced if len(rows)] or reduced[:1]
    tidy = _in_order_of_appearance(pd.concat(reduced, ignore_index=True), keys)
    keys = ["condition", *keys]
    if TABLES[table].paired:
        result = paired_differences(tidy, keys, distinct, references)
    elif table == "iterations_to_accuracy":
        result = median_times(tidy, keys)
    else:
        result = _means_and_intervals(tidy, keys)
    swept = pd.DataFrame(distinct, index=range(len(distinct))).loc[result.pop("condition")]
    return pd.concat([swept.reset_index(drop=True), result], axis=1)


def _numbers_of_conditions(conditions: list[dict]) -> tuple[list[dict], list[int]]:
    """Return the distinct conditions in their order, and which of them each run has."""
    distinct = [condition for i, condition in enumerate(conditions) if condition not in conditions[:i]]
    return distinct, [distinct.index(condition) for condition in conditions]


def _curve(epochs: pd.DataFrame, args: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times since a set was left, its recall and ideal recall, (n,) each.

    The recall at a time is the mean over the tested sequences of all sets that were left.
    """
    metrics = ("accuracy", "ideal_accuracy")
    means = _mean_over_sequences(_since_left(epochs, args), ("iters_since_switch",), metrics)
    means = means.sort_values("iters_since_switch")
    recalls = (2 * means[metric].to_numpy() - 1 for metric in metrics)
    return means["iters_since_switch"].to_numpy(), *recalls


def _mean_over_sequences(
    table: pd.DataFrame, keys: tuple[str, ...], metrics: tuple[str, ...] = WITH_IDEAL
) -> pd.DataFrame:
    """Return the mean of each metric over the rows of each key, and their number."""
    sums = _sums_over_sequences(table, keys, metrics)
    return sums.assign(**{metric: sums[metric] / sums[NUM_SEQUENCES] for metric in metrics})


def _plain_and_weighted_means(table: pd.DataFrame, keys: tuple[str, ...], args: dict) -> pd.DataFrame:
    """Return the plain mean over the rows of each key, and that weighted by p_r.

    The metrics are `WITH_IDEAL`. p_r is the probability that the sequence of rank r is drawn, normalised over the
    rows. Held-out sequences are never drawn and count equally.
    """
    sums = _sums_over_sequences(table, keys, WITH_IDEAL, rank_probabilities(args["K"], args["zipf_exponent"]))
    plain = {metric: sums[metric] / sums[NUM_SEQUENCES] for metric in WITH_IDEAL}
    weighted = {f"weighted_{metric}": sums[f"weighted_{metric}"] / sums["weight"] for metric in WITH_IDEAL}
    return sums.assign(**plain, **weighted).drop(columns="weight")


def _with_fraction_of_ideal(means: pd.DataFrame) -> pd.DataFrame:
    """Return ``means`` with (accuracy − 0.5) / (accuracy of the ideal observer − 0.5).

    NaN if the ideal observer is at chance.
    """
    above_chance = means["ideal_accuracy"] - 0.5
    return means.assign(
        fraction_of_ideal=(means["accuracy"] - 0.5) / above_chance.where(above_chance > TIE, math.nan)
    )


def _sums_over_sequences(
    table: pd.DataFrame, keys: tuple[str, ...], metrics: tuple[str, ...], probabilities: np.ndarray | None = None
) -> pd.DataFrame:
    """Return the number of rows of each key, and the sums of their metrics.

    With the ``probabilities`` of the ranks (K,) also the sum of the rows' ``weight`` and the weighted sums.
    The rows of a key mostly follow each other, and such a block is summed first: to group tens of millions of
    rows takes several times their memory.
    """
    begins = np.zeros(len(table), dtype=bool)
    begins[:1] = True
    for key in keys:
        column = table[key].array
        begins[1:] |= np.asarray(column[1:] != column[:-1], dtype=bool)
    starts = np.flatnonzero(begins)
    blocks = pd.DataFrame({key: table[key].array[starts] for key in keys})
    blocks[NUM_SEQUENCES] = np.diff(starts, append=len(table))
    for metric in metrics:
        blocks[metric] = np.add.reduceat(table[metric].to_numpy(), starts, dtype=float) if len(table) else 0.0
    if probabilities is not None:
        blocks = blocks.assign(**_weighted_sums(table, metrics, probabilities, starts))
    groups = blocks.groupby(list(keys), sort=False, observed=True, dropna=False)
    return groups.sum(min_count=1).reset_index()


def _weighted_sums(
    table: pd.DataFrame, metrics: tuple[str, ...], probabilities: np.ndarray, starts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the sums over each block of rows of the weight, and of metric · weight.

    The block ``i`` goes from row ``starts[i]`` to the next start. Some blocks are weighted at a time: a column of
    weights would be as large as the table.
    """
    sums = {name: np.zeros(len(starts)) for name in ("weight", *(f"weighted_{metric}" for metric in metrics))}
    rank, sequence_set = table["sequence_rank"].to_numpy(), table["sequence_set"].to_numpy()
    columns = [table[metric].to_numpy() for metric in metrics]
    first_blocks = np.unique(starts // ROWS_AT_ONCE, return_index=True)[1]
    for first, after in zip(first_blocks, [*first_blocks[1:], len(starts)], strict=True):
        rows = slice(starts[first], starts[after] if after < len(starts) else len(table))
        held_out = sequence_set[rows] == HELD_OUT
        # A held-out sequence can have a rank that no sequence of a set has.
        weight = np.where(held_out, 1.0, probabilities[np.where(held_out, 0, rank[rows])])
        within = starts[first:after] - starts[first]
        for name, values in zip(sums, [1.0, *(column[rows] for column in columns)], strict=True):
            sums[name][first:after] = np.add.reduceat(weight * values, within)
    return sums


def _tests_while_learning(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the tests of each set at the ends of the epochs of its training."""
    # The first set has no tests in an epoch: with those of later sets, these would seem to be learned sooner.
    ends = epochs["iter"] % args["num_iters_per_epoch"] == 0
    return epochs[ends & (epochs["sequence_set"] == epochs["current_set"])]


def _since_left(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the tests of sets that were left for the next.

    The iterations since then stand beside them. A set's last test before the switch, at 0, is the start of its
    forgetting.
    """
    sequence_set, iteration = epochs["sequence_set"].to_numpy(), epochs["iter"].to_numpy()
    # These numbers fit the type of the iterations, not that of the sets.
    left = np.arange(1, args["num_switches"] + 2, dtype=iteration.dtype) * args["num_iters_per_set"]
    since = iteration - left[sequence_set]
    shown = (since >= 0) & (sequence_set < args["num_switches"])
    return epochs[shown].assign(iters_since_switch=since[shown])


def _queue_at_tests(tested: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the mean occupancy and the mean recall of the queue's ideal.

    There is a row for each moment and set. The ``tested`` sequences are the same at each moment.
    """
    ranks = np.sort(tested["sequence_rank"].unique())
    moments = tested[["iter", "sequence_set"]].drop_duplicates()
    iterations, place = np.unique(moments["iter"], return_inverse=True)
    recall = np.empty((0, 1))
    if len(moments):
        recall = queue_ideal_recall(args, iterations, ranks)[place, moments["sequence_set"]]
    held = [queue_occupancy(args, *moment)[ranks].mean() for moment in moments.itertuples(index=False)]
    return moments.assign(occupancy=held, queue_ideal_recall=recall.mean(axis=1))


def _with_rank_bands(table: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return ``table`` with the bounds of each row's band of rank.

    The last band ends with the set.
    """
    low, high = _bands(np.arange(args["K"]) + 1)
    high = np.minimum(high - 1, args["K"] - 1)
    rank = table["sequence_rank"].to_numpy()
    return table.assign(rank_low=(low - 1).astype(np.int32)[rank], rank_high=high.astype(np.int32)[rank])


def _bands(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the band [2^i, 2^(i+1) − 1] that each value is in.

    0 is a band of its own.
    """
    exponent = np.frexp(values)[1]  # value in [2^(exponent − 1), 2^exponent)
    low = np.where(exponent > 0, 2 ** np.maximum(exponent - 1, 0), 0)
    return low, 2**exponent - 1


def _in_order_of_appearance(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return ``table`` with its text keys in their order of appearance.

    Such keys are pre_switch_1, final, …
    """
    texts = [key for key in keys if not pd.api.types.is_numeric_dtype(table[key])]
    return table.assign(
        **{key: pd.Categorical(table[key], categories=table[key].unique(), ordered=True) for key in texts}
    )


def _means_and_intervals(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the mean over the rows of each key, and its interval.

    A key has one row for each seed.
    """
    metrics = [column for column in tidy.columns if column not in (*keys, NUM_SEQUENCES)]
    groups = tidy.groupby(keys, sort=True, observed=True, dropna=False)
    # A metric of a seed can be undefined (NaN). A seed counts if any of its metrics is defined.
    counts = groups[metrics].count()
    result = counts.max(axis=1).to_frame("num_seeds")
    if NUM_SEQUENCES in tidy:
        result[NUM_SEQUENCES] = groups[NUM_SEQUENCES].sum()
    for metric in metrics:
        t = counts[metric].map({n: two_sided_quantile(CONFIDENCE, max(n - 1, 1)) for n in counts[metric].unique()})
        mean = groups[metric].mean()
        half_width = t * groups[metric].sem()
        result[f"{metric}_mean"] = mean
        result[f"{metric}_low"] = mean - half_width
        result[f"{metric}_high"] = mean + half_width
    result = result.reset_index()
    return result.astype({key: str for key in keys if result[key].dtype == "category"})
