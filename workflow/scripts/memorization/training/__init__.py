"""Training of a run through its switches, and the evaluation of its weights.

Checkpoints and progress belong here too. This room uses `models` and `storage`. It knows nothing of
experiments, averages over seeds or figures.
"""

import gc

# The import of torch makes 170 000 objects that stay. A job starts a tenth sooner if nothing is collected
# meanwhile, and these objects are left out of later collections.
gc.disable()
import torch  # noqa: E402, F401

gc.freeze()
gc.enable()
