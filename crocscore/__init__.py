"""CROCScore: the yes/no scorer that is trained on contrastive checks."""
