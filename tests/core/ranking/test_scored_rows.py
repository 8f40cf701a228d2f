"""Tests of the loop that scores some rows: those that may be in an answer, as the search scores them."""

import numpy as np
import pytest

from springtide.ranking import kernels


def _asked(num_items: int) -> dict[str, object]:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(num_items, 24)).astype(np.float32)
    return {
        "num_items": num_items,
        "user": vectors[0] / 3,
        "factor": 2.5,
        "vectors": vectors,
        "values": random.normal(size=num_items).astype(np.float32),
        "allowed": random.random(num_items) < 0.8,
        "masked": np.array([2, 9], np.int32),
        "excluded": np.array([4, 11], np.int32),
        "apart_rows": np.array([5, 6, 7], np.int32),
        "apart_scores": np.array([9.0, -9.0, 0.5], np.float32),
    }


def test_some_rows_score_as_the_search_scores_them_to_the_last_bit() -> None:
    asked = _asked(50)
    rows, scores, cosines = kernels.scored_rows(np.arange(50, dtype=np.int32), **asked)  # type: ignore[arg-type]
    found = kernels.best_rows(count=50, longest=10.0, order=None, highest=np.inf, coarse=None, **asked)  # type: ignore[arg-type]
    by_row = dict(zip(found[0].tolist(), zip(found[1].tolist(), found[2].tolist(), strict=True), strict=True))
    assert len(rows) == len(by_row) > 20
    assert by_row == dict(zip(rows.tolist(), zip(scores.tolist(), cosines.tolist(), strict=True), strict=True))


def test_rows_that_are_none_and_rows_that_are_left_out_have_no_score() -> None:
    asked = {**_asked(20), "allowed": None}
    given = np.array([19, -1, 20, 2, 4, 7, 3], np.int32)
    rows, scores, _ = kernels.scored_rows(given, **asked)  # type: ignore[arg-type]
    assert rows.tolist() == [19, 7, 3]
    assert scores[1] == np.float32(0.5)


def test_without_a_user_the_values_are_the_scores() -> None:
    asked = {**_asked(20), "user": None, "vectors": None, "allowed": None}
    rows, scores, cosines = kernels.scored_rows(np.array([3, 1], np.int32), **asked)  # type: ignore[arg-type]
    assert scores.tolist() == asked["values"][rows].tolist()  # type: ignore[index]
    assert not cosines.any()


def test_too_few_values_are_refused() -> None:
    asked = {**_asked(20), "values": np.zeros(19, np.float32)}
    with pytest.raises(ValueError, match="wanted 20 values"):
        kernels.scored_rows(np.array([3], np.int32), **asked)  # type: ignore[arg-type]
