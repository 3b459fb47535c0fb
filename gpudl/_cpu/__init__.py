"""What the CPU path needs beyond NumPy."""
