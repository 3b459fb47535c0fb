"""Measures every operation of the registry beside its opponents: correct before timed, and everything said that a reader would doubt."""
