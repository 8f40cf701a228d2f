"""Checks, what they find, and what they say: each tells what it wanted and what came."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from springtide.errors import PluginError, SettingsError
from springtide.plugins.parts import Plugins
from springtide.settings.model import PartSettings


@dataclass(frozen=True, slots=True)
class Subject:
    """The part that is checked.

    Attributes:
        kind: Its kind.
        wanted: Its name, and its options.
        plugins: They offer it, and what it may ask for.
        offered: What is handed to it unless a check hands it something else.
    """

    kind: str
    wanted: PartSettings
    plugins: Plugins
    offered: dict[str, Any] = field(default_factory=dict)

    def make(self, **offered: Any) -> Any:
        """Make it under seed 0."""
        torch.manual_seed(0)
        return self.plugins.make(self.kind, self.wanted, **{**self.offered, **offered})


@dataclass(frozen=True, slots=True)
class Check:
    """Something that every part of a kind must do.

    Attributes:
        name: In a few words.
        reason: What it wants, and why, in a sentence.
        run: Raises ``NotKept`` if a part does not do it.
    """

    name: str
    reason: str
    run: Callable[[Subject], None]

    @classmethod
    def of(cls, function: Callable[[Subject], None]) -> "Check":
        """Return the check that a function makes: its name is the check's, its docstring tells the reason."""
        return cls(function.__name__.replace("_", " "), (function.__doc__ or "").partition("\n")[0], function)

    def result(self, subject: Subject) -> "CheckResult":
        """Run the check."""
        try:
            self.run(subject)
        except NotKept as error:
            return CheckResult(self, error.wanted, error.got)
        except Exception as error:  # A part may fail in any way: that is what is to be found out.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())
            where = "" if isinstance(error, SettingsError | PluginError) else f" in {frame.filename}:{frame.lineno}"
            return CheckResult(self, "no error", f"{type(error).__name__}: {said}{where}")
        return CheckResult(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: The check.
        wanted: What was expected; empty if it is kept.
        got: What came instead.
    """

    check: Check
    wanted: str = ""
    got: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the part does what is wanted."""
        return not self.wanted


class NotKept(Exception):  # noqa: N818  # a finding, not an error of ours
    """Raised when a part does not do what a check wants."""

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(f"wanted {wanted}, got {got}")
        self.wanted = wanted
        self.got = got


def checks_of(*functions: Callable[[Subject], None]) -> Sequence[Check]:
    """Return the checks that functions make, in their order."""
    return tuple(Check.of(function) for function in functions)


def expect(is_kept: bool, wanted: str, got: object) -> None:
    """Refuse what is not as wanted."""
    if not is_kept:
        raise NotKept(wanted, str(got))


def expect_floats(found: object, shape: tuple[int, ...], what: str) -> None:
    """Refuse what is not a finite float32 tensor of a shape."""
    expect(isinstance(found, Tensor), f"a tensor as {what}", type(found).__name__)
    assert isinstance(found, Tensor), "just checked"
    expect(tuple(found.shape) == shape, f"{what} of shape {list(shape)}", list(found.shape))
    expect(found.dtype == torch.float32, f"float32 as {what}", str(found.dtype).removeprefix("torch."))
    expect_finite(found, what)


def expect_finite(found: Tensor, what: str) -> None:
    """Refuse NaN and infinity."""
    num_bad = int((~found.isfinite()).sum())
    expect(num_bad == 0, f"{what} that are finite", f"{num_bad} of {found.numel()} numbers that are not")


def expect_same(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """Refuse numbers that differ by more than rounding."""
    expect(found.shape == expected.shape, f"{what} of shape {list(expected.shape)}", list(found.shape))
    difference = (found - expected).detach().abs()
    bound = tolerance * (1.0 + expected.abs())
    worst = float(difference.max()) if difference.numel() else 0.0
    expect(bool((difference <= bound).all()), f"the same {what}", f"a difference of {worst:.3g}")


def expect_same_array(found: npt.NDArray[Any], expected: npt.NDArray[Any], what: str, tolerance: float) -> None:
    """Refuse arrays that differ by more than a tolerance, relative or absolute; words must be the same."""
    expect(found.shape == expected.shape, f"{what} of shape {list(expected.shape)}", list(found.shape))
    if expected.dtype.kind == "U" or found.dtype.kind == "U":
        expect(bool(np.array_equal(found, expected)), f"the same {what}", "other words")
        return
    is_same = np.allclose(found, expected, rtol=tolerance, atol=tolerance)
    worst = float(np.abs(found - expected).max()) if found.size else 0.0
    expect(is_same, f"the same {what}", f"a difference of {worst:.3g}")


def expect_gradient(gradient: Tensor | None, what: str) -> None:
    """Refuse a gradient that does not arrive, is 0, or is not finite."""
    expect(gradient is not None, f"a gradient at {what}", "none")
    assert gradient is not None, "just checked"
    expect_finite(gradient, f"gradients at {what}")
    expect(bool(gradient.any()), f"a gradient at {what}", "0")
