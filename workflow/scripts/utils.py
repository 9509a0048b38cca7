"""The loading interface of the analysis notebooks.

They call ``utils.CPU_Unpickler(f).load()``.
"""

from memorization.storage.unpickling import DamagedPickleError, UnsafePickleError
from memorization.storage.unpickling import SafeUnpickler as CPU_Unpickler

__all__ = ["CPU_Unpickler", "DamagedPickleError", "UnsafePickleError"]
