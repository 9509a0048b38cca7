"""How the figures look, and the pieces that several scripts draw.

Labels and colours are here, and the selection of rows. A figure is drawn from the tables of an experiment and from
nothing else: nothing here reads a run's files or knows how a table is computed.
"""
