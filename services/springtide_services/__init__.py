"""The processes of Springtide and its command line. `services/README.md` is the map."""
