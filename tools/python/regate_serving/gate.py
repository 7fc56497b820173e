# SPDX-License-Identifier: Apache-2.0
"""The gate of the prototype form as a server wants it: logits [T,E] of physical experts.

The gate chooses. It returns the logit of its logical expert at each of the K chosen physical
experts and `NEVER` elsewhere, so that the family's own rule, which comes after the gate in every
runtime, can only choose the same and gives them the form's weights:

    softmax, renormalised        exp l_f / sum over F of exp l: the softmax over all E cancels
    sigmoid, renormalised or not sigmoid(l_f); all others score 0, so the groups of the chosen win
    softmax, not renormalised    there is no such logit; the runtime's rule is set to a sigmoid, and
                                 the logit is that of pi_f (`ServedGate.as_sigmoid`)

Kernels, expert parallelism, its load balancers and data parallelism thus see an ordinary router.
"""

import torch

from . import fused
from .form.gate_regate import Constants, PrototypeGate

# Its exponential and its sigmoid are 0 in every dtype.
NEVER = -1e9


class ServedGate(PrototypeGate):
    """Without gradients, and with everything that depends on the parameters alone made once."""

    def __init__(self, config, latent_size):
        form = config.regate["encoder"], config.regate["similarity"]
        super().__init__(config.routing_rule(), *form, config.hidden_size, latent_size)
        self.requires_grad_(False)
        self.ready = None
        self.as_sigmoid = not (self.rule.sigmoid or self.rule.normalise)

    def load(self, tensors, where):
        """Takes the tensors that a checkpoint holds for this gate, by name; `where` is its name."""
        wanted = self.state_dict()
        for what, names in (("has no", wanted.keys() - tensors), ("has", tensors.keys() - wanted)):
            if names:
                raise ValueError(
                    f"{where}: the checkpoint {what} {', '.join(sorted(names))}, which does not "
                    f"fit a router with encoder {self.encoder} and similarity {self.similarity}: "
                    "convert the original again"
                )
        for name, tensor in wanted.items():
            given = tensors[name]
            if given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(
                    f"{where}.{name} is {given.dtype} {list(given.shape)}, expected {tensor.dtype} "
                    f"{list(tensor.shape)}: the weights are not those of this config.json"
                )
        self.check_map(tensors["physical_to_logical"], where)
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(tensors[name])
            self.prepare()

    def check_map(self, logical, where):
        experts, there = self.rule.experts, logical.unique()
        if there.min() < 0 or there.max() >= experts:
            raise ValueError(
                f"{where}.physical_to_logical holds {int(there.min())} to {int(there.max())}, "
                f"expected 0 to {experts - 1}: the checkpoint is damaged"
            )
        if len(there) < self.rule.top_k:
            raise ValueError(
                f"{where}.physical_to_logical names {len(there)} logical experts, fewer than the "
                f"{self.rule.top_k} that a token is sent to: convert the original again"
            )

    def prepare(self):
        """Makes the constants; anew in place, since captured graphs hold their addresses."""
        constants = self.constants()
        table = compact(constants.clones, self.physical_to_logical)
        for name, value in constants._replace(clones=table)._asdict().items():
            held = getattr(self, "ready_" + name, None)
            if held is not None and held.shape == value.shape:
                held.copy_(value)
            else:
                self.register_buffer("ready_" + name, value.contiguous(), persistent=False)
        self.gather_ready()

    def gather_ready(self):
        """Keeps the constants in one tuple: to look for them in the module takes as long as some
        of the operations on them."""
        self.ready = Constants(*(getattr(self, "ready_" + name) for name in Constants._fields))

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self.ready is not None:  # Buffers may be other tensors now.
            self.gather_ready()
        return self

    def forward(self, x):
        """Logits [T,E] of router inputs [T,H] and no bias: what servers' linear layers return."""
        return (self.fused(x) if fused.available(x) else self.plain(x)), None

    def plain(self, x):
        """The logits by torch's operations."""
        choice = self.choose(x, self.ready)
        if self.as_sigmoid:
            scores = choice.scores.gather(1, choice.logical)
            chosen = torch.logit(scores.clamp(1e-37, 1 - 1e-7))
        else:
            chosen = choice.logits.gather(1, choice.logical)
        logits = torch.full_like(choice.logits, NEVER)
        return logits.scatter_(1, choice.physical, chosen)

    def fused(self, x):
        """The logits by the operation of `fused`."""
        ready, encoder, given = self.ready, None, None
        if x.dtype == torch.bfloat16 and (self.encoder, self.similarity) == ("linear", "dot"):
            encoder = ready.encoder
        else:
            x, log_variance = self.encode(x.float(), ready.encoder)
            if self.similarity != "dot":
                given = self.similarities(x, log_variance, ready.prototypes) + self.logit_bias
        return torch.ops.regate.gate_logits(
            x, encoder, given, ready.heads, ready.offsets, self.physical_to_logical,
            fused.numbers(self.rule, self.as_sigmoid))


def compact(clones, physical_to_logical):
    """`clone_table` [E,E] in as many columns as a logical expert has clones at most."""
    count = int(physical_to_logical.bincount().max())
    own = physical_to_logical == torch.arange(len(clones), device=clones.device)[:, None]
    first = own.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    return clones.gather(1, first)
