"""Config keys: types, ranges, identity, differences."""
