"""A variational autoencoder of what users have had; fitted with torch, asked with NumPy alone."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from springtide.plugins.contracts import History, Observed
from springtide_plugins.baselines.histories import HistoryEvents, scaled_below_one
from springtide_plugins.baselines.popularity import Popularity


class MultVAE(Popularity):
    """Mult-VAE-PR: which items a user has had, through a narrow latent vector, by a multinomial likelihood.

    Liang, Krishnan, Hoffman and Jebara 2018, Variational Autoencoders for Collaborative Filtering: equations 2 to 8,
    with the partially regularised objective of section 2.2.2. The user's history is encoded at each request, so that an
    event of a second ago counts, and users that came after the fit are answered like the others. Popularity answers
    users without any known item.

    Args:
        hidden: Width of the one hidden layer of the encoder, and of that of the decoder.
        latent: Width of the latent vector.
        steps: Number of batches of users.
        batch_users: Users in a batch, at most.
        learning_rate: Learning rate of Adam.
        dropout: Share of a user's items that are hidden from the encoder in training.
        most_kl: Weight of the Kullback-Leibler divergence at the end; it grows from 0.
        annealed_share: Share of the steps after which that weight is reached.
        seed: Seed of the initial weights, the batches and the noise.
        num_threads: Number of threads of the fit; with another number, its sums are rounded otherwise.
    """

    learned: ClassVar[tuple[str, ...]] = (
        "num_users_of", "encoder_in", "encoder_in_bias", "encoder_out", "encoder_out_bias",
        "decoder_in", "decoder_in_bias", "decoder_out", "decoder_out_bias",
    )  # fmt: skip
    encoder_in: npt.NDArray[np.float32]  # [num_items, hidden]
    encoder_in_bias: npt.NDArray[np.float32]  # [hidden]
    encoder_out: npt.NDArray[np.float32]  # [hidden, latent], of the mean alone: requests take no sample.
    encoder_out_bias: npt.NDArray[np.float32]  # [latent]
    decoder_in: npt.NDArray[np.float32]  # [latent, hidden]
    decoder_in_bias: npt.NDArray[np.float32]  # [hidden]
    decoder_out: npt.NDArray[np.float32]  # [hidden, num_items]
    decoder_out_bias: npt.NDArray[np.float32]  # [num_items]

    def __init__(
        self,
        hidden: PositiveInt = 200,
        latent: PositiveInt = 64,
        steps: PositiveInt = 300,
        batch_users: PositiveInt = 500,
        learning_rate: PositiveFloat = 1e-3,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        most_kl: NonNegativeFloat = 0.2,
        annealed_share: Annotated[float, Field(gt=0, le=1)] = 0.5,
        seed: NonNegativeInt = 0,
        num_threads: PositiveInt = 1,
    ) -> None:
        self.hidden = hidden
        self.latent = latent
        self.steps = steps
        self.batch_users = batch_users
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.most_kl = most_kl
        self.annealed_share = annealed_share
        self.seed = seed
        self.num_threads = num_threads

    def fit(self, interactions: Observed, num_users: int, num_items: int) -> None:
        """Learn the weights of encoder and decoder."""
        # They import torch, which serving does not need.
        from springtide_plugins.baselines.mult_vae_fit import fitted_weights
        from springtide_plugins.baselines.torch_threads import torch_threads

        seen = self.count_users(interactions, num_users, num_items)
        with torch_threads(self.num_threads):
            weights = fitted_weights(seen, self)
        for name, weight in weights.items():
            setattr(self, name, weight)

    def scores(
        self, user_rows: npt.NDArray[np.int64], histories: Sequence[History], now_ms: int
    ) -> npt.NDArray[np.float32]:
        """Return the decoder's logits for each history; popularity for users without known items."""
        seen = HistoryEvents.of(histories, self.num_items).seen(now_ms)
        counts = np.diff(seen.indptr)
        hidden = seen @ self.encoder_in / np.sqrt(np.maximum(counts, 1))[:, None]  # [n, hidden]; inputs of length 1.
        latent = np.tanh(hidden + self.encoder_in_bias) @ self.encoder_out + self.encoder_out_bias  # [n, latent]
        hidden = np.tanh(latent @ self.decoder_in + self.decoder_in_bias)  # [n, hidden]
        scores = (hidden @ self.decoder_out + self.decoder_out_bias).astype(np.float32)  # [n, num_items]
        scores[counts == 0] = scaled_below_one(self.num_users_of)
        return scores
