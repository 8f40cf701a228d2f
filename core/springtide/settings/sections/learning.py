"""Sections about learning: what a model is made of, how and when it is trained, and which models may serve."""

from typing import Annotated, Literal

from pydantic import Field

from springtide.settings.sections.base import Options, Part, PartSettings, Positive, Section, Table


class TaskSettings(PartSettings):
    """A task that the training learns beside link prediction."""

    weight: Positive = 0.1
    """Factor by which the task's loss is multiplied before it is added to the main loss."""
    batch: Annotated[int, Field(ge=1)] = 256
    """Number of examples of the task in each training step."""


class ModelSettings(Section):
    """What a model is made of, and where models are kept."""

    url: str = "springtide-state/models"
    """Model registry: a folder or a URL, such as `s3://bucket/models` (with the extra `s3`)."""
    keep: Annotated[int, Field(ge=2)] = 10
    """Number of model versions kept in the registry. Older ones are deleted, except the version that serves and those
    promoted last."""
    forget_every_s: Annotated[float, Field(ge=0)] = 300.0
    """Least time in seconds between two looks through the versions for deleted users and items, which are taken out of
    them. A look comes after the checkpoint that holds the deletion. Lower it if deletions must be through sooner; each
    look that finds some reads and writes versions anew, and loads the one that serves."""
    width: Annotated[int, Field(ge=2, le=4096)] = 64
    """Number of dimensions of the vectors. More can hold more, at the price of memory, training time and overfitting
    on little data."""
    num_layers: Annotated[int, Field(ge=1, le=8)] = 2
    """Number of message-passing layers: how many edges away a node is seen."""
    encoder: Part = PartSettings(name="lightgcn")
    """Graph neural network that turns nodes and edges into vectors."""
    aggregator: Part | None = None
    """How an encoder combines the messages of neighbours. `none` takes the one that suits the encoder. Give a list to
    use several: `aggregator = ["mean", "max"]`."""
    loss: Part = PartSettings(name="reconstruction")
    """Loss that ranks the items of a user's positive interactions above sampled negatives."""
    negatives: Part = PartSettings(name="popularity")
    """Negative sampler: how items are drawn that stand for those a user did not choose."""
    tasks: Table[TaskSettings] = {}
    """Tasks learned beside link prediction, each a table under a key of your choice, such as `[model.tasks.genre]`."""
    texts: Literal["none", "hashed"] = "none"
    """Whether models read text attributes, such as titles. `hashed` makes one vector of a node's texts, of the hashes
    of their words and parts of words, so that an item that nobody has had yet is placed beside those whose texts are
    like its own. To use a sentence model, send its vectors as attributes instead (`nodeUpsert.vectors`)."""
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of nodes whose id embedding is left out of a training step. Raise it (0.1 to 0.3) where many users or items
    are new when they are served, so that attributes and neighbours are learned to stand in for the embedding."""


class TrainingSettings(Section):
    """When models are trained, and how. Nothing is trained while the graph has not changed.

    There are three kinds of training. A retraining starts from scratch. A fine-tuning continues from the latest
    vectors. A refit learns only the exponents of the context weights and keeps the vectors.
    """

    retrain_every_s: Positive | None = 86_400.0
    """Time between two retrainings, in seconds. `none` leaves it to `retrain_after_events`."""
    retrain_after_events: Annotated[int, Field(ge=1)] | None = 1_000_000
    """Number of new interactions after which a model is retrained. `none` leaves it to `retrain_every_s`."""
    fine_tune_every_s: Positive | None = 3_600.0
    """Time between two trainings of any kind but a refit, in seconds, after which the model is fine-tuned. `none`
    leaves it to `fine_tune_after_events`."""
    fine_tune_after_events: Annotated[int, Field(ge=1)] | None = 100_000
    """Number of new interactions after which the model is fine-tuned. `none` leaves it to `fine_tune_every_s`."""
    refit_every_s: Positive | None = 900.0
    """Time in seconds after which the exponents are learned anew. `none` leaves it to `refit_after_events`."""
    refit_after_events: Annotated[int, Field(ge=1)] | None = 20_000
    """Number of new interactions after which the exponents are learned anew. `none` leaves it to `refit_every_s`."""
    min_refit_events: Annotated[int, Field(ge=50)] = 1_000
    """Fewest new interactions for a refit. Below about a hundred for each exponent, a refit learns noise."""
    min_interactions: Annotated[int, Field(ge=1)] = 100
    """Fewest positive interactions for a first model; until then nothing is trained."""
    first_model_pause_s: Positive | None = 2.0
    """Pause in the stream, in seconds, after which the first model is trained, once there are `min_interactions`: a
    burst of events is read to its end first. `none` trains it on the next checkpoint (`checkpoint.every_s`)."""
    first_model_max_wait_s: Annotated[float, Field(ge=0)] = 30.0
    """Longest wait for such a pause, in seconds, once there are `min_interactions`."""
    steps: Annotated[int, Field(ge=1)] = 400
    """Number of optimiser steps of a retraining. `min_passes` can raise it."""
    fine_tune_steps: Annotated[int, Field(ge=1)] = 40
    """Number of optimiser steps of a fine-tuning, and of the last part of a retraining, which learns the latest
    interactions. `min_passes` can raise it."""
    min_passes: Annotated[float, Field(ge=0)] = 2.0
    """Fewest passes over all users in a training, even if this takes more steps. 0 lets the steps alone decide."""
    batch_users: Annotated[int, Field(ge=1)] = 512
    """Most users in a training step. Where there are few, a quarter of them, but no fewer than 256. Lower it if a
    training runs out of memory."""
    edges_per_user: Annotated[int, Field(ge=1)] = 64
    """Most positive interactions drawn for each user of a step. Where users have fewer on average, as many as they
    have, but no fewer than 16."""
    num_negatives: Annotated[int, Field(ge=1)] = 4_096
    """Most negative items in a step; all users of the step share them. Where items are few, half as many as there are,
    but no fewer than 256."""
    learning_rate: Positive = 0.02
    """Learning rate of Adam: the factor on each step. Lower it if the loss jumps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of Adam: the factor of the L2 penalty. Raise it if the model overfits."""
    rating_types: tuple[str, ...] = ("rating",)
    """Interaction types whose value is a rating. The values of other types, such as the quantity of a purchase, are
    not."""
    edge_half_life_days: Positive | None = 120.0
    """Half-life of an edge's weight in the graph, in days. `none` lets edges never fade. Shorten it where interests
    change fast."""
    sampling_half_life_days: Positive | None = None
    """Half-life, in days, of the chance that an edge is drawn when an encoder samples neighbours. `none` draws
    uniformly. It has no effect on encoders that see all neighbours."""
    positive_half_life_days: Positive | None = 90.0
    """Half-life, in days, of the chance that an interaction is drawn as a positive. `none` draws all ages alike.
    Shorten it where the latest behaviour predicts best."""
    passed_over_weight: Annotated[float, Field(ge=0)] = 0.0
    """Factor on the loss of what users were shown (`feedback = "shown"`) beside what they chose within half an hour,
    and passed over. `0` learns nothing from it: on simulated markets 0.1 did not help, and 0.5 was worse. Try it where
    nearly all that is chosen comes from answers, and let the gate judge."""
    exponent_slice: Annotated[float, Field(gt=0, lt=0.5)] = 0.07
    """Share of the interactions, the latest, that the exponents and the gate are measured on before the vectors learn
    it too. It is widened where it holds too few interactions of known users and items."""
    live_exponents: bool = True
    """Whether the exponents are learned with the context weights as of each interaction, as when serving. If false, the
    context weights stand still at the start of the slice."""
    replay_ratio: Annotated[float, Field(ge=0)] = 1.0
    """Number of old interactions replayed per new one in a fine-tuning. Raise it if fine-tuned models forget."""
    max_fine_tune_gap: Positive = 0.02
    """Share of NDCG@20 by which fine-tuned vectors may be worse than retrained ones. Beyond it, the next training is a
    retraining."""
    max_silence_s: Positive | None = 3_600.0
    """Longest time that a scheduled training may take without a step forward, in seconds: then it hangs, is ended, and
    is tried again. `none` waits for ever. Raise it if a single step, such as fitting a slow baseline, takes longer."""
    device: str = "cpu"
    """PyTorch device of the trainer, such as `cpu` or `cuda:0`."""
    num_threads: Annotated[int, Field(ge=1)] | None = None
    """Number of CPU threads of the trainer. `none` leaves it to PyTorch, which takes all cores."""
    niceness: Annotated[int, Field(ge=0, le=19)] = 10
    """How far the trainer gives way to other processes: the niceness level of Unix, 0 to 19. Keep it high where trainer
    and server share a machine."""
    seed: int = 0
    """Seed of all random numbers. The same seed, data and thread count give the same model on a CPU."""


class GateSettings(Section):
    """Which models may serve: a new model is compared with the one that serves and with baselines."""

    is_on: bool = True
    """Whether models are compared. If false, every trained model serves at once."""
    baselines: Table[Options] = {
        name: {} for name in ("recent_popularity", "decayed_own_counts", "tifu_knn", "item_knn")
    }
    """Baselines that a model must not fall behind, by name, each with its options. If one is better than every model,
    it serves instead."""
    num_questions: Annotated[int, Field(ge=2)] = 1_000
    """Number of held-out interactions that the comparison predicts, spread evenly over the latest slice. More give a
    surer verdict and take longer. A baseline is asked fewer of them where it is certain that the rest would not change
    the verdict: in 99 of 100 cases at least, the verdict is that of all."""
    min_questions: Annotated[int, Field(ge=2)] = 200
    """Fewest held-out interactions for a comparison. With fewer, a model is promoted without one."""
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Level of the one-sided test against the model that serves: a new model is rejected if the probability that it is
    worse by chance alone is below it. Lower it if good models are rejected."""
    segment: Literal["all", "new"] = "all"
    """Interactions that are compared: `all`, or `new` for those with items that the user had not had before."""
