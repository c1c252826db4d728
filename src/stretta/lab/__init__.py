"""The lab: two hosts and a wire that is ours, for any two programs, without root."""
