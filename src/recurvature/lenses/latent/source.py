"""The paper that this lens stands on."""

from recurvature._result import Citation

DINC = Citation(
    "dinc2025latent",
    "Dinc et al. (2025). Latent computing by biological neural networks: a dynamical systems framework.",
    "https://arxiv.org/abs/2502.14337",
)
