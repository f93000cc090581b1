"""Keep the memory of freed tensors in the process: on a CPU a sixth of a training step goes into asking for it again.

glibc maps every large block anew and gives it back when it is freed; the system then clears each page that is touched
for the first time. A training step frees and asks for the same hundreds of blocks over and over.
"""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's malloc.h. Sizes are C ints.
_TRIM_THRESHOLD, _TOP_PAD, _MOST_MAPS = -1, -2, -4
_LARGEST, _AT_ONCE = 2**31 - 1, 2**28


def keep_freed_memory() -> bool:
    """Ask glibc to; the process then keeps the most that it has needed.

    Returns:
        Whether it was done. It is not on another system or C library, nor where ``MALLOC_`` variables of the
        environment say that somebody has decided otherwise.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl, for one
        return False
    wanted = ((_MOST_MAPS, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _AT_ONCE))
    answers = [mallopt(parameter, value) for parameter, value in wanted]
    return all(answer == 1 for answer in answers)
