"""C++ sources compiled on first use and called through ctypes; needs the standard library only.

    library = load_library(Path(__file__).with_name("csrc") / "kernel.cpp")
    if library is None:  # no compiler, switched off, ...: the slower way; why_absent() says why

A library that was built is an offer, not a promise: compare it with a slow oracle on a small
input before relying on it.
"""

from nativecode.library import load_library, why_absent

__all__ = ["load_library", "why_absent"]
