"""What operators are told of plugins: which are loaded, which are not, and which parts fail."""

from pathlib import PurePath
from typing import Any

from springtide.clock import wall_ms
from springtide.plugins.guarded_parts import STREAM_HOOKS
from springtide.plugins.guarding import Guards, PartTrouble
from springtide.plugins.loading import LoadedPlugin, Plugins
from springtide.v1 import admin_pb2 as pb
from springtide_services.serving.response_translation import to_timestamp
from springtide_services.serving.statuses import shown
from springtide_services.stream.broker_errors import Problem
from springtide_services.stream.current_problem import LastingProblem


def plugin_fields(plugins: Plugins) -> dict[str, Any]:
    """Return the fields of ``GetStatusResponse`` that speak of plugins."""
    guards = plugins.guards
    return {
        "plugins": [_plugin(plugin) for plugin in plugins.loaded],
        "packages_not_allowed": [
            pb.PackageNotAllowed(distribution=each.distribution, version=each.version, modules=each.modules)
            for each in plugins.not_allowed
        ],
        "failing_parts": [] if guards is None else [_failing(trouble) for trouble in guards.troubles()],
        "num_bypassed": {} if guards is None else dict(guards.num_bypassed),
    }


def stream_problem(guards: Guards) -> LastingProblem | None:
    """Return that the stream waits for a part of a plugin that does not return; None while it does not."""
    blocked = guards.blocked_in(*STREAM_HOOKS)
    if blocked is None:
        return None
    since_s = (wall_ms() - blocked.latest_ms) // 1_000
    words = (
        f"{blocked.part} of {blocked.origin} does not return from {blocked.hook}, for {since_s:,} s: no events are "
        "read. Answers are given from the graph as it is; start the server again without that part"
    )
    return LastingProblem(Problem("plugin", words), blocked.latest_ms, is_final=False)


def _plugin(plugin: LoadedPlugin) -> pb.Plugin:
    name = plugin.name if plugin.distribution else PurePath(plugin.name).name  # No folder of the server.
    return pb.Plugin(name=name, distribution=plugin.distribution, version=plugin.version, way=plugin.way)


def _failing(trouble: PartTrouble) -> pb.FailingPart:
    return pb.FailingPart(
        part=trouble.part,
        origin=shown(trouble.origin),
        hook=trouble.hook,
        fault=trouble.fault,
        reason=shown(trouble.reason),
        num_failed=trouble.num_failed,
        latest_time=to_timestamp(trouble.latest_ms),
        is_blocked=trouble.is_blocked,
    )
