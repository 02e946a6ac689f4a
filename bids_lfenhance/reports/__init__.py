"""The report: figures and the HTML page of a subject, made from what lies on disk."""
