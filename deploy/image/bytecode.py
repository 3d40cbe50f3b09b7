"""Compiles the environment and what it uses of Python, into the folder of PYTHONPYCACHEPREFIX.

Slim Pythons come without bytecode, and where nothing can be written every start, and every health
check, would compile anew. Not checked against its source, which cannot change there either, so
that it holds whatever an engine makes of the times of files.
"""

from __future__ import annotations

import compileall
import importlib
import pkgutil
import py_compile
import sys
import sysconfig

import service

#: Commands about a service elsewhere; and what starts when it is imported.
LEFT_OUT = ("service.attention", "service.bench", "service.demo", "service.__main__")
#: What libraries import only when they are used.
LATE = ("encodings.idna", "http.client", "ssl", "uvicorn.protocols.http.httptools_impl")


def main() -> int:
    """Compile the packages, and all of the standard library that the service imports. Exit status.

    Of the latter the whole would be as large as the packages.
    """
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    packages = sysconfig.get_path("purelib")
    if not compileall.compile_dir(packages, quiet=1, invalidation_mode=mode):
        return 1
    for module in pkgutil.walk_packages(service.__path__, "service."):
        if not module.name.startswith(LEFT_OUT):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)
    for found in list(sys.modules.values()):
        path = getattr(found, "__file__", None)
        if path is not None and path.endswith(".py") and not path.startswith((packages, __file__)):
            py_compile.compile(path, doraise=True, invalidation_mode=mode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
