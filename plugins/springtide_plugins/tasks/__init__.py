"""Tasks beside link prediction: what kind of node, how much of something, what kind of graph."""
