"""How networks are trained: recipes, runs that go on exactly, device and precision."""
