# SPDX-License-Identifier: Apache-2.0
"""What needs transformers, as programs: `regate-capture` and `regate-render-chat`."""

import importlib
import sys


def capture() -> None:
    sys.exit(_main("regate-capture", ".capture"))


def render_chat() -> None:
    sys.exit(_main("regate-render-chat", ".render_chat"))


def _main(program: str, module: str) -> "str | int | None":
    try:
        main = importlib.import_module(module, __name__).main
    except ImportError as error:
        return f"{program}: {error}; pip install 'regate[capture]', or run it where transformers is"
    code: "int | None" = main()
    return code
