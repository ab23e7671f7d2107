"""Kernels without the wait: numba is imported when a kernel has to be compiled, not when one is named.

`njit` puts off what numba's own does at import. `ready` goes further: the machine code that numba makes is
kept beside its cache and is loaded by LLVM alone from then on, so that a process that only calls such kernels
never imports numba (half a second of every start). Code is kept per kinds of arguments, source of the kernels
and processor; whatever is missing or odd goes the usual way through numba, with the same answer.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from behavio.files import whole_file

Kind = tuple[Any, ...] | str
SCALARS = {"b": "boolean", "i": "int64", "f": "float64"}
HOLDS = {"none": "", "int64": "i", "uint64": "u", "bool": "b", "boolean": "b"}
OUTSIDE = re.compile(r'^declare [^@\n]*@"?([\w.$]+)', re.MULTILINE)
RELEASE = "NRT_MemInfo_call_dtor"
KNOWN = ("llvm.", "memset", "memcpy", "memmove", RELEASE)
"""What kept code may call: LLVM's own operations and C's, and what numba calls when it gives back memory of
its own, which arrays from outside never are."""
ARRAY = np.ndarray
_lock = threading.RLock()
_engine: Any = None


def _numba() -> Any:
    """numba; that BLAS is there it is told without all of scipy.linalg (a third of a second)."""
    name = "scipy.linalg.cython_blas"
    if "numba.np.arraymath" not in sys.modules and name not in sys.modules:
        sys.modules[name] = ModuleType(name)
        try:
            import numba.np.arraymath
        finally:
            del sys.modules[name]
    import numba

    return numba


class Lazy:
    """Stands for what numba makes of a function until it is called, or used by another kernel."""

    def __init__(self, function: Any, make: Callable[[], Any]) -> None:
        self._function = function
        self._make = make
        self._made: Any = None
        self.__doc__ = function.__doc__
        self.__name__, self.__qualname__ = function.__name__, function.__qualname__
        self.__module__, self.__wrapped__ = function.__module__, function

    @property
    def made(self) -> Any:
        """The dispatcher or intrinsic itself."""
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def _numba_type_(self) -> Any:
        _numba()
        from numba.core.registry import cpu_target

        made, context = self.made, cpu_target.typing_context
        context.refresh()  # it learns of what was made while it is at work
        return context.resolve_value_type(made)

    def __call__(self, *given: Any) -> Any:
        """Call what numba made."""
        return self.made(*given)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.made, name)

    def __reduce__(self) -> str:
        return self.__qualname__


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba's njit, put off until the function is needed."""
    return lambda function: Lazy(function, lambda: _numba().njit(**options)(function))


def intrinsic(function: Callable[..., Any]) -> Any:
    """numba's intrinsic, put off; the function may use names of numba and llvmlite when it is called."""

    def make() -> Any:
        _numba()
        from numba.extending import intrinsic as made

        return made(function)

    return Lazy(function, make)


class Kernel(Lazy):
    """A function of arrays and numbers that allocates nothing: its machine code is kept from run to run."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function, lambda: _numba().njit(cache=True, nogil=True)(function))
        self._native: dict[tuple[Any, ...], Any] = {}

    def __call__(self, *given: Any) -> Any:
        """Call the kept code."""
        seen = tuple([(g.dtype.char, g.ndim, g.flags.num) if type(g) is ARRAY else type(g) for g in given])
        native = self._native.get(seen, False)
        if native is False:
            with _lock:
                kinds = tuple([_kind(g) for g in given])
                native = None if "" in kinds else _native(self._function, kinds)
                if all(type(g) is ARRAY or type(g) in (int, bool, float) for g in given):
                    self._native[seen] = native
        return self.made(*given) if native is None else native(*given)


def ready(function: Callable[..., Any]) -> Any:
    """Keep the machine code of a kernel that allocates no memory and raises nothing."""
    return Kernel(function)


def _kind(value: Any) -> Kind:
    """What the code of a kernel depends on; "" for what only numba takes."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        sound = flags.c_contiguous and flags.aligned and value.dtype.isnative
        return (value.dtype.str, value.ndim, flags.writeable) if sound else ""
    if isinstance(value, bool):
        return "b"
    if isinstance(value, int | np.int64 | np.int32):
        return "i"
    return "f" if isinstance(value, float) else ""


