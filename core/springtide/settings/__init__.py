"""Settings: what can be set, how it is loaded, and how it is shown.

`sections/` declares each setting with its documentation, and `model` joins the sections. `load` reads the file and the
environment; `file` is the part of it that needs no sections. `view` prints settings. `reference` writes README.md and
the file of `springtide config init`. To add a setting, add a field with a docstring to its section, and run `make
docs`. Settings import only `errors`.
"""
