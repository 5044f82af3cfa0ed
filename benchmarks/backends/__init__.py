"""What the backends cost and save, measured in one run: `make bench-backends`."""
