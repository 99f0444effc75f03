"""The exact world: controlled English, scenes, an exact vector renderer and an oracle."""
