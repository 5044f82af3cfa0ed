"""Comparing a chain with the model that it was cut from."""

from etbac.verification.verify import Verified, verify

__all__ = ["Verified", "verify"]
