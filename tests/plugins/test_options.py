"""Options are declared by a signature, and what settings give is checked against it."""

import functools
import math
from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field, PositiveInt
from torch_geometric.nn import MaxAggregation, PowerMeanAggregation

from springtide.errors import PluginError, SettingsError
from springtide.plugins.contracts import Loss
from springtide.plugins.options import DeclaredOptions, Option


def make(
    width: int,
    margin: Annotated[float, Field(gt=0, le=2)] = 0.2,
    fanout: PositiveInt | None = 25,
    of: Annotated[tuple[str, ...], Field(min_length=1)] = ("mean",),
    pairs: Literal["all", "hardest"] = "all",
    learn: bool = True,
):
    return locals()


@pytest.fixture
def declared():
    return DeclaredOptions(make, ("width", "make"))


def refusal_of(declared, **options):
    with pytest.raises(SettingsError) as refused:
        declared.validated(options)
    return str(refused.value)


def test_what_is_on_offer_is_no_option(declared):
    assert declared.takes == {"width"}
    assert [option.name for option in declared.options] == ["margin", "fanout", "of", "pairs", "learn"]


def test_types_defaults_and_ranges_are_told_in_words(declared):
    assert declared.options == [
        Option("margin", "number", 0.2, "above 0, at most 2"),
        Option("fanout", "whole number or none", 25, "above 0"),
        Option("of", "list of text", ("mean",), "at least 1 of them"),
        Option("pairs", "'all' or 'hardest'", "all"),
        Option("learn", "true or false", True),
    ]


def test_valid_options_come_as_the_factory_wants_them(declared):
    found = declared.validated({"margin": 1, "of": ["max", "std"], "fanout": "none", "pairs": "hardest"})
    assert found == {"margin": 1.0, "of": ("max", "std"), "fanout": None, "pairs": "hardest"}
    assert isinstance(found["margin"], float)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin": 3.0}, "margin: wanted a number, above 0, at most 2, got 3.0"),
        ({"margin": 0}, "margin: wanted a number, above 0, at most 2, got 0"),
        ({"margin": math.nan}, "margin: wanted a number, above 0, at most 2, got nan"),
        ({"margin": "0.3"}, "margin: wanted a number, above 0, at most 2, got '0.3'"),
        ({"margin": "none"}, "margin: wanted a number, above 0, at most 2, got 'none'"),
        ({"fanout": 2.5}, "fanout: wanted a whole number or none, above 0, got 2.5"),
        ({"of": []}, "of: wanted a list of text, at least 1 of them, got []"),
        ({"of": ["mean", 3]}, "of: wanted a list of text, at least 1 of them, got ['mean', 3]"),
        ({"pairs": "some"}, "pairs: wanted 'all' or 'hardest', got 'some'"),
        ({"learn": 1}, "learn: wanted true or false, got 1"),
        ({"margn": 1}, "no option named 'margn' (did you mean margin? choices: margin, fanout, of, pairs, learn)"),
    ],
)
def test_wrong_option_is_refused_with_what_was_wanted_and_what_came(declared, given, message):
    assert refusal_of(declared, **given) == message


def test_all_wrong_options_are_told_at_once(declared):
    assert refusal_of(declared, margin=3.0, learn=1).count("wanted") == 2


def test_validator_speaks_for_itself():
    def even(value):
        if value % 2:
            raise ValueError("wanted an even number")
        return value

    def make(heads: Annotated[int, AfterValidator(even)] = 2):
        return heads

    assert refusal_of(DeclaredOptions(make, ()), heads=3) == "heads: wanted an even number, got 3"


def test_class_without_a_constructor_has_no_options():
    class Zero(Loss):
        pass

    declared = DeclaredOptions(Zero, ())
    assert declared.options == []
    assert refusal_of(declared, margin=1) == "no option named 'margin' (it takes none)"


def test_bounds_of_what_a_list_holds_are_told():
    def make(half_lives: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (7.0,)):
        return half_lives

    (option,) = DeclaredOptions(make, ()).options
    assert option.wanted == "a list of numbers, at least 1 of them, each above 0"


def test_what_a_partial_sets_is_a_default():
    assert DeclaredOptions(functools.partial(make, margin=0.5), ("width",)).options[0].default == 0.5


def test_pygs_own_classes_declare_their_options():
    assert DeclaredOptions(MaxAggregation, ()).options == []
    assert DeclaredOptions(PowerMeanAggregation, ()).options[0] == Option("p", "number", 1.0)


def test_annotations_that_are_strings_are_found_where_they_were_written():
    names = {"Annotated": Annotated, "Field": Field}
    exec("def make(power: 'Annotated[float, Field(ge=1)]' = 1.0, model: 'float' = 2.0): pass", names)
    assert DeclaredOptions(names["make"], ()).options == [
        Option("power", "number", 1.0, "at least 1"),
        Option("model", "number", 2.0),
    ]


def test_annotations_of_what_is_on_offer_need_not_be_found():
    exec("def make(aggregator: 'NotImportedHere', power: float = 1.0): pass", names := {})
    assert [option.name for option in DeclaredOptions(names["make"], ("aggregator",)).options] == ["power"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("lambda **options: 0", r"takes \*\*options: wanted options by name, each with a type and a default"),
        ("lambda *options: 0", r"takes \*options: wanted options by name"),
        ("lambda x=0, /: 0", "takes x, which has no name to callers"),
        ("lambda power=1.0: 0", "option 'power' has no type: wanted one in the signature"),
        ("with_type_only", "option 'power' has no default: wanted one in the signature"),
        ("with_unknown_type", "type of an option cannot be found: name 'Nowhere' is not defined"),
        ("with_odd_type", "option 'power': wanted a type that settings can give: a number, text"),
        ("with_wrong_default", "default of power: wanted a number, above 0, got 0.0"),
        ("3", "wanted a class or a function, got 3"),
    ],
)
def test_parameter_that_is_no_option_is_refused(code, message):
    names = {"Annotated": Annotated, "Field": Field, "Loss": Loss}
    exec(
        "def with_type_only(power: float): pass\n"
        "def with_unknown_type(power: 'Nowhere' = 1): pass\n"
        "def with_odd_type(power: Loss = None): pass\n"
        "def with_wrong_default(power: Annotated[float, Field(gt=0)] = 0.0): pass\n",
        names,
    )
    with pytest.raises(PluginError, match=message):
        DeclaredOptions(eval(code, names), ())
