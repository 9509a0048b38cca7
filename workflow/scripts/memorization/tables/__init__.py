"""The tables of an experiment, and the theory that stands beside them.

They have means over sequences and seeds, and fits. `registry` names every table and is all that the workflow's
plan reads; the computations need pandas. Nothing here trains a model or draws.
"""
