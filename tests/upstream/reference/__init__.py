"""What the metrics' own packages compute; runs in the environment that ``make_environment.py`` makes."""
