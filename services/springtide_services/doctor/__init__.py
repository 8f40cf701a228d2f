"""`springtide doctor`: what is wrong with an installation, and what to do.

Begin with ``examination``: the order in which things are looked at. Each other module looks at one of them and yields
findings; nothing is changed anywhere.
"""
