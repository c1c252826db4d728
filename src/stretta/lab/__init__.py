"""The lab: private hosts and the wire between them, for any programs, without root.

``record`` runs a client and a server and returns the timeline; ``record_hosts`` takes any topology.
``SCENARIOS`` are six ready-made experiments.
"""

from typing import TYPE_CHECKING

from stretta.lazy import lazy_names

if TYPE_CHECKING:
    from stretta.lab.recording import Recording, record, record_hosts
    from stretta.lab.scenarios import SCENARIOS, Scenario
    from stretta.lab.topology import Topology, in_a_row, on_one_link
    from stretta.lab.unavailable import LabUnavailable

__all__ = [
    "SCENARIOS",
    "LabUnavailable",
    "Recording",
    "Scenario",
    "Topology",
    "in_a_row",
    "on_one_link",
    "record",
    "record_hosts",
]

__getattr__ = lazy_names(
    __name__,
    {
        "LabUnavailable": "unavailable",
        "Recording": "recording",
        "record": "recording",
        "record_hosts": "recording",
        "Topology": "topology",
        "in_a_row": "topology",
        "on_one_link": "topology",
        "SCENARIOS": "scenarios",
        "Scenario": "scenarios",
    },
)
