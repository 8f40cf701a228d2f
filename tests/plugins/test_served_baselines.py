"""A baseline that serves in place of a model needs nothing that only its fit needs."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from springtide.plugins.loading import load_plugins
from springtide.settings.model import PartSettings, Settings
from springtide.testing import history_of, observed_of

SERVE = """
import pickle, sys
for name in ("torch", "torch_geometric", "networkx", "numba", "pyarrow"):
    sys.modules[name] = None  # As if it were not installed.
import numpy as np
from springtide.plugins.loading import find_plugins
from springtide.settings.model import PartSettings
name, state, histories = pickle.load(sys.stdin.buffer)
baseline = find_plugins().make("baseline", PartSettings(name=name))
baseline.restore(state)
sys.stdout.buffer.write(pickle.dumps(baseline.scores(np.arange(len(histories)), histories, 10**9)))
"""


LEARNED = ["lightgcn_bpr", "mult_vae", "tgn"]


@pytest.mark.parametrize(
    "name", [*Settings().gate.baselines, "user_knn", "ease", "slim", "edge_bank", "popularity", *LEARNED]
)
def test_baseline_is_restored_and_scores_where_only_a_server_is_installed(name):
    pairs = [(user, item, 1_000 * (user + item)) for user in range(6) for item in range(8) if (user + item) % 2]
    histories = [history_of([(item, time) for each, item, time in pairs if each == user]) for user in range(6)]
    fitted = load_plugins().make("baseline", PartSettings(name=name))
    fitted.fit(observed_of(sorted(pairs, key=lambda pair: pair[2])), 6, 8)
    said = pickle.dumps((name, fitted.state(), histories))
    served = subprocess.run([sys.executable, "-c", SERVE], input=said, capture_output=True, check=False)
    assert served.returncode == 0, served.stderr.decode()
    np.testing.assert_allclose(pickle.loads(served.stdout), fitted.scores(np.arange(6), histories, 10**9), rtol=1e-6)
