"""Files as responses: the document root, representations, listings."""
