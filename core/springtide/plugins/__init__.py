"""Hooks, contracts and loading of plugins."""
