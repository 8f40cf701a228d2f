"""The gRPC server: what it answers, what it watches, and its client."""
