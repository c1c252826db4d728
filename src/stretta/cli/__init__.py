"""The command line: one small file a command; each reads options, calls the library and prints."""

import gc

# objects made by imports stay: to collect garbage among them takes 3 ms of a client's start. The
# collector is enabled again when a command begins.
gc.disable()
