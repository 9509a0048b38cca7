"""How the figures look, and the pieces that several scripts draw.

Labels and colours are here, and the selection of rows. A figure is drawn from the tables of an experiment and from
nothing else: nothing here reads a run's files or knows how a table is computed.
"""

import os

# Before matplotlib is imported: the import fails if the variable names a backend that is not installed, such as
# the one of Jupyter. No figure is shown, all are written to files.
os.environ["MPLBACKEND"] = "agg"
