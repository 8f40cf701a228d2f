"""Everything on one machine: the embedded broker, the supervised processes, and their shutdown."""
