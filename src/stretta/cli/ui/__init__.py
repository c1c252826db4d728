"""Terminal output and input that the commands share: messages, prompts, progress, colours."""
