"""``cfm``: conditional flow matching, slice by slice (IQT-CFM; methods.md §5)."""
