"""The tests wait for conditions: one that hopes that a busy machine was quick enough is refused here."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SOURCES = [path for path in TESTS.rglob("*.py") if path.relative_to(TESTS).parts[0] not in ("performance", "soak")]
CLOCKS = ("monotonic", "perf_counter", "time")
MIN_LIMIT_S = 5.0  # A machine with eight times as many processes as cores stands still for a second now and then.


def name_of(call: ast.AST) -> str:
    """Return the last part of the name of what is called; empty if it is no call."""
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def fixed_sleeps(tree: ast.AST, in_loop: bool = False) -> Iterator[int]:
    """Yield the lines of sleeps that poll nothing: outside ``while``, and longer than a turn of the event loop."""
    for node in ast.iter_child_nodes(tree):
        if name_of(node) == "sleep" and not in_loop and ast.unparse(node.args[0]) != "0":  # type: ignore[attr-defined]
            yield node.lineno  # type: ignore[attr-defined]
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from fixed_sleeps(node, not is_function and (in_loop or isinstance(node, ast.While)))


def short_limits(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of comparisons that want some wall-clock time to be less than a few seconds."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[-1], ast.Lt | ast.LtE):
            continue
        limit, taken = node.comparators[-1], [node.left, *node.comparators][-2]
        is_time = isinstance(taken, ast.BinOp) and isinstance(taken.op, ast.Sub) and name_of(taken.left) in CLOCKS
        if is_time and isinstance(limit, ast.Constant) and limit.value < MIN_LIMIT_S:
            yield node.lineno


def unexplained(text: str, lines: Iterator[int]) -> list[int]:
    """Return those lines that have no comment, nor one above them."""
    written = text.splitlines()
    return [line for line in lines if "#" not in written[line - 1] and not written[line - 2].strip().startswith("#")]


def unexplained_in_tests(find: Callable[[ast.AST], Iterator[int]]) -> list[str]:
    texts = {path.relative_to(TESTS): path.read_text(encoding="utf-8") for path in SOURCES}
    return [f"{path}:{line}" for path, text in texts.items() for line in unexplained(text, find(ast.parse(text)))]


def test_sleep_polls_a_condition_or_says_why_time_itself_is_wanted() -> None:
    assert unexplained_in_tests(fixed_sleeps) == []


def test_limit_of_wall_clock_time_is_one_that_a_busy_machine_keeps() -> None:
    assert unexplained_in_tests(short_limits) == []


def test_rules_find_what_they_are_for() -> None:
    text = (
        "while not is_so():\n    time.sleep(0.1)\n"
        "time.sleep(0.3)\nasync def f():\n    await asyncio.sleep(0.3)\n    await asyncio.sleep(0)\n"
        "time.sleep(2)  # Nothing may come.\n"
        "assert time.monotonic() - started < 2\nassert 0.2 <= time.monotonic() - started < 1.0\n"
        "assert time.monotonic() - started < 20\nassert time.process_time() - started < 2\n"
    )
    assert unexplained(text, fixed_sleeps(ast.parse(text))) == [3, 5]
    assert unexplained(text, short_limits(ast.parse(text))) == [8, 9]
