"""A build compiles what it can, and what it cannot compile it leaves out."""

import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
MODULE = Path("stretta/net/server/_poller").with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))

compiler = shutil.which((os.environ.get("CC") or sysconfig.get_config_var("CC")).split()[0])
needs_compiler = pytest.mark.skipif(
    not (compiler and Path(sysconfig.get_path("include"), "Python.h").exists()),
    reason="no C compiler, or none of Python's headers (gcc, python3-dev)",
)


def build(tree, target, folder, **environment):
    """Build as pip does, without an index; return the file that came out, and what was said."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        cwd=tree, env={**os.environ, **environment},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = folder.iterdir()
    return built, done.stderr


@pytest.fixture
def source(tmp_path):
    """What is in the source distribution, unpacked."""
    archive, _ = build(ROOT, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xzf", archive], cwd=tmp_path, check=True)
    return tmp_path / archive.name.removesuffix(".tar.gz")


def test_without_a_working_compiler_the_package_is_pure(source, tmp_path):
    wheel, said = build(source, "wheel", tmp_path / "wheel", CC="false")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = ZipFile(wheel).namelist()
    assert "stretta/py.typed" in names and "stretta/net/server/accept.py" in names
    assert not [name for name in names if name.endswith((".so", ".c"))]
    assert re.search("The compiled modules are left out: CompileError: .*false", said)


def test_a_module_of_before_does_not_survive_a_build_that_fails(source, tmp_path):
    old = source / "src" / MODULE
    old.touch()
    (tmp_path / "Cython.py").write_text("raise ImportError('there is none')")
    _, said = build(source, "wheel:editable", tmp_path / "wheel", PYTHONPATH=str(tmp_path))
    assert not old.exists()
    assert "The compiled modules are left out: ImportError: there is none" in said


@needs_compiler
def test_with_a_compiler_the_wheel_is_for_this_python_and_machine(source, tmp_path):
    wheel, said = build(source, "wheel", tmp_path / "wheel")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert f"-{tag}-{tag}" in wheel.name and wheel.name.endswith(f"_{platform.machine()}.whl"), said
    with ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "site")
    loaded = subprocess.run(
        [sys.executable, "-c", "from stretta.net.server import _poller; print(_poller.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert loaded.strip() == str(tmp_path / "site" / MODULE)
    assert not list(source.rglob("*.c")) and not list(source.rglob("*.so"))


@needs_compiler
def test_these_tests_run_with_the_compiled_module():
    assert find_spec("stretta.net.server._poller"), (
        "pip install -v --no-build-isolation -e . says why"
    )


@pytest.mark.parametrize(("system", "python"), [("darwin", "CPython"), ("linux", "PyPy")])
def test_where_the_module_cannot_work_nothing_is_tried(system, python, monkeypatch, tmp_path):
    compiled = runpy.run_path(str(ROOT / "hatch_build.py"))["compiled"]
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "python_implementation", lambda: python)
    with pytest.raises(OSError, match="need Linux"):
        compiled([Path("stretta/net/server/_poller.pyx")], tmp_path)
    assert not list(tmp_path.iterdir())
