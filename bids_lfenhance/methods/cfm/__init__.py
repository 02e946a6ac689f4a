"""``cfm``: conditional flow matching, slice by slice (IQT-CFM): docs/methods/cfm.md."""
