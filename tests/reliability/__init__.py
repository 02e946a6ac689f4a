"""Faults injected from outside the process: docs/reliability.md has one row per test."""
