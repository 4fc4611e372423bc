"""Running models over images and measuring them: RMSE, NME, PCK, conformal radius."""
