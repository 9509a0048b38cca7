"""Training a run through its switches, interruptions included, and testing what it has memorised.

Here a model meets its sequences. Nothing here knows of experiments, seeds to average over, or figures.
"""
