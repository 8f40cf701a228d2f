"""Tasks beside link prediction: classify nodes, predict numbers of nodes, classify graphs."""
