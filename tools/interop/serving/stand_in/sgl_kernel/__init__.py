# SPDX-License-Identifier: Apache-2.0
"""In the place of SGLang's kernels, which exist for GPUs only, so that its pure-torch code can be
imported: whatever is asked of it is there, and raises when it is called."""

import importlib.abc
import importlib.machinery
import sys

__path__ = []


class Missing:
    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.name}.{name}")

    def __call__(self, *arguments, **options):
        raise NotImplementedError(f"{self.name} runs on GPUs only")


def __getattr__(name):
    return getattr(Missing("sgl_kernel"), name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module below this one."""

    def find_spec(self, name, path=None, target=None):
        if name.startswith("sgl_kernel."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__path__, module.__getattr__ = [], __getattr__


sys.meta_path.append(Finder())
