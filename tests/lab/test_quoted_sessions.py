"""The sessions that README.md quotes are what the programs print."""

from test_docs import load_outputs


def test_quoted_sessions_are_what_the_programs_print(lab):
    outputs = load_outputs()
    stale = outputs.stale(outputs.RUN)
    assert not stale, "to make them anew: .venv/bin/python docs/outputs.py"
