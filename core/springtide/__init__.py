"""The core of Springtide: events, live graph, training, ranking, evaluation. `core/README.md` is its map."""
