"""Whose mean over all questions is higher, told from a random part of them with a known chance of error.

After Waudby-Smith & Ramdas, "Confidence sequences for sampling without replacement" (2020) and "Estimating means of
bounded random variables by betting" (2024). A gambler starts with 1 and bets, at each question that is drawn, that our
mean is above theirs. The odds are fair if the two means are equal, and nobody may bet more than they have. If our mean
is not above theirs, the gambler ever has ``1 / error`` or more with a probability of at most ``error`` (Ville's
inequality, 1939). So once the gambler is that rich, our mean is above theirs, with that chance of error; and we may
look after each question. This holds however few the questions are and however they depend on each other: all that is
random is their order.
"""

import math

import numpy as np
import numpy.typing as npt

Float64s = npt.NDArray[np.float64]

_STAKES = np.array([0.1, 0.3, 0.9])  # Of the money, if a metric differs by 1; equal parts of the money are bet at each.
_SHARES_OF_OURS = np.array([0.5, 1.0])  # How much of our metric is taken off theirs, see ``Lead``.
_MOST = 0.9  # The greatest share of the money that one question may take.


class Lead:
    """Whose mean is higher, ours or theirs, while theirs is asked one question after the other.

    Our metric is known for all questions. Theirs is near ours where a question is easy, so what is bet on is theirs
    less a share of ours, whose mean is known: it varies less. Which share is best is not known; the money is split.

    Args:
        ours: float64 ``[n]``, our metric of all questions, each from 0 to 1.
        error: The probability that ``sign`` is wrong at any time, if the questions are asked in random order.

    Attributes:
        sign: 1 if our mean is higher, -1 if theirs is; 0 as long as that is not certain. Once it is not 0, it stays.
    """

    def __init__(self, ours: Float64s, error: float) -> None:
        self.sign = 0
        self._ours = ours
        self._mean = float(ours.mean())
        self._needed = math.log(1.0 / error)
        self._num_asked = 0
        self._sums = np.zeros(len(_SHARES_OF_OURS))  # Of the differences so far.
        # Logarithms of the money: that we are ahead, and that they are; by share and stake.
        self._money = np.full((2, len(_SHARES_OF_OURS), len(_STAKES)), -math.log(len(_SHARES_OF_OURS) * len(_STAKES)))

    def add(self, questions: npt.NDArray[np.int64], theirs: Float64s) -> None:
        """Take their metric of the next questions.

        Args:
            questions: int64 ``[k]``, positions in ``ours``, in the order of asking, none asked before.
            theirs: float64 ``[k]``, each from 0 to 1.
        """
        ours, shares = self._ours[questions], _SHARES_OF_OURS[:, None]
        differences = shares * ours + (1.0 - shares) * self._mean - theirs  # [num_shares, k]; their mean is the lead.
        before = self._sums[:, None] + np.cumsum(differences, axis=1) - differences
        left = len(self._ours) - self._num_asked - np.arange(len(questions))
        for side, money in zip((1.0, -1.0), self._money, strict=True):
            # If the means were equal, the mean of the questions that are left.
            fair = -side * before / left  # [num_shares, k]
            # What is left of the money after the worst question, where the difference is -1, is no less than a tenth.
            # The fewer questions are left, the surer is their mean.
            most = _MOST / np.maximum(1.0 + fair, 1e-9)
            stakes = np.minimum(_STAKES[:, None] * (len(self._ours) / left), most[:, None, :])  # [shares, stakes, k]
            with np.errstate(divide="ignore"):
                grown = np.log1p(stakes * (side * differences - fair)[:, None, :])
            of_bets = money[:, :, None] + np.cumsum(grown, axis=2)
            if (
                self.sign == 0
                and np.logaddexp.reduce(of_bets.reshape(-1, len(questions)), axis=0).max() >= self._needed
            ):
                self.sign = int(side)
            money[:] = of_bets[:, :, -1]
        self._sums += differences.sum(axis=1)
        self._num_asked += len(questions)
