# SPDX-License-Identifier: Apache-2.0
"""What is said about a runtime that this package was not made for."""

import importlib

ADVICE = (
    "use one of these, a newer regate, or the runtime's Transformers backend with "
    "--trust-remote-code, which needs no plugin"
)


class UnknownVersion(RuntimeError):
    pass


def sentence(runtime, tested, what):
    module = importlib.import_module(runtime)
    version = getattr(module, "__version__", "of an unknown version")
    return (
        f"Regate's plugin was tested with {runtime} {tested}, and this one ({version}) {what}: "
        + ADVICE
    )


def lookup(runtime, tested, names):
    """The objects that `names` ("module:attribute") stand for, by attribute."""
    found = {}
    for name in names:
        module, attribute = name.split(":")
        try:
            found[attribute] = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            what = f"has no {module}.{attribute} ({error})"
            raise UnknownVersion(sentence(runtime, tested, what)) from error
    return found
