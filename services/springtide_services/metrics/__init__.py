"""What a server and a trainer measure of themselves, and how Prometheus reads it."""
