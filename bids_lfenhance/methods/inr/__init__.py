"""A neural representation fitted to the one session: no training set, no high field: docs/methods/inr.md."""
