"""The report as one self-contained HTML file.

`render.html` fills the template. Charts are Vega-Lite specifications, drawn in the browser by an embedded copy of Vega.
"""
