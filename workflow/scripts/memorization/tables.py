"""The names of a group's tables."""

SOURCES = {
    "by_epoch": "epochs",
    "by_rank": "evaluation",
    "by_appearances": "evaluation",
    "by_weights": "evaluation",
}
"""Which of a run's tables each table of a group is made from: ``<run>_<source>.parquet``."""
