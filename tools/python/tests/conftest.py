# SPDX-License-Identifier: Apache-2.0
"""The package from the tree, put together as the wheel is; without a GPU, Triton interprets. Where
there is no torch, the interface is tested alone."""

import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tools/python"), str(ROOT / "tools/interop")]

try:
    import torch
except ImportError:
    collect_ignore = ["test_checkpoints.py", "test_gate.py"]
else:
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"  # Before kernels are imported.
    form = types.ModuleType("regate_serving.form")
    form.__path__ = [str(ROOT / "Sources/Forms/Modelling")]
    sys.modules["regate_serving.form"] = form
