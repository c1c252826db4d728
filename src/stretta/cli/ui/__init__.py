"""What the commands share on the terminal: messages, prompts, progress, colour."""
