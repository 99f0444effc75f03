"""The human-supervised benchmark: candidates → votes → agreement → released checks."""
