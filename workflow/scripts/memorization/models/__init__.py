"""The models: one file for each value of the setting ``model``.

`learners` has the interface that training asks of them. A model knows its settings, its sequences, and how it
learns, predicts and saves its state. It knows nothing of files, runs or tables.
"""
