"""Labels and pictures: what label files hold, where their pictures lie, and how both are read."""
