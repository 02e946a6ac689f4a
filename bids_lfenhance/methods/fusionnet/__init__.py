"""The learned estimate: one network on the stacks of a session, with the scale of its error."""
