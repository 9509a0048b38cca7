"""Training of a run through its switches, and the evaluation of its weights.

Checkpoints and progress belong here too. This room uses `models` and `storage`. It knows nothing of
experiments, averages over seeds or figures.
"""
