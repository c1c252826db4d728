"""The command: one small file a command; each parses, calls the library and prints."""
