# SPDX-License-Identifier: Apache-2.0
"""The package from the tree, put together as the wheel is; without a GPU, Triton interprets."""

import os
import sys
import types
from pathlib import Path

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Before kernels are imported.

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools/python"), str(ROOT / "tools/interop")]
form = types.ModuleType("regate_serving.form")
form.__path__ = [str(ROOT / "Sources/Forms/Modelling")]
sys.modules["regate_serving.form"] = form
