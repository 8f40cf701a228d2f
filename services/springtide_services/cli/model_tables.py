"""What the `models` commands print: models with the gate's verdicts and reports, exponents, and the audit log."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from springtide.clock import MS_PER_SECOND
from springtide.model.manifest import ModelManifest, UnreadableManifest
from springtide.model.registry import ModelStore
from springtide.settings.model import Settings
from springtide_services.terminal import console

_CHAMPION = "champion"


def show_models(settings: Settings) -> None:
    """Print the models of the registry, newest first; below the table, the reasons why some cannot be read."""
    store = _store(settings)
    manifests = store.manifests()
    current = store.current()
    if not manifests:
        console().print(f"no models yet in {settings.model.url}")
        return
    table = Table(
        *("version", "serves", "made", "by", "interactions", "gate", "NDCG@20", "best baseline", "against champion"),
        box=None,
        pad_edge=False,
    )
    for manifest in manifests:
        serves = "yes" if manifest.version == current else ""
        if isinstance(manifest, UnreadableManifest):
            table.add_row(manifest.version, serves, "unreadable")
            continue
        gate = manifest.gate
        table.add_row(
            manifest.version,
            serves,
            _when(manifest.created_ms),
            _made_by(manifest),
            _num_interactions(manifest),
            gate.get("verdict", ""),
            _mean_of("candidate", gate),
            _best_baseline(gate),
            _against_champion(gate),
        )
    console().print(table)
    for manifest in manifests:
        if isinstance(manifest, UnreadableManifest):
            console().print(f"{manifest.version} is unreadable: {escape(manifest.reason)}", soft_wrap=True)


def show_model(settings: Settings, version: str) -> None:
    """Print a model: how it was made, the gate's report, its exponents with their standard errors.

    Raises:
        ModelError: If there is no such version, or it cannot be read.
    """
    store = _store(settings)
    manifest = store.manifest(version)
    about = Table(box=None, pad_edge=False, show_header=False)
    about.add_row("version", version + (" (serves)" if version == store.current() else ""))
    about.add_row("made", f"{_when(manifest.created_ms)} by {_made_by(manifest)}")
    about.add_row("interactions", _num_interactions(manifest))
    for kind, part in manifest.parts.items():
        about.add_row(kind, f"{part['name']} ({part['origin']})")
    for name, value in manifest.metrics.items():
        about.add_row(name, f"{value:.4f}")
    console().print(about)
    _show_gate(manifest.gate)
    if manifest.exponents:
        console().print(_exponents_table(manifest))


def show_log(settings: Settings, limit: int) -> None:
    """Print who promoted, rolled back or rejected which version, the latest last."""
    entries = _store(settings).audit.entries(limit)
    if not entries:
        console().print(f"nothing was promoted yet in {settings.model.url}")
        return
    table = Table("when", "who", "did", "from", "to", "why", box=None, pad_edge=False)
    for entry in entries:
        who, why = escape(entry.actor), escape(entry.reason)
        table.add_row(_when(entry.time_ms), who, entry.action, entry.from_version, entry.to_version, why)
    console().print(table)


def promote(settings: Settings, version: str, reason: str) -> None:
    """Make a version the current one."""
    _store(settings).promote(version, reason=reason)


def roll_back(settings: Settings, reason: str) -> str:
    """Make the version before the current one current again, and return it."""
    return _store(settings).rollback(reason=reason)


def outcome_of(settings: Settings, version: str) -> str:
    """Return in words whether a version that was just published was promoted or rejected."""
    gate = _store(settings).manifest(version).gate
    if gate.get("verdict") == "rejected":
        return f"{version} is published and rejected: {gate['reason']}"
    return f"{version} is published"


def _show_gate(gate: Mapping[str, Any]) -> None:
    if not gate:
        return
    console().print(f"\n[bold]gate: {gate['verdict']}[/]\n{escape(gate['reason'])}")
    if "contestants" not in gate:
        return
    table = Table("", "queries", "NDCG@20", "unseen items", "candidate's difference", box=None, pad_edge=False)
    differences = {_CHAMPION: gate.get("champion")}
    if best := gate.get("best_baseline"):
        differences[best["name"]] = best
    for name, means in gate["contestants"].items():
        new = f"{means['new']:.4f}" if "new" in means else ""
        asked = f"{means.get('questions', gate['questions']):,}"  # A gate of before it asked baselines in parts.
        difference = _difference(differences.get(name))
        if not difference and "difference" in means:
            difference = f"{means['difference']:+.4f}"
        table.add_row(escape(name), asked, f"{means['all']:.4f}", new, difference)
    console().print(table)
    num_queries = f"{gate['questions']:,} queries, {gate['new_questions']:,} of them for unseen items"
    console().print(f"{num_queries}; {gate['seconds']} s")
    if any(means.get("questions", gate["questions"]) < gate["questions"] for means in gate["contestants"].values()):
        console().print(
            "a baseline that was asked fewer was clearly behind, or ahead; its differences are of these alone"
        )
    for name, why in gate["left_out"].items():
        console().print(f"{escape(name)} was left out: {escape(why)}")
    if "fine_tune_gap" in gate:
        console().print(f"fine-tuned vectors were {100 * gate['fine_tune_gap']:.1f} % worse than retrained ones")


def _exponents_table(manifest: ModelManifest) -> Table:
    table = Table("exponent", "value", "± standard error", box=None, pad_edge=False)
    for weight, factors in manifest.exponents.items():
        errors = manifest.exponent_errors.get(weight, {})
        for factor, value in factors.items():
            table.add_row(f"{weight} {factor}", f"{value:.3f}", f"{errors[factor]:.3f}" if factor in errors else "")
    return table


def _store(settings: Settings) -> ModelStore:
    return ModelStore(settings.model.url, settings.model.keep)


def _when(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / MS_PER_SECOND, UTC):%Y-%m-%d %H:%M} UTC"


def _num_interactions(manifest: ModelManifest) -> str:
    return f"{manifest.graph_cut.get('num_interactions', 0):,}"


def _made_by(manifest: ModelManifest) -> str:
    if manifest.training == "baseline":
        return f"baseline {manifest.parts['baseline']['name']}"
    return manifest.training


def _mean_of(name: str, gate: Mapping[str, Any]) -> str:
    means = gate.get("contestants", {}).get(name)
    return f"{means[gate['segment']]:.4f}" if means else ""


def _best_baseline(gate: Mapping[str, Any]) -> str:
    best = gate.get("best_baseline")
    return f"{best['name']} {_mean_of(best['name'], gate)}" if best else ""


def _against_champion(gate: Mapping[str, Any]) -> str:
    champion = gate.get("champion")
    return f"{champion['difference']:+.4f} ({champion['version']})" if champion else ""


def _difference(of: Mapping[str, Any] | None) -> str:
    return f"{of['difference']:+.4f} (95 % {of['low']:+.4f} to {of['high']:+.4f})" if of else ""