def _native(function: Callable[..., Any], kinds: tuple[Kind, ...]) -> Callable[..., Any] | None:
    """The kernel's kept code, made first where there is none; None where it cannot be kept."""
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
    what = hashlib.blake2b(repr(kinds).encode(), digest_size=6).hexdigest()
    path = folder() / f"{name}.{what}.{_stamp()}.code"
    try:
        held = path.read_bytes()
    except OSError:
        held = _compiled(function, kinds)
        _keep(path, held, f"{name}.{what}.*.code")
    if not held:
        return None
    head, _, code = held.partition(b"\n")
    facts = json.loads(head)
    return _callable(_address(facts["symbol"], code), facts["returns"], kinds)


def _compiled(function: Callable[..., Any], kinds: tuple[Kind, ...]) -> bytes:
    """Facts in one line and the object code behind it; nothing where the code would need numba to run."""
    numba = _numba()
    types = numba.types
    arguments = []
    for kind in kinds:
        if isinstance(kind, str):
            arguments.append(getattr(types, SCALARS[kind]))
            continue
        text, n, writeable = kind
        element = numba.from_dtype(np.dtype(text))
        arguments.append(types.Array(element, n, "C", readonly=not writeable))
    made = numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    made.compile(tuple(arguments))
    result = made.overloads[tuple(arguments)]
    given = result.signature.return_type
    parts = [given] if not isinstance(given, types.BaseTuple) else list(given)
    outside = OUTSIDE.findall(result.library.get_llvm_str())
    if any(str(p) not in HOLDS for p in parts) or any(not name.startswith(KNOWN) for name in outside):
        return b""
    facts = {"symbol": result.fndesc.llvm_func_name, "returns": "".join(HOLDS[str(p)] for p in parts)}
    return json.dumps(facts).encode() + b"\n" + result.library.serialize_using_object_code()[2][0]


def _callable(address: int, returns: str, kinds: tuple[Kind, ...]) -> Callable[..., Any]:
    """The code at an address as numba calls it: a place for the result, one for an error, then the arguments,
    an array as owner, parent, size, item size, data, shape and strides."""
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    taken: list[Any] = [pointer, pointer]
    for kind in kinds:
        if isinstance(kind, str):
            taken.append({"b": ctypes.c_bool, "i": number, "f": ctypes.c_double}[kind])
        else:
            taken += [pointer, pointer, number, number, pointer, *[number] * (2 * kind[1])]
    code = ctypes.CFUNCTYPE(ctypes.c_int32, *taken)(address)

    def call(*given: Any) -> Any:
        result, problem = (number * max(len(returns), 1))(), pointer()
        flat: list[Any] = []
        for value in given:
            if isinstance(value, np.ndarray):
                data = value.__array_interface__["data"][0]
                flat += (None, None, value.size, value.itemsize, data, *value.shape, *value.strides)
            else:
                flat.append(value)
        if code(ctypes.addressof(result), ctypes.addressof(problem), *flat):
            raise RuntimeError("a kernel failed")
        if len(returns) == 1:
            return _result(returns, result[0])
        return tuple([_result(r, n) for r, n in zip(returns, result, strict=True)]) if returns else None

    return call


def _result(kind: str, found: int) -> Any:
    if kind == "b":
        return bool(found & 1)
    return found if kind == "i" else found & (2**64 - 1)


def _address(symbol: str, code: bytes) -> int:
    """Link one object; the engine keeps its code for the life of the process."""
    global _engine
    from llvmlite import binding

    if _engine is None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        machine = binding.Target.from_default_triple().create_target_machine()
        _engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        if not binding.address_of_symbol(RELEASE):  # never called, but LLVM wants to know where it is
            binding.add_symbol(RELEASE, ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value)
    _engine.add_object_file(binding.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    return int(_engine.get_function_address(symbol))


@cache
def _stamp() -> str:
    """Hash of what kept code depends on: the kernels' source, LLVM, the processor."""
    import llvmlite
    from llvmlite import binding

    told = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        told.update(path.read_bytes())
    features = sorted(n for n, there in binding.get_host_cpu_features().items() if there)
    told.update(repr((llvmlite.__version__, binding.get_host_cpu_name(), features)).encode())
    return told.hexdigest()


@cache
def folder() -> Path:
    """Where code is kept: numba's folder where one is named, the package's own, else the user's."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(named)
    own = Path(__file__).parent / "__pycache__"
    if os.access(own if own.is_dir() else own.parent, os.W_OK):
        return own
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "behavio"


def _keep(path: Path, held: bytes, older: str) -> None:
    """Write the code for later; a folder that may not be written only costs time."""
    try:
        for old in path.parent.glob(older):
            old.unlink(missing_ok=True)
        with whole_file(path) as draft:
            draft.write_bytes(held)
    except OSError:
        return
