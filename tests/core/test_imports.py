"""The rooms below the models work without torch: a tool that reads events or the graph need not load it."""

import subprocess
import sys

WITHOUT_TORCH = ("springtide.settings.load", "springtide.events", "springtide.interactions", "springtide.graph",
                 "springtide.state", "springtide.checkpoint")  # fmt: skip


def test_rooms_below_the_models_do_not_import_torch() -> None:
    code = "\n".join(
        f"import {module}; assert not {{'torch', 'torch_geometric'}} & set(__import__('sys').modules), '{module}'"
        for module in WITHOUT_TORCH
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
