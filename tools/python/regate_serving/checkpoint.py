# SPDX-License-Identifier: Apache-2.0
"""Gates in the place of a runtime's own, filled from a stream of weights."""

from .gate import ServedGate

# What the family's classes call a layer's MoE block; a checkpoint's tensors bear the same names.
BLOCKS = ("block_sparse_moe", "mlp")


def check_ranks(experts, redundant, ranks):
    """Refuses expert-parallel ranks that would not hold equally many experts."""
    if (experts + redundant) % ranks:
        held = f"{experts} experts" + (f" and {redundant} redundant ones" if redundant else "")
        raise ValueError(
            f"{held} cannot be divided evenly among {ranks} expert-parallel ranks: choose another "
            "number of ranks or of redundant experts"
        )


class Gates:
    """The gates of a model, by the name of their tensors up to the last dot."""

    def __init__(self, layers, config, replace):
        """Puts a gate into every MoE layer that has a prototype router and that lies on this rank;
        `replace(block, gate)` is the runtime's way to do so."""
        self.by_name = {}
        self.layers = tuple(f"model.layers.{number}." for number in config.regate["latent_size"])
        for number, size in config.regate["latent_size"].items():
            layer = layers[int(number)]
            name = next((name for name in BLOCKS if hasattr(layer, name)), None)
            if name is None:  # A layer of another pipeline rank.
                continue
            gate = ServedGate(config, size)
            replace(getattr(layer, name), gate)
            self.by_name[f"model.layers.{number}.{name}.gate"] = gate

    def load(self, weights, load_others):
        """Fills the gates from `weights`, pairs of name and tensor, and has `load_others` take the
        rest. Returns what that returns, and the names of the gates' parameters."""
        found = {}

        def others():
            for name, tensor in weights:
                gate, _, own = name.rpartition(".")
                if gate.endswith(".gate") and gate.startswith(self.layers):
                    found.setdefault(gate, {})[own] = tensor
                else:
                    yield name, tensor

        returned = load_others(others())
        for name, gate in self.by_name.items():
            gate.load(found.get(name, {}), name)
        named = ((name, gate.named_parameters()) for name, gate in self.by_name.items())
        return returned, {f"{name}.{own}" for name, own_all in named for own, _ in own_all}
