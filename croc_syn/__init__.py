"""The synthetic benchmark: taxonomy → check specs → prompts → images."""
