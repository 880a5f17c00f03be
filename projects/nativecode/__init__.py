"""C++ sources that are compiled on first use, tried beside their oracles, and done without.

A kernel is a :class:`CheckedKernel`: a C++ file, and a comparison with the slow way to compute the
same. In: that file. Out: ``available()``, and where it is true the functions of ``library``,
called through ctypes. A missing compiler, a failing build or a wrong result is logged once in a
sentence, and the caller takes the slow way. Modules that inherit from :class:`UsesKernels` have
their kernels tried when they are built.

A leaf for all packages; imports the standard library only. Start with ``checked.py``;
``library.py`` keeps the built files, ``compiler.py`` calls the compiler.
"""

from nativecode.checked import CheckedKernel, UsesKernels

__all__ = ["CheckedKernel", "UsesKernels"]
