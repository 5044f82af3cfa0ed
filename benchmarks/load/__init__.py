"""Chains under load: what they answer in time, measured beside what the simulator says."""
