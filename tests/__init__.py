"""The tests, as a package: helpers are shared by full name (`tests.training.fakes`)."""
