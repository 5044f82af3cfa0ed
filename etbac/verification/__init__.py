"""Comparing a chain with the model that it was cut from."""

from etbac.verification.chain import BATCHES, TOLERANCE, Check, Report, verify_chain

__all__ = ["BATCHES", "TOLERANCE", "Check", "Report", "verify_chain"]
