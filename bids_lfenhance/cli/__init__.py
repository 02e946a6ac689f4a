"""From the command line to one level of analysis."""
