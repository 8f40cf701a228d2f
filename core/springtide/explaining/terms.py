"""Why an item has its rank: all terms of its score, and the strongest reasons in words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from springtide.errors import InvalidRequestError
from springtide.explaining.reasons import FactorTerm, doubt_of, habit_of, sentence_of
from springtide.explaining.templates import Templates, english
from springtide.interactions import History, Moment
from springtide.model.exponents import TermExponents
from springtide.plugins.contracts import ContextWeight, Factor
from springtide.ranking.binding import BoundQuery
from springtide.ranking.dislikes import DISLIKE
from springtide.ranking.query import Personalization, Query
from springtide.ranking.scoring import Scorer, cosine_of
from springtide.ranking.weights import settle


@dataclass(frozen=True, slots=True)
class Explanation:
    """All terms of one item's score.

    Attributes:
        item_id: The item.
        score: ``cosine`` times ``cosine_exponent``, plus what the terms add. If a baseline ranks, its score.
        rank: The item's rank among all items, 1 for the best; 0 if it is left out, by a rule or as it is not to be had.
        cosine: Cosine of the user's and the item's vectors, -1 to 1.
        cosine_exponent: Factor of the cosine; it differs for seen and unseen items.
        terms: Every factor of every context weight, in their order.
        sentence: The strongest reasons in words, and whether the user's dislikes speak against it; empty if nothing
            speaks for the item or against it.
        personalization: What the answer knows of the user.
        model_version: Version that gave cosine and exponents; empty for the fallback.
    """

    item_id: str
    score: float
    rank: int
    cosine: float
    cosine_exponent: float
    terms: tuple[FactorTerm, ...]
    sentence: str
    personalization: Personalization
    model_version: str

    @property
    def weights(self) -> dict[str, tuple[FactorTerm, ...]]:
        """The terms of each context weight, by its name."""
        names = dict.fromkeys(term.weight for term in self.terms)
        return {name: tuple(term for term in self.terms if term.weight == name) for name in names}


def explain(scorer: Scorer, query: Query, item_id: str, words: Templates | None = None) -> Explanation:
    """Return all terms of the score of one item, and the strongest reasons in words.

    Args:
        scorer: Scores the items.
        query: Its ``count`` does not matter.
        item_id: The item.
        words: The language of the reasons; English if None.

    Raises:
        InvalidRequestError: If the item, or something that the query names, is unknown.
    """
    words = words or english()
    serving = scorer.serving
    row = scorer.items.ids.row(item_id)
    if not scorer.has_row(row):
        raise InvalidRequestError("item", f"no item with the id {item_id!r}")
    scored = replace(scorer, lifeless=None).score([query])  # Whoever asks about an item asks for it.
    [scores], [user], [bound] = scored.scores, scored.users, scored.queries
    steered = steered_terms(bound, row)
    rank = 1 + int((scores > scores[row]).sum()) if np.isfinite(scores[row]) else 0
    [lowered] = scored.lowered_items
    is_disliked = bool((lowered.disliked.rows == row).any())
    if serving.baseline is not None:
        disliked = words.say("terms.disliked") if is_disliked else ""
        return Explanation(
            item_id=item_id,
            score=float(scores[row] if rank else scorer.score([query], leaves_out=False).scores[0, row]),
            rank=rank,
            cosine=0.0,
            cosine_exponent=0.0,
            terms=steered,
            sentence=words.say("sentence.separator").join(
                filter(None, (words.say("terms.baseline", baseline=serving.baseline.baseline.name), disliked))
            ),
            personalization=user.personalization,
            model_version=serving.version,
        )
    history = scorer.history_at(user.history, bound)
    habit = habit_of(history, row, bound.moment.timestamp_ms)
    exponents = serving.exponents.unseen if habit is None else serving.exponents.seen
    terms = factor_terms(scorer.state.context_weights, exponents, history, bound.moment, row, scorer.num_items)
    lowered_by = float(lowered.logs[lowered.disliked.rows == row].sum())
    if len(lowered.logs):
        terms += (FactorTerm(DISLIKE, Factor(DISLIKE), lowered_by, 1.0),)
    reasons_of = terms
    terms += steered
    cosines = cosine_of(serving.table, user, np.arange(scorer.num_items))
    cosine = float(cosines[row])
    is_liked = user.liking is not None
    # An item that is nearer than most, but not near, suits nobody.
    cosine_gain = exponents.cosine * min(cosine, cosine - float(cosines.mean()))
    reasons = sentence_of(reasons_of, cosine_gain, habit, is_liked=is_liked, words=words)
    before = float(serving.table.vectors[row] @ user.liking) if serving.table and is_liked else 0.0
    doubts = doubt_of(lowered_by, exponents.cosine * (cosine - before), words)
    return Explanation(
        item_id=item_id,
        score=exponents.cosine * cosine + sum(term.log_weight for term in terms),
        rank=rank,
        cosine=cosine,
        cosine_exponent=exponents.cosine,
        terms=terms,
        sentence=words.say("sentence.doubt").join(filter(None, (reasons, doubts))),
        personalization=user.personalization,
        model_version=serving.version,
    )


def steered_terms(bound: BoundQuery, row: int) -> tuple[FactorTerm, ...]:
    """Return what rules and a booster add to the score of one item; nothing where there are none."""
    if not bound.added:
        return ()
    rows = np.array([row], np.int32)
    return tuple(
        FactorTerm(name, Factor(name), float(log), 1.0) for boosts in bound.added for name, [log] in boosts.named(rows)
    )


def factor_terms(
    weights: Mapping[str, ContextWeight],
    exponents: TermExponents,
    history: History,
    moment: Moment,
    row: int,
    num_items: int,
) -> tuple[FactorTerm, ...]:
    """Return every factor of every context weight for one item, those with exponent 0 too.

    Args:
        weights: By name.
        exponents: Exponents for seen or for unseen items, whichever the item is.
        history: The user's history.
        moment: Moment and circumstances.
        row: The item's row, below ``num_items``.
        num_items: Number of items that are ranked.
    """
    settle(weights)
    items, _ = history.distinct()
    position = int(np.searchsorted(items, row))
    is_seen = position < len(items) and items[position] == row
    terms = []
    for name, weight in weights.items():
        log_lifts = np.zeros(len(weight.factors))
        if (item_side := weight.item_log_lifts(moment, num_items)) is not None:
            log_lifts += item_side[:, row]
        if is_seen and (history_side := weight.history_log_lifts(history, moment)) is not None:
            log_lifts += history_side[:, position]
        terms += [
            FactorTerm(name, factor, float(log_lift), float(exponent))
            for factor, log_lift, exponent in zip(weight.factors, log_lifts, exponents.of(name, weight), strict=True)
        ]
    return tuple(terms)
