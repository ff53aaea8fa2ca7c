"""The report as one HTML file that opens from disk and fetches nothing.

`render.html` fills the template from the figures of the report; charts are Vega-Lite specifications, drawn in the
browser by the copy of Vega that the file carries. The page computes nothing but what is shown of them.
"""
