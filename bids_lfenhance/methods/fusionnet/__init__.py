"""``fusionnet``: the learned estimate, a U-Net on the stacks of a session, and the scale of its error."""
