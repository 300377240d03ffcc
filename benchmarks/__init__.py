"""Measurements that back what the README claims; run from a checkout, never installed."""
