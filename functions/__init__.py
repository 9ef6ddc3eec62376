"""The Lambda handlers: wiring only."""

import gc

# What a cold start allocates lives as long as its container; searching it for garbage again and again is a tenth of it.
gc.set_threshold(200_000)
