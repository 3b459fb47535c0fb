"""The same as gpudl.data."""

from gpudl.data import *  # noqa: F403
