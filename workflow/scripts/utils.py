"""The loading interface of the analysis notebooks: ``utils.CPU_Unpickler(f).load()``."""

from memorization.unpickling import SafeUnpickler as CPU_Unpickler
from memorization.unpickling import UnsafePickleError

__all__ = ["CPU_Unpickler", "UnsafePickleError"]
