"""Seeing: calls and frames become one timeline, its explanations, and pictures of it."""
