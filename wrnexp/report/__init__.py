"""Reports from records: `build.build` reads runs' folders and writes tables and plots.

One way through: `collect` finds runs and sets apart what does not compare, `arms` groups them, `tables` and `claims`
compute every figure, `answers` and `images` those of the networks' answers, and `markdown`, `plots`, `console` and the
HTML in `page` only show what is computed.
"""
