"""The index passes the checks of every index, and finds what it is meant to."""

import numpy as np
from my_part import MyPart

from springtide.testing import check_index


def test_it_passes_the_checks_of_its_kind() -> None:
    """With its default options and with others."""
    check_index(MyPart)
    check_index(MyPart, num_searched=2)


def test_the_nearest_are_found() -> None:
    """Item 2 points where the vector does, item 0 almost; item 1 is not indexed."""
    index = MyPart()
    vectors = np.array([[0.8, 0.6], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    index.build(vectors, np.array([0, 2, 3], np.int32), lambda: True)

    assert sorted(index.search(np.array([1.0, 0.0], np.float32), count=2).tolist()) == [0, 2]
