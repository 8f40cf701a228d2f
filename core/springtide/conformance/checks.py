"""Checks of parts and their results: each failure says what was wanted and what came."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from torch import Tensor, nn

from springtide.errors import PluginError, SettingsError
from springtide.plugins.parts import Plugins
from springtide.settings.model import PartSettings


@dataclass(frozen=True, slots=True)
class Subject:
    """The part under test.

    Attributes:
        kind: Kind of the part.
        wanted: Name and options of the part.
        plugins: Plugins that offer the part, and other parts that it may make.
        offered: Arguments for its factory beside the options.
    """

    kind: str
    wanted: PartSettings
    plugins: Plugins
    offered: dict[str, Any] = field(default_factory=dict)

    def make(self, seed: int = 0) -> Any:
        """Make the part, after setting the seed of torch's generator."""
        torch.manual_seed(seed)
        return self.plugins.make(self.kind, self.wanted, **self.offered)


@dataclass(frozen=True, slots=True)
class Check:
    """Something that every part of a kind must do.

    Attributes:
        name: What must be so, in a few words.
        reason: Why, or in detail, in a sentence.
        run: Raises ``CheckFailed`` if it is not so.
    """

    name: str
    reason: str
    run: Callable[[Subject], None]

    @classmethod
    def of(cls, function: Callable[[Subject], None]) -> "Check":
        """Return the check of a function: its name becomes the name, and the first line of its docstring the reason."""
        return cls(function.__name__.replace("_", " "), (function.__doc__ or "").partition("\n")[0], function)

    def result(self, subject: Subject) -> "CheckResult":
        """Run the check; an error of any type is a failure."""
        try:
            self.run(subject)
        except CheckFailed as error:
            return CheckResult(self, error.wanted, error.got)
        except Exception as error:  # A faulty part may raise anything.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            said = " ".join(str(error).split())
            where = "" if isinstance(error, SettingsError | PluginError) else f" in {frame.filename}:{frame.lineno}"
            return CheckResult(self, "no error", f"{type(error).__name__}: {said}{where}")
        return CheckResult(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Attributes:
        check: The check.
        wanted: What was wanted; empty if the part has passed.
        got: What came instead.
    """

    check: Check
    wanted: str = ""
    got: str = ""

    @property
    def has_passed(self) -> bool:
        """Whether the part has passed the check."""
        return not self.wanted


class CheckFailed(Exception):  # noqa: N818  # a finding about a part, not an error
    """Raised when a part does not pass a check."""

    def __init__(self, wanted: str, got: str) -> None:
        super().__init__(f"wanted {wanted}, got {got}")
        self.wanted = wanted
        self.got = got


def checks_of(*functions: Callable[[Subject], None]) -> Sequence[Check]:
    """Return the checks of functions, in their order."""
    return tuple(Check.of(function) for function in functions)


def expect(is_true: bool, wanted: str, got: object) -> None:
    """Fail the check unless a condition is true."""
    if not is_true:
        raise CheckFailed(wanted, str(got))


def expect_floats(found: object, shape: tuple[int, ...], what: str) -> None:
    """Fail the check unless it is a finite float32 tensor of a shape."""
    expect(isinstance(found, Tensor), f"a tensor as {what}", type(found).__name__)
    assert isinstance(found, Tensor), "just checked"
    expect(tuple(found.shape) == shape, f"{what} of shape {list(shape)}", list(found.shape))
    expect(found.dtype == torch.float32, f"float32 as {what}", str(found.dtype).removeprefix("torch."))
    expect_finite(found, what)


def expect_finite(found: Tensor, what: str) -> None:
    """Fail the check if there is NaN or infinity."""
    num_bad = int((~found.isfinite()).sum())
    expect(num_bad == 0, f"{what} that are finite", f"{num_bad} of {found.numel()} numbers that are not")


def expect_same(found: Tensor, expected: Tensor, what: str, tolerance: float = 1e-4) -> None:
    """Fail the check if numbers differ by more than a tolerance, relative to one plus their size."""
    expect(found.shape == expected.shape, f"{what} of shape {list(expected.shape)}", list(found.shape))
    difference = (found - expected).detach().abs()
    bound = tolerance * (1.0 + expected.abs())
    worst = float(difference.max()) if difference.numel() else 0.0
    expect(bool((difference <= bound).all()), f"the same {what}", f"a difference of {worst:.3g}")


def expect_same_array(found: npt.NDArray[Any], expected: npt.NDArray[Any], what: str, tolerance: float) -> None:
    """Fail the check if arrays differ by more than a tolerance, relative or absolute; strings must be equal."""
    expect(found.shape == expected.shape, f"{what} of shape {list(expected.shape)}", list(found.shape))
    if expected.dtype.kind == "U" or found.dtype.kind == "U":
        expect(bool(np.array_equal(found, expected)), f"the same {what}", "other strings")
        return
    is_same = np.allclose(found, expected, rtol=tolerance, atol=tolerance)
    worst = float(np.abs(found - expected).max()) if found.size else 0.0
    expect(is_same, f"the same {what}", f"a difference of {worst:.3g}")


def expect_gradient(gradient: Tensor | None, what: str) -> None:
    """Fail the check if a gradient is missing, 0, or not finite."""
    expect(gradient is not None, f"a gradient at {what}", "none")
    assert gradient is not None, "just checked"
    expect_finite(gradient, f"gradients at {what}")
    expect(bool(gradient.any()), f"a gradient at {what}", "0")


def expect_parameter_gradients(module: nn.Module) -> None:
    """Fail the check if the gradient of a parameter is missing, 0, or not finite."""
    for name, parameter in module.named_parameters():
        expect_gradient(parameter.grad, f"parameter {name!r}")


def backward_from(outputs: Tensor) -> None:
    """Send gradients back from the squared distance of outputs to random numbers.

    A simpler loss may have no gradient by accident: the sum of normalised outputs, for example, is constant.
    """
    wanted = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4))
    (outputs - wanted).square().sum().backward()  # type: ignore[no-untyped-call]  # torch's own


def load_into(module: nn.Module, saved: nn.Module) -> None:
    """Load into a module what safetensors keeps of another one, as the model registry does."""
    module.load_state_dict(safetensors.torch.load(safetensors.torch.save(saved.state_dict())))
