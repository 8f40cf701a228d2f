"""The table of a model's exponents: how much each context weight counts, and how sure that is."""

from rich.table import Table

from springtide_services.evaluation.report import Report

_MISSING = "–"


def exponents_table(report: Report, dataset: str, model: str) -> Table | None:
    """Return a table with a row for each factor of a model, new items beside items the user had; None without any.

    Args:
        report: What was measured; of several seeds and blocks, the last fit is shown.
        dataset: Name of the data set.
        model: Name of the model.
    """
    found = report.exponents(dataset, model)
    if not found:
        return None
    table = Table(title=f"{dataset}: exponents of {model}, ± standard error", title_justify="left", box=None)
    table.add_column("factor")
    for heading in ("new items", "seen items"):
        table.add_column(heading, justify="right")
    for name, exponent in found.items():
        table.add_row(name, _cell(exponent.unseen, exponent.unseen_error), _cell(exponent.seen, exponent.seen_error))
    return table


def _cell(exponent: float, error: float | None) -> str:
    return f"{exponent:.3f} ± {_MISSING if error is None else f'{error:.3f}'}"
