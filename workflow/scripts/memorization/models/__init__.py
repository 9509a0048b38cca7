"""The models: one file for each value of the setting ``model``, and the interface that training asks of them.

A model knows its settings, its sequences and how to learn, predict and save its state. It knows nothing of
files, runs, switches' bookkeeping or tables.
"""
