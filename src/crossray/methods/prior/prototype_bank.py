"""The sentence prototype bank: sentence vectors become mixtures of a few hundred learned ones (`prior` spec, 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crossray.alignment.k_means import k_means, nearest
from crossray.alignment.masked import sum_by_index
from crossray.alignment.precision import full_precision, without_autocast
from crossray.devices import to_device
from crossray.methods.prior.config import PriorConfig

_LEAST_TEMPERATURE_SHARE = 0.1


@dataclass(frozen=True)
class Prototypes:
    """What the bank makes of sentences.

    Attributes:
        vectors: ``[B, S, D]`` q, what goes on in place of the sentences.
        compared: ``[B, S, D]`` what the prototype loss compares with the sentences: ``vectors``, except for
            ``nearest``, whose vectors pass the gradient straight through and would always be at distance 0.
        logits: ``[B, S, K]`` raw dot products with the prototypes, without noise.
        index: ``[B, S]`` the prototype with the largest weight.
    """

    vectors: Tensor
    compared: Tensor
    logits: Tensor
    index: Tensor


class PrototypeBank(nn.Module):
    """K prototypes E, and how a sentence chooses among them.

    In training ``soft`` mixes them by a softmax with Gumbel noise; ``hard`` takes the largest of those weights and the
    gradient of the mixture; ``nearest`` takes the one at the least distance, and moves prototypes by a running mean of
    the sentences that chose them instead of by gradient. In evaluation there is no noise: ``argmax`` takes the
    prototype with the largest weight, ``softmax`` the noise-free mixture.

    Args:
        config: see :class:`PriorConfig`.
    """

    remembered: Tensor
    remembered_count: Tensor
    usage: Tensor
    moved: Tensor
    steps: Tensor

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self._config = config
        by_means = config.prototype_choice == "nearest"
        self.prototypes = nn.Parameter(torch.randn(config.prototypes, config.embed_dim), requires_grad=not by_means)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("remembered", torch.zeros(config.k_means_sentences, config.embed_dim))
        self.register_buffer("remembered_count", torch.zeros((), dtype=torch.int64))
        # How many sentences chose each prototype in this step, and their sum, before it is moved.
        moving = config.prototypes if by_means else 0
        self.register_buffer("usage", torch.zeros(moving, 1), persistent=False)
        self.register_buffer("moved", torch.zeros(moving, config.embed_dim), persistent=False)

    @property
    def moves_by_means(self) -> bool:
        """Whether prototypes follow running means (:meth:`observe`) rather than a gradient."""
        return self._config.prototype_choice == "nearest"

    def forward(self, sentences: Tensor) -> Prototypes:
        """``sentences [B, S, D]``; rows of padding give anything."""
        with without_autocast(sentences):
            sentences, prototypes = full_precision(sentences), full_precision(self.prototypes)
            logits = sentences @ prototypes.T
            if self.moves_by_means:
                index = nearest(sentences.detach(), prototypes)
                chosen = prototypes[index]
                return Prototypes(sentences + (chosen - sentences).detach(), chosen, logits, index)
            weights = self._weights(logits)
            vectors = weights @ prototypes
            return Prototypes(vectors, vectors, logits, weights.argmax(dim=2))

    def temperature(self) -> Tensor:
        """tau_s of this step."""
        config = self._config
        progress = (self.steps / (config.temperature_steps or 1)).clamp_max(1.0)
        match config.temperature_schedule:
            case "fixed":
                share = torch.ones_like(progress)
            case "linear":
                share = 1 - (1 - _LEAST_TEMPERATURE_SHARE) * progress
            case "exponential":
                share = _LEAST_TEMPERATURE_SHARE**progress
        return config.prototype_temperature * share

    def remember(self, sentences: Tensor, mask: Tensor) -> None:
        """Keep the latest real ones of ``sentences [B, S, D]`` for :meth:`start_from_remembered`."""
        last = mask.cpu().flatten().nonzero().squeeze(1)[-self._config.k_means_sentences :]
        rows = sentences.detach().flatten(0, 1)[to_device(last, sentences.device)].to(self.remembered.dtype)
        place = (self.remembered_count + torch.arange(len(rows), device=rows.device)) % self._config.k_means_sentences
        self.remembered[place] = rows
        self.remembered_count += len(rows)

    @torch.no_grad()
    def start_from_remembered(self, iterations: int) -> None:
        """Move the prototypes to the k-means centres of the remembered sentences; the same on every process."""
        count = min(int(self.remembered_count), self._config.k_means_sentences)
        if count == 0:
            return
        generator = torch.Generator().manual_seed(0)
        points = self.remembered[:count]
        self.prototypes.copy_(k_means(points, len(self.prototypes), iterations=iterations, generator=generator))

    @torch.no_grad()
    def observe(self, sentences: Tensor, mask: Tensor) -> None:
        """Count the sentences of a step (all processes' ``[B, S, D]``) towards the prototype nearest to each."""
        real = full_precision(sentences.detach())
        index = nearest(real, self.prototypes).masked_fill(~to_device(mask, real.device), -1).view(1, -1)
        counted = torch.cat([real, torch.ones_like(real[..., :1])], dim=2).view(1, -1, real.shape[2] + 1)
        sums = sum_by_index(counted, index, len(self.prototypes))[0]
        self.moved += sums[:, :-1]
        self.usage += sums[:, -1:]

    def forget_observations(self) -> None:
        """Begin a step: what was observed outside one is not counted."""
        self.usage.zero_()
        self.moved.zero_()

    @torch.no_grad()
    def end_step(self) -> None:
        """After an update of the weights: move prototypes that learn by running means, and count the step."""
        self.steps += 1
        if self.moves_by_means:
            mean = self.moved / self.usage.clamp_min(1)
            followed = self.prototypes.lerp(mean, 1 - self._config.prototype_decay)
            self.prototypes.copy_(torch.where(self.usage > 0, followed, self.prototypes))

    def _weights(self, logits: Tensor) -> Tensor:
        """y ``[B, S, K]``; rows sum to 1."""
        config = self._config
        if not (self.training or config.gumbel_in_evaluation):
            if config.evaluation_prototype == "argmax":
                return _one_hot(logits)
            return (logits / self.temperature()).softmax(dim=2)
        gumbel = -torch.empty_like(logits).exponential_().log()
        soft = ((logits + gumbel) / self.temperature()).softmax(dim=2)
        return _one_hot(soft) - soft.detach() + soft if config.prototype_choice == "hard" else soft


def _one_hot(weights: Tensor) -> Tensor:
    return torch.zeros_like(weights).scatter(2, weights.argmax(dim=2, keepdim=True), 1.0)
