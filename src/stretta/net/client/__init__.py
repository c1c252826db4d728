"""Connecting: Happy Eyeballs, channels, TLS."""
