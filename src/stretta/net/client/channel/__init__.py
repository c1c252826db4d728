"""A connected byte stream with time-outs: blocking, on an event loop, over TLS, observed."""
