"""Loops over arrays, compiled by numba: arrays in, arrays out, no classes."""

from __future__ import annotations

import sys
from types import ModuleType


def _without_scipy() -> None:
    """Let numba see that BLAS is there without importing all of scipy.linalg (a third of a second).

    Whatever needs BLAS imports the real module when it is first used.
    """
    name = "scipy.linalg.cython_blas"
    if name in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    sys.modules[name] = ModuleType(name)
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del sys.modules[name]


_without_scipy()
