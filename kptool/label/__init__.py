"""``kptool label``: a page in which people place keypoints, and a model that proposes them as it learns."""
