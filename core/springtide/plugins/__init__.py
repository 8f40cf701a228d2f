"""Plugins: hooks, contracts, options and loading. Begin with `hookspecs`."""
