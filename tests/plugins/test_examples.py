"""The examples in the docstrings of contracts run, and print what they say."""

import doctest
import importlib

import pytest

from springtide.plugins.contracts import (
    Baseline,
    ContextWeight,
    EdgeAggregation,
    Encoder,
    Loss,
    NegativeSampler,
    Task,
)

CONTRACTS = (Baseline, ContextWeight, EdgeAggregation, Encoder, Loss, NegativeSampler, Task)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_contract_has_an_example_that_runs(contract):
    names = vars(importlib.import_module(contract.__module__))
    (example,) = doctest.DocTestFinder(recurse=False).find(contract, contract.__name__, globs=dict(names))
    assert example.examples, f"{contract.__name__}: wanted an example in its docstring"
    said = []
    results = doctest.DocTestRunner().run(example, out=said.append)
    assert results.failed == 0, "".join(said)
