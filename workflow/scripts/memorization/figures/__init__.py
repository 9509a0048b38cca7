"""How the figures look: labels and colours, the selection of rows, and the pieces that several scripts draw.

A figure is drawn from the tables of an experiment and from nothing else: nothing here reads a run's files or
knows how a table is computed.
"""
