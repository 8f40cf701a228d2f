"""Publishes small models one after the other, and says each version once it is published: `publisher.py URL`."""

import sys

import numpy as np

from springtide.model.manifest import ModelManifest
from springtide.model.registry import ModelArtifact, ModelStore


def main() -> None:
    store = ModelStore(sys.argv[1])
    generator = np.random.default_rng(0)
    while True:
        manifest = ModelManifest("", 0, "retrain", parts={}, settings={}, graph_cut={})
        tensors = {"vectors": generator.random((2_000, 64), np.float32)}
        version = store.publish(ModelArtifact(manifest, tensors, {"user": ["ann"], "item": ["a", "b"]}))
        print(f"published {version}", flush=True)


if __name__ == "__main__":
    main()
