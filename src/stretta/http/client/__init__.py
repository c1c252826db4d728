"""The HTTP client: connection pool, exchange, response, download."""
