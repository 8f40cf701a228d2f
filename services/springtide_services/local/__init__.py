"""Everything on one machine: the embedded broker, the children, and their orderly end."""
