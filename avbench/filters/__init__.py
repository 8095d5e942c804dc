"""Clip filters, one file each: a measured value, a threshold, a verdict with its reason."""
