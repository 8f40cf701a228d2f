"""The gateway: the gRPC services as Connect, gRPC-Web and JSON over POST, and events in by HTTP."""
