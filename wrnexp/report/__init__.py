"""Reports from records: `build.build` reads runs' folders and writes tables and plots.

One way through: `collect` finds runs and sets apart what does not compare, `arms` groups them, `tables` and `claims`
compute every figure, and `markdown`, `plots` and `console` only show what is computed. Another page is one more such
function.
"""
