"""Templates of ``springtide plugins new``: a part of each kind with its test; its placeholder names are replaced."""
