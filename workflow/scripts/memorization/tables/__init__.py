"""The tables of an experiment: means over sequences and seeds, fits, and the theory that stands beside them.

`registry` names every table and is all that the workflow's plan reads; the computations need pandas. Nothing
here trains a model or draws.
"""
