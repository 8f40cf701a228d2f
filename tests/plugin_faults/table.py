"""What becomes of a plugin that raises, answers nonsense or blocks, hook by hook: the table of the threat model."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch_geometric.nn import Aggregation

from springtide.plugins.contracts import (
    Baseline,
    ContextWeight,
    EdgeAggregation,
    Encoder,
    EventDecoder,
    Index,
    Loss,
    NegativeSampler,
    Reranker,
    Task,
)
from springtide.plugins.contracts.serving import ServingAggregator, ServingEncoder

_GUARDS, _SERVER = "plugins/test_guarded_parts.py", "integration/test_failing_plugins.py"
_TRAININGS = "services/training/test_failing_trainings.py"


@dataclass(frozen=True)
class Row:
    """Hooks of one kind, and what becomes of each fault; None where there is no such fault.

    Attributes:
        contract: The class whose methods they are.
        kind: Its name for people.
        hooks: The methods.
        raises: What becomes of one that raises.
        nonsense: What becomes of one that answers nonsense: a wrong shape, NaN, another type.
        blocks: What becomes of one that does not return.
        tests: The files of the tests that show it.
    """

    contract: type
    kind: str
    hooks: Sequence[str]
    raises: str
    nonsense: str | None
    blocks: str
    tests: Sequence[str]


_NEUTRAL = "the weight is neutral for that answer"
_SET_ASIDE = "the weight is neutral, and in no checkpoint, until the next start learns it from the graph"
_REST = "; it rests for 10 s and longer"
_REFUSED_TRAINING = "the training fails and says why; the former model serves on"
_KILLED = "the training is ended once it makes no progress for `training.max_silence_s`"

ROWS = (
    Row(
        *(ContextWeight, "context weight"),
        ("bucket", "item_log_lifts", "later_item_log_lifts", "history_log_lifts", "related", "regroup"),
        *(_NEUTRAL, _NEUTRAL, f"after `plugins.max_call_s`, {_NEUTRAL}{_REST}", (_GUARDS, _SERVER)),
    ),
    Row(
        *(
            ContextWeight,
            "context weight",
            ("observe", "unobserve", "forget_rows", "forget_circumstances"),
            _SET_ASIDE,
            None,
        ),
        *(f"after 10 s and 20 µs for each event, {_SET_ASIDE}", (_GUARDS, _SERVER)),
    ),
    Row(
        *(ContextWeight, "context weight", ("adopted",)),
        *["the weight speaks for that model as before any training"] * 2,
        *(f"after 10 s and 0.1 s for each MB, the same{_REST}", (_GUARDS,)),
    ),
    Row(
        *(ContextWeight, "context weight", ("fit",), _REFUSED_TRAINING, _REFUSED_TRAINING, _KILLED, (_TRAININGS,)),
    ),
    Row(ContextWeight, "context weight", ("state",), _SET_ASIDE, _SET_ASIDE, f"after 60 s, {_SET_ASIDE}", (_GUARDS,)),
    Row(
        *(ContextWeight, "context weight", ("restore",), "the start is refused by name", None),
        *("after 10 s and 0.1 s for each MB, the start is refused by name", (_GUARDS,)),
    ),
    Row(
        *(ServingEncoder, "serving half of an encoder", ("layer", "readout")),
        *["users whom the model knows have their vector of the training, others none; new items have none"] * 2,
        *(f"after `plugins.max_call_s`, the same{_REST}", (_GUARDS, _SERVER)),
    ),
    Row(
        *(ServingAggregator, "serving half of an aggregator", ("reduce", "combine")),
        *["as the encoder that it belongs to"] * 3,
        (_GUARDS, _SERVER),
    ),
    Row(
        *(Baseline, "baseline that is served", ("scores",), "the fallback ranks", "the fallback ranks"),
        *(f"after `plugins.max_call_s`, the fallback ranks{_REST}", (_GUARDS,)),
    ),
    Row(
        *(Baseline, "baseline that is served", ("restore", "forget_users")),
        *("the former model serves on, and the status says why", None),
        *("after 10 s and 0.1 s for each MB, the same", (_GUARDS,)),
    ),
    Row(Index, "index", ("build",), "answers are exact", None, "answers are exact meanwhile", (_GUARDS,)),
    Row(
        *(Index, "index", ("search",), "the answer is exact", "the answer is exact"),
        *(f"after `plugins.max_call_s`, the answer is exact{_REST}", (_GUARDS,)),
    ),
    Row(
        *(Reranker, "reranker", ("order",), "the answer has the order of the scores"),
        "the answer has the order of the scores",
        *(f"after `plugins.max_call_s`, the answer has the order of the scores{_REST}", (_GUARDS,)),
    ),
    Row(
        *(EventDecoder, "decoder", ("decode",), "the record is a dead letter", "the record is a dead letter"),
        *("the stream waits; status and health `stream` name the decoder; answers go on", (_GUARDS, _SERVER)),
    ),
    Row(
        *(EventDecoder, "decoder", ("recognises",), "the record is a dead letter", None),
        *("the stream waits; status and health `stream` name the decoder; answers go on", (_GUARDS, _SERVER)),
    ),
    *(
        Row(*(contract, f"{kind}, in a training", hooks, _REFUSED_TRAINING, _REFUSED_TRAINING, _KILLED, (_TRAININGS,)))
        for contract, kind, hooks in (
            (Encoder, "encoder", ("layer", "readout")),
            (Aggregation, "aggregator", ("forward",)),
            (EdgeAggregation, "aggregator of edges", ("combine",)),
            (Loss, "loss", ("forward",)),
            (NegativeSampler, "negative sampler", ("prepare", "draw", "select")),
            (Task, "task", ("prepare", "draw", "forward")),
            (Baseline, "baseline", ("fit", "state")),
        )
    ),
)
INHERITED = {EdgeAggregation: {"forward"}}  # It raises: an aggregator of edges is never asked that way.


def own_hooks(contract: type) -> set[str]:
    """Return the methods that a part of a kind may write for itself."""
    if contract is Aggregation:  # PyG's: `forward` is what it asks of its subclasses.
        return {"forward"}
    named = {name for name, member in vars(contract).items() if callable(member) and not name.startswith("_")}
    return named - INHERITED.get(contract, set())


def as_markdown() -> str:
    """Return the table."""
    lines = ["| part | hooks | raises | answers nonsense | does not return | test |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        hooks = ", ".join(f"`{hook}`" for hook in row.hooks)
        tests = ", ".join(f"[{path.rpartition('/')[2]}](../tests/{path})" for path in row.tests)
        lines.append(f"| {row.kind} | {hooks} | {row.raises} | {row.nonsense or '–'} | {row.blocks} | {tests} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown())
