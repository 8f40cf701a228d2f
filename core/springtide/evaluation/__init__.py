"""How good a model is: data sets, splits, protocols, metrics, and the gate. See README.md beside this file."""
