"""The HTTP server: connections, requests, responses."""
