"""The lab: two hosts and a wire that is ours, for any two programs, without root.

``record`` runs them and returns the timeline; ``SCENARIOS`` are six to start with.
"""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.lab.controller import LabUnavailable
    from stretta.lab.recording import Recording, record
    from stretta.lab.scenarios import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "LabUnavailable", "Recording", "Scenario", "record"]

__getattr__ = lazy_names(
    __name__,
    {
        "LabUnavailable": "controller",
        "Recording": "recording",
        "record": "recording",
        "SCENARIOS": "scenarios",
        "Scenario": "scenarios",
    },
)
