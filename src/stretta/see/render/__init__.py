"""Pictures of a timeline: for a terminal, for Mermaid."""
