"""Compile the Cython modules, where that can be done; elsewhere the package is pure Python.

The modules make servers faster; every one has a fallback in Python. A missing compiler, missing
headers or any other failure here costs speed and never fails the installation.
"""

from __future__ import annotations

import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from textwrap import shorten
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = Path("src")  # the root of the project is where a build runs (PEP 517)
SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")  # of modules for this very Python


class CompiledModules(BuildHookInterface[Any]):
    """Compiles each ``.pyx`` into a wheel, or next to its source in an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the modules before the wheel is packed; warn when that fails."""
        self._folder = tempfile.TemporaryDirectory(prefix="stretta-build-")
        sources = [path.relative_to(PACKAGES) for path in PACKAGES.rglob("*.pyx")]
        try:
            built = compiled(sources, Path(self._folder.name))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - see the head of this file
            why = shorten(f"{type(error).__name__}: {error}", 100)  # one line of it
            self.app.display_warning(f"The compiled modules are left out: {why}")
            built = {}
        if version == "editable":
            for source in sources:
                put(built.get(source), PACKAGES / source.with_suffix(SUFFIX))
        elif built:
            build_data["pure_python"], build_data["infer_tag"] = False, True
            for source, module in built.items():
                build_data["force_include"][str(module)] = str(source.with_suffix(SUFFIX))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the temporary files."""
        self._folder.cleanup()


def compiled(sources: list[Path], folder: Path) -> dict[Path, Path]:
    """Compile every source into ``folder``; return the path of each module. Raises any error."""
    if sys.platform != "linux" or platform.python_implementation() != "CPython":
        raise OSError("they need Linux (epoll) and CPython")
    from Cython.Build import cythonize  # noqa: PLC0415 - not there is one of the things
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    # no -march: a wheel runs on other machines too
    every = Extension("*", [f"{PACKAGES}/**/*.pyx"], extra_compile_args=["-O3", "-g0"])
    command = build_ext(Distribution({"ext_modules": cythonize(every, build_dir=str(folder))}))
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    return {source: folder / source.with_suffix(SUFFIX) for source in sources}


def put(module: Path | None, target: Path) -> None:
    """Replace the module if it exists: an outdated module is worse than none."""
    target.unlink(missing_ok=True)  # not overwritten: it may be in use
    if module is not None:
        shutil.copy(module, target)
