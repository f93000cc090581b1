"""Joint models from the released checkpoints of GLoRIA, MGCA, PRIOR and LoVT: one file for each layout.

Begin reading at :mod:`crossray.inference.released.load`. The layouts are those of the public code.
"""

from crossray.inference.released.load import VOCABULARY, Released, load_released

__all__ = ["VOCABULARY", "Released", "load_released"]
