"""Builds the one C extension; everything else stands in pyproject.toml.

FLOWSONAR_NATIVE=require  fail where the extension cannot be built (CI)
FLOWSONAR_NATIVE=skip     build without it: the Python reference does its work, slower
FLOWSONAR_SANITIZE=1      address and undefined-behaviour sanitizers
FLOWSONAR_WERROR=1        compiler warnings are errors
"""

import os
from pathlib import Path

from setuptools import Extension, setup

NATIVE = os.environ.get("FLOWSONAR_NATIVE", "")
SOURCES = sorted(str(path) for path in Path("src/flowsonar/_native").glob("*.c"))

macros = [("Py_LIMITED_API", "0x030B0000")]
flags = ["-std=c11", "-O3", "-Wall", "-Wextra", "-Wconversion", "-fvisibility=hidden"]
links = []
if os.environ.get("FLOWSONAR_WERROR"):
    flags.append("-Werror")
if os.environ.get("FLOWSONAR_SANITIZE"):
    sanitize = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
        "-g",
        "-O1",
    ]
    flags += [*sanitize, "-UNDEBUG"]
    macros.append(("FLOWSONAR_SANITIZE", "1"))
    links += sanitize

extension = Extension(
    "flowsonar._native._core",
    sources=SOURCES,
    depends=[str(path) for path in Path("src/flowsonar/_native").glob("*.h")],
    extra_compile_args=flags,
    extra_link_args=links,
    libraries=["m"],
    define_macros=macros,
    py_limited_api=True,
    optional=NATIVE != "require",
)

setup(
    ext_modules=[] if NATIVE == "skip" or not SOURCES else [extension],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
