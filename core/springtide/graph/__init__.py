"""The live graph of typed nodes and timestamped edges."""
