"""Similarities and log-softmax terms are computed in full precision, whatever autocast says.

Raw dot products of summed BERT layers overflow half precision and saturate the word softmax
(`global_local` spec, section 7.10; `baselines` spec, section 6.5).
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """The values as float32; float64 stays as it is."""
    return values if values.dtype == torch.float64 else values.float()


def without_autocast(like: Tensor) -> AbstractContextManager[None]:
    """A region without autocast on the device of ``like``."""
    return torch.autocast(device_type=like.device.type, enabled=False)
