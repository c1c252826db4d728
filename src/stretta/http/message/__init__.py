"""HTTP messages: what both ends share."""
