"""The library that the workflow's scripts share: sequences, models, training, evaluation, tables."""
