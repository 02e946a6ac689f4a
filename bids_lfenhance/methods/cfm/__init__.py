"""``cfm``: conditional flow matching of the residual of the learned estimate: docs/methods/cfm.md."""
