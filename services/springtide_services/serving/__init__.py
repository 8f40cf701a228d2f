"""The gRPC server and its client. Begin with `server`."""
