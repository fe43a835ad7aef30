"""Where the eyes lie in a face's box: a door fills this band before a crop leaves, and training shows the same fill.

Shares of the box. Tune: wider covers bowed, tilted and tightly boxed heads, lower hides the nose.
"""

BAND_TOP = 0.05
BAND_BOTTOM = 0.54
BAND_BESIDE = 0.15  # beyond the box on each side, of its width
FILL = (114, 114, 114)  # BGR; one constant, the one that the network knows as nothing
