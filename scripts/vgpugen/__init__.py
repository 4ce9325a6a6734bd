# SPDX-License-Identifier: MIT
"""From an API description (api/*.api) to both ends of the wire.

parse.py reads the notation, check.py refuses what cannot be carried, and each
emit_*.py writes one group of files. docs/devel/adding-a-call.rst is the manual.
"""
