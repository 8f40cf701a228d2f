"""Who may do what at the doors of a server: tokens, roles, and how often each may ask."""
