"""``python -m springtide_services.cli``: what supervised children are started with."""

from springtide_services.cli.app import main

if __name__ == "__main__":
    main()
